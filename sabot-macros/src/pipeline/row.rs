//! The types of an anonymous row: `row { drag: .., city: .. }`.
//!
//! Column names are known from the tokens, their types are left to inference: every generated type is generic over one
//! `Value` per column.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

use crate::common::name_type;

/// A row's columns, and which of them are computed.
pub(crate) struct Shape<'a> {
    /// Name of the record type (the stream's name); other names derive from it.
    pub(crate) name: &'a Ident,
    /// Column names with the user's spans.
    pub(crate) fields: &'a [Ident],
    /// Whether a column is computed, not passed on.
    pub(crate) computed: &'a [bool],
    /// Whether `map(op)` is used in the block, so that columns need type-level names.
    pub(crate) named_columns: bool,
}

/// Names of the generated types.
pub(crate) struct Names {
    /// The literal that the closure builds.
    pub(crate) literal: Ident,
    /// The marker that step types carry.
    pub(crate) marker: Ident,
}

struct Parts {
    types: Vec<Ident>,
    view: Ident,
    cols: Ident,
    record: Ident,
    literal: Ident,
    marker: Ident,
    columns: Vec<String>,
}

fn parts(shape: &Shape<'_>) -> Parts {
    let base = shape.name.to_string();
    let at = Span::call_site();
    Parts {
        types: (0..shape.fields.len()).map(|i| format_ident!("T{i}", span = Span::mixed_site())).collect(),
        view: Ident::new(&format!("{base}_row"), at),
        cols: Ident::new(&format!("{base}_cols"), at),
        record: Ident::new(&base, at),
        literal: Ident::new(&format!("__{base}_values"), at),
        marker: Ident::new(&format!("__{base}_made"), at),
        columns: shape.fields.iter().map(column_name).collect(),
    }
}

/// The column name of a field: raw identifiers lose their `r#`.
pub(crate) fn column_name(field: &Ident) -> String {
    let text = field.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn cons(items: impl DoubleEndedIterator<Item = TokenStream>) -> TokenStream {
    items.rev().fold(quote!(()), |rest, item| quote!((#item, #rest)))
}

fn pick<'a>(items: &'a [Ident], computed: &'a [bool]) -> impl DoubleEndedIterator<Item = &'a Ident> {
    items.iter().zip(computed).filter(|(_, c)| **c).map(|(i, _)| i)
}

fn type_name(column: &str) -> TokenStream {
    name_type(column, Span::call_site())
}

/// What `on_error` makes of the columns: whether one may fail, and their types behind it. Columns that are passed on are
/// what they were.
fn handled(types: &[Ident], computed: &[bool]) -> [TokenStream; 3] {
    let p = quote!(::sabot::__private);
    let fails = pick(types, computed).rev().fold(quote!(#p::Never), |rest, t| {
        if rest.to_string() == quote!(#p::Never).to_string() {
            quote!(<#t as #p::Value>::Fails)
        } else {
            quote!(<<#t as #p::Value>::Fails as #p::Fallible>::Or<#rest>)
        }
    });
    let each = |what: &str| {
        let what = Ident::new(what, Span::mixed_site());
        let all = types.iter().zip(computed).map(|(t, c)| if *c { quote!(<#t as #p::Value>::#what) } else { quote!(#t) });
        quote!(#(#all),*)
    };
    [fails, each("Good"), each("Nulled")]
}

/// Types for columns on top of a base record: `with`, `map`, `keyed`, the inputs of `aggregate`.
pub(crate) fn layer(shape: &Shape<'_>) -> (TokenStream, Names) {
    let Parts { types, view, cols, record, literal, marker, columns } = parts(shape);
    let fields = shape.fields;
    let p = quote!(::sabot::__private);
    let made = cons(pick(&types, shape.computed).map(|t| quote!(#t)));
    let at: Vec<syn::Index> = (0..fields.len()).map(syn::Index::from).collect();
    let [fails, good, nulled] = handled(&types, shape.computed);
    let made_vals = cons(at.iter().zip(shape.computed).filter(|(_, c)| **c).map(|(i, _)| quote!(vals.#i)));
    let named = if shape.named_columns {
        let mut out = TokenStream::new();
        // a column of a name that is repeated here is not to be found below
        let others: Vec<TokenStream> = columns.iter().map(|c| type_name(c)).collect();
        for ((column, ty), field) in columns.iter().zip(&types).zip(fields) {
            let name = type_name(column);
            out.extend(quote! {
                impl<B: #p::Record, #(#types: #p::Value),*> #p::HasColumn<#name, #p::Here> for #record<B, #(#types),*> {
                    type V = #ty;
                    fn get<'a>(row: &Self::Row<'a>) -> <#ty as #p::Value>::Ref<'a> { row.#field }
                }
            });
        }
        out.extend(quote! {
            impl<N, W, B: #p::HasColumn<N, W>, #(#types: #p::Value),*> #p::HasColumn<N, #p::There<W>> for #record<B, #(#types),*>
            where #(N: #p::OtherName<#others>),*
            {
                type V = B::V;
                fn get<'a>(row: &Self::Row<'a>) -> <B::V as #p::Value>::Ref<'a> { B::get(&row.__base) }
            }
        });
        out
    } else {
        TokenStream::new()
    };
    let single = if let [one] = types.as_slice() {
        quote!(impl<#one: #p::Value> #p::Layer for #marker<#one> { type V = #one; })
    } else {
        TokenStream::new()
    };
    let text = shape.name.to_string();
    let tokens = quote! {
        pub struct #literal<#(#types),*> { #(pub #fields: #types),* }
        impl<'a, #(#types: #p::Value),*> #literal<#(#p::Slot<'a, #types>),*> {
            #[inline(always)]
            fn adds(self) -> #p::Adds<'a, #marker<#(#types),*>> {
                let mut bad = false;
                let vals = (#(self.#fields.take(&mut bad),)*);
                #p::Adds::new(vals, bad)
            }
        }
        pub struct #marker<#(#types),*>(::core::marker::PhantomData<fn() -> (#(#types,)*)>);
        pub struct #record<B, #(#types),*> { __kind: ::core::marker::PhantomData<fn() -> (B, #(#types,)*)> }
        pub struct #view<'a, B: #p::Record, #(#types: #p::Value),*> { #(pub #fields: #types::Ref<'a>,)* __base: B::Row<'a> }
        impl<'a, B: #p::Record, #(#types: #p::Value),*> ::core::clone::Clone for #view<'a, B, #(#types),*> { #[inline(always)] fn clone(&self) -> Self { *self } }
        impl<'a, B: #p::Record, #(#types: #p::Value),*> ::core::marker::Copy for #view<'a, B, #(#types),*> {}
        impl<'a, B: #p::Record, #(#types: #p::Value),*> ::core::ops::Deref for #view<'a, B, #(#types),*> {
            type Target = B::Row<'a>;
            #[inline(always)]
            fn deref(&self) -> &B::Row<'a> { &self.__base }
        }
        pub struct #cols<B: #p::Record, #(#types),*> { #(pub #fields: #p::Col<#types>,)* __base: B::Cols }
        impl<B: #p::Record, #(#types),*> ::core::ops::Deref for #cols<B, #(#types),*> {
            type Target = B::Cols;
            fn deref(&self) -> &B::Cols { &self.__base }
        }
        impl<#(#types: #p::Value),*> #p::Added for #marker<#(#types),*> {
            type On<B: #p::Record> = #record<B, #(#types),*>;
            type Vals<'a> = (#(#types::Ref<'a>,)*);
            type Made = #made;
            type Fails = #fails;
            type Good = #marker<#good>;
            type Nulled = #marker<#nulled>;
            #[inline(always)]
            fn made<'a>(vals: Self::Vals<'a>) -> <Self::Made as #p::Computed>::Vals<'a> { #made_vals }
            #[inline(always)]
            fn on<'a, B: #p::Record>(vals: Self::Vals<'a>, base: B::Row<'a>) -> <Self::On<B> as #p::Record>::Row<'a> {
                #view { #(#fields: vals.#at,)* __base: base }
            }
        }
        #single
        impl<B: #p::Record, #(#types: #p::Value),*> #p::Record for #record<B, #(#types),*> {
            type Row<'a> = #view<'a, B, #(#types),*>;
            type Cols = #cols<B, #(#types),*>;
            type Time = B::Time;
            type Read<'a> = (B::Read<'a>, #(#types::Read<'a>,)*);
            type Chunk<'a> = (B::Chunk<'a>, #(#types::Chunk<'a>,)*);
            const NAME: &'static str = #text;
            fn cols() -> Self::Cols { #cols { #(#fields: #p::Col::new(#columns),)* __base: B::cols() } }
            fn columns(out: &mut ::std::vec::Vec<#p::Column>) {
                B::columns(out);
                #(out.push(#p::Column::of::<#types>(#columns, #columns));)*
            }
            fn read<'a>(from: &mut #p::Reader<'a>) -> Self::Read<'a> { (B::read(from), #(from.next::<#types>(),)*) }
            #[inline(always)]
            #[allow(non_snake_case)]
            fn chunk<'a>((base, #(#types,)*): Self::Read<'a>, at: #p::Window) -> Self::Chunk<'a> { (B::chunk(base, at), #(<#types as #p::Value>::chunk(#types, at),)*) }
            #[inline(always)]
            #[allow(non_snake_case)]
            fn row<'a, const VALID: bool>((base, #(#types,)*): Self::Chunk<'a>, lane: #p::Lane) -> Self::Row<'a> {
                #view { #(#fields: <#types as #p::Value>::lane::<VALID>(#types, lane),)* __base: B::row::<VALID>(base, lane) }
            }
        }
        #named
    };
    (tokens, Names { literal, marker })
}

/// Types for a record made anew: `select`, and the result of `aggregate`.
pub(crate) fn record(shape: &Shape<'_>) -> (TokenStream, Names) {
    let Parts { types, view, cols, record, literal, marker, columns } = parts(shape);
    let fields = shape.fields;
    let p = quote!(::sabot::__private);
    let made = cons(pick(&types, shape.computed).map(|t| quote!(#t)));
    let made_vals = cons(pick(fields, shape.computed).map(|f| quote!(row.#f)));
    let [fails, good, nulled] = handled(&types, shape.computed);
    let mut named = TokenStream::new();
    if shape.named_columns {
        for ((column, ty), field) in columns.iter().zip(&types).zip(fields) {
            let name = type_name(column);
            named.extend(quote! {
                impl<#(#types: #p::Value),*> #p::HasColumn<#name, #p::Here> for #record<#(#types),*> {
                    type V = #ty;
                    fn get<'a>(row: &Self::Row<'a>) -> <#ty as #p::Value>::Ref<'a> { row.#field }
                }
            });
        }
    }
    let text = shape.name.to_string();
    // a struct must use its lifetime; "available fields are" lists this one too, so only a row without columns has it
    let none = fields.is_empty();
    let life = none.then(|| quote!(__life: ::core::marker::PhantomData<&'a ()>));
    let live = none.then(|| quote!(__life: ::core::marker::PhantomData));
    let tokens = quote! {
        pub struct #literal<#(#types),*> { #(pub #fields: #types),* }
        impl<'a, #(#types: #p::Value),*> #literal<#(#p::Slot<'a, #types>),*> {
            #[inline(always)]
            fn made(self) -> #p::Made<'a, #marker<#(#types),*>> {
                let mut bad = false;
                let row = #view { #(#fields: self.#fields.take(&mut bad),)* #live };
                #p::Made::new(row, bad)
            }
        }
        pub struct #marker<#(#types),*>(::core::marker::PhantomData<fn() -> (#(#types,)*)>);
        pub struct #record<#(#types),*> { __kind: ::core::marker::PhantomData<fn() -> (#(#types,)*)> }
        pub struct #view<'a, #(#types: #p::Value),*> { #(pub #fields: #types::Ref<'a>,)* #life }
        impl<'a, #(#types: #p::Value),*> ::core::clone::Clone for #view<'a, #(#types),*> { #[inline(always)] fn clone(&self) -> Self { *self } }
        impl<'a, #(#types: #p::Value),*> ::core::marker::Copy for #view<'a, #(#types),*> {}
        pub struct #cols<#(#types),*> { #(pub #fields: #p::Col<#types>,)* }
        impl<#(#types: #p::Value),*> #p::Makes for #marker<#(#types),*> {
            type Out = #record<#(#types),*>;
            type Made = #made;
            type Fails = #fails;
            type Good = #record<#good>;
            type Nulled = #record<#nulled>;
            type Bars = #p::Never;
            #[inline(always)]
            fn made<'a>(row: <Self::Out as #p::Record>::Row<'a>) -> <Self::Made as #p::Computed>::Vals<'a> { let _ = row; #made_vals }
        }
        impl<#(#types: #p::Value),*> #p::Record for #record<#(#types),*> {
            type Row<'a> = #view<'a, #(#types),*>;
            type Cols = #cols<#(#types),*>;
            type Time = #p::NoTime;
            type Read<'a> = (#(#types::Read<'a>,)*);
            type Chunk<'a> = (#(#types::Chunk<'a>,)*);
            const NAME: &'static str = #text;
            fn cols() -> Self::Cols { #cols { #(#fields: #p::Col::new(#columns),)* } }
            fn columns(out: &mut ::std::vec::Vec<#p::Column>) { #(out.push(#p::Column::of::<#types>(#columns, #columns));)* }
            fn read<'a>(from: &mut #p::Reader<'a>) -> Self::Read<'a> { (#(from.next::<#types>(),)*) }
            #[inline(always)]
            #[allow(non_snake_case)]
            fn chunk<'a>((#(#types,)*): Self::Read<'a>, at: #p::Window) -> Self::Chunk<'a> { (#(<#types as #p::Value>::chunk(#types, at),)*) }
            #[inline(always)]
            #[allow(non_snake_case)]
            fn row<'a, const VALID: bool>((#(#types,)*): Self::Chunk<'a>, lane: #p::Lane) -> Self::Row<'a> {
                #view { #(#fields: <#types as #p::Value>::lane::<VALID>(#types, lane),)* #live }
            }
        }
        #named
    };
    (tokens, Names { literal, marker })
}

/// For the literal of an `over`: functions in place of values.
pub(crate) fn over_row(shape: &Shape<'_>) -> TokenStream {
    let Parts { types, literal, marker, columns, .. } = parts(shape);
    let p = quote!(::sabot::__private);
    let fields = shape.fields;
    quote! {
        impl<#(#types: #p::Value),*> #p::OverRow for #literal<#(#p::OverFn<#types>),*> {
            type Layer = #marker<#(#types),*>;
            fn parts(self) -> ::std::vec::Vec<#p::OverPart> { ::std::vec![#(self.#fields.part(#columns)),*] }
        }
    }
}

/// For the literal of a keyed operator's own row: columns in place of values.
pub(crate) fn own_row(shape: &Shape<'_>) -> TokenStream {
    let Parts { types, record, literal, .. } = parts(shape);
    let p = quote!(::sabot::__private);
    quote! {
        impl<#(#types: #p::Value),*> #p::OwnRow for #literal<#(#p::Col<#types>),*> {
            type Out = #record<#(#types),*>;
        }
    }
}

/// For the literal of an `aggregate`: keys as columns, then aggregates. `keys` columns come first.
pub(crate) fn aggregate_row(shape: &Shape<'_>, keys: usize) -> TokenStream {
    let Parts { types, record, literal, columns, .. } = parts(shape);
    let p = quote!(::sabot::__private);
    let args: Vec<TokenStream> =
        types.iter().enumerate().map(|(i, t)| if i < keys { quote!(#p::Col<#t>) } else { quote!(#p::Agg<#t>) }).collect();
    let fields = &shape.fields[keys..];
    let names = &columns[keys..];
    quote! {
        impl<#(#types: #p::Value),*> #p::AggregateRow for #literal<#(#args),*> {
            type Out = #record<#(#types),*>;
            fn parts(self) -> ::std::vec::Vec<#p::AggregatePart> { ::std::vec![#(self.#fields.part(#names)),*] }
        }
    }
}
