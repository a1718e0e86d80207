//! An operator as plain data.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{FnArg, Generics, Pat, ReturnType, Signature, Type, Visibility};

use crate::common::{Place, generic_args, last_segment};

/// What `#[operator]` stands on.
#[derive(Debug)]
pub(crate) enum Item {
    Function(Box<Function>),
    Aggregate(Box<Aggregate>),
}

/// The options of the attribute.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) total: Option<Span>,
    pub(crate) volatile: Option<Span>,
    pub(crate) batch: Option<Span>,
    pub(crate) name: Option<String>,
    /// How an `async fn` is called.
    pub(crate) waiting: Waiting,
    /// `T = [i32, f64]`.
    pub(crate) instances: Vec<(Ident, Vec<TokenStream>)>,
}

/// The options that an `async fn` has. Durations are in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) max_in_flight: Option<u64>,
    pub(crate) timeout: Option<u64>,
    pub(crate) unordered: bool,
    pub(crate) retry: Option<u64>,
    pub(crate) retry_wait: Option<u64>,
    /// Those that were given, where they are.
    pub(crate) given: Vec<(String, Span)>,
}

/// What every operator has.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) options: Options,
    pub(crate) doc: String,
    pub(crate) place: Place,
    pub(crate) hash: u64,
}

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) about: About,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// The braces and what is in them.
    pub(crate) body: TokenStream,
    /// Whether there is an `#[inline]` already.
    pub(crate) inline: bool,
    pub(crate) kind: Kind,
    pub(crate) params: Vec<Param>,
}

/// What a function is, by its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Predicate,
    FlatMap,
    Keyed,
    Batch,
    Async,
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Param {
    /// Its name, unless it is a pattern.
    pub(crate) ident: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) role: Role,
    pub(crate) span: Span,
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The state of a keyed operator.
    State,
    /// `&mut KeyCtx` or `&KeyCtx`.
    Ctx,
    /// A value of the row.
    Column,
}

impl Function {
    /// Its kind and parameters, from the signature.
    pub(crate) fn new(about: About, vis: Visibility, sig: Signature, body: TokenStream, inline: bool) -> Self {
        let mut params = params_of(&sig);
        let keyed = sig.asyncness.is_none() && params.first().is_some_and(|p| p.mutable());
        if keyed {
            for (i, p) in params.iter_mut().enumerate() {
                p.role = if i == 0 {
                    Role::State
                } else if p.is_ctx() {
                    Role::Ctx
                } else {
                    Role::Column
                };
            }
        }
        let kind = if sig.asyncness.is_some() {
            Kind::Async
        } else if about.options.batch.is_some() {
            Kind::Batch
        } else if keyed {
            Kind::Keyed
        } else {
            match returned(&sig) {
                Some(Type::Path(p)) if p.path.is_ident("bool") => Kind::Predicate,
                Some(Type::ImplTrait(_)) => Kind::FlatMap,
                _ => Kind::Scalar,
            }
        };
        Function { about, vis, sig, body, inline, kind, params }
    }
    /// The parameters that are columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(|p| p.role == Role::Column)
    }
    /// The result's type.
    pub(crate) fn returned(&self) -> Option<&Type> {
        returned(&self.sig)
    }
    /// The combinations of `T = [..]`; none if it has no such list.
    pub(crate) fn instances(&self) -> Vec<Vec<(Ident, TokenStream)>> {
        let lists = &self.about.options.instances;
        if lists.is_empty() {
            return Vec::new();
        }
        lists.iter().fold(vec![Vec::new()], |done, (name, types)| {
            done.iter().flat_map(|d| types.iter().map(move |t| d.iter().cloned().chain([(name.clone(), t.clone())]).collect())).collect()
        })
    }
}

impl Param {
    fn mutable(&self) -> bool {
        matches!(&self.ty, Type::Reference(r) if r.mutability.is_some())
    }
    /// Whether it is a second `&mut`.
    pub(crate) fn stray_mut(&self) -> bool {
        self.role == Role::Column && self.mutable()
    }
    pub(crate) fn is_ctx(&self) -> bool {
        matches!(&self.ty, Type::Reference(r) if last_segment(&r.elem).is_some_and(|s| s.ident == "KeyCtx"))
    }
    /// `Alert` of `&mut KeyCtx<Alert>`.
    pub(crate) fn side(&self) -> Option<&Type> {
        let Type::Reference(r) = &self.ty else { return None };
        generic_args(last_segment(&r.elem).filter(|s| s.ident == "KeyCtx")?).first().copied()
    }
    /// `R` of `&Batch<R>`.
    pub(crate) fn batch_record(&self) -> Option<&Type> {
        let Type::Reference(r) = &self.ty else { return None };
        let segment = last_segment(&r.elem).filter(|s| s.ident == "Batch" && r.mutability.is_none())?;
        generic_args(segment).first().copied()
    }
}

/// The typed parameters of a signature, as columns.
pub(crate) fn params_of(sig: &Signature) -> Vec<Param> {
    sig.inputs
        .iter()
        .filter_map(|arg| match arg {
            FnArg::Receiver(_) => None,
            FnArg::Typed(t) => {
                let ident = match &*t.pat {
                    Pat::Ident(p) if p.by_ref.is_none() && p.subpat.is_none() => Some(p.ident.clone()),
                    _ => None,
                };
                let span = ident.as_ref().map_or_else(|| crate::common::span_of(&t.pat), Ident::span);
                Some(Param { ident, ty: (*t.ty).clone(), role: Role::Column, span })
            }
        })
        .collect()
}

/// The result's type; `()` counts as none.
pub(crate) fn returned(sig: &Signature) -> Option<&Type> {
    match &sig.output {
        ReturnType::Type(_, ty) if !matches!(&**ty, Type::Tuple(t) if t.elems.is_empty()) => Some(ty),
        _ => None,
    }
}

/// An `impl` block: an aggregate, or with a method `row` a keyed operator.
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) about: About,
    /// The type; its last identifier.
    pub(crate) ty: Type,
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// `impl Trait for`.
    pub(crate) of_trait: Option<Span>,
    pub(crate) methods: Vec<Signature>,
    /// What is between its braces.
    pub(crate) body: TokenStream,
}

impl Aggregate {
    /// Whether it is a keyed operator.
    pub(crate) fn keyed(&self) -> bool {
        let any = |names: &[&str]| names.iter().any(|n| self.method(n).is_some());
        self.method("row").is_some() || (any(&["timer", "clock_timer"]) && !any(&["update", "merge", "finish"]))
    }
    /// The first method of this name.
    pub(crate) fn method(&self, name: &str) -> Option<&Signature> {
        self.methods.iter().find(|m| m.ident == name)
    }
}
