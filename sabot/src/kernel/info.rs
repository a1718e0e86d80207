//! What is known about a run besides its code: columns read, lineage, which steps are total. Data, so that passes can
//! reason about it and plans can be explained and shipped.

use serde::{Deserialize, Serialize};

use super::predicate::{Predicate, SimpleMeta};

/// What the macro saw of one predicate or one column expression. All sets are by column name as written.
#[derive(Clone, Copy, Debug)]
pub struct ExprMeta {
    /// The column it makes; `""` for a predicate.
    pub name: &'static str,
    /// The expression as written.
    pub text: &'static str,
    /// Columns read; `None` if it could not be told, so all are.
    pub reads: Option<&'static [&'static str]>,
    /// Columns followed by `?`.
    pub strict: &'static [&'static str],
    /// The column it passes on unchanged.
    pub pass: Option<&'static str>,
    /// Functions called.
    pub calls: &'static [&'static str],
    /// Apart from the calls, nothing in it can panic or has an effect.
    pub plain: bool,
    /// Every `?` is unconditional: nulls can be handled by validity words.
    pub hoist: bool,
    /// A predicate as data, as far as it could be read.
    pub simple: Option<SimpleMeta>,
}

/// What the macro saw of one row-wise step.
#[derive(Clone, Copy, Debug)]
pub struct StepMeta {
    /// `filter`, `with`, `select`, `map`.
    pub step: &'static str,
    /// The name of the stream that it is part of.
    pub stream: &'static str,
    /// Source file.
    pub file: &'static str,
    /// Source line.
    pub line: u32,
    /// One for a filter; one per column otherwise, in the order written.
    pub exprs: &'static [ExprMeta],
}

/// [`ExprMeta`], resolved against the registry and serialisable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expr {
    /// The column it makes; empty for a predicate.
    pub name: String,
    /// The expression as written, for `explain`.
    pub text: String,
    /// Columns read; `None` reads all.
    pub reads: Option<Vec<String>>,
    /// Columns used with `?`.
    pub strict: Vec<String>,
    /// The column it passes on unchanged.
    pub pass: Option<String>,
    /// Operators called, by name.
    pub calls: Vec<String>,
    /// May be called on any lane.
    pub total: bool,
    /// Why it may not.
    pub doubts: Vec<Doubt>,
    /// Calls something that is not a function of its arguments.
    pub volatile: bool,
    /// Every `?` is unconditional.
    pub hoist: bool,
    /// A predicate as data, as far as it could be read; columns by name as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simple: Option<Predicate>,
}

/// Why an expression may only be called on rows that it asked to see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// A closure that no macro saw.
    Unseen,
    /// The expression itself, apart from the operators it calls.
    Expression,
    /// It calls this, which is no operator, or one of several of that name.
    Unknown(String),
    /// It calls this operator, which may panic or fail.
    Partial(String),
    /// It calls this operator, whose result is not decided by its arguments.
    Volatile(String),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doubt::Unseen => f.write_str("a closure that `pipeline!` did not see"),
            Doubt::Expression => f.write_str("more than operators, arithmetic and methods that cannot panic"),
            Doubt::Unknown(call) => write!(f, "`{call}` is no operator"),
            Doubt::Partial(call) => write!(f, "`{call}` is not total"),
            Doubt::Volatile(call) => write!(f, "`{call}` is volatile"),
        }
    }
}

/// How a run goes over its rows, as decided when it is compiled. A morsel may still take a better way: once per value of a
/// dictionary, or row by row where almost nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// The way.
    pub way: Way,
    /// Computed columns whose values have no fixed width, by name; one that no output shows has none.
    pub wide: Vec<String>,
    /// Nullable columns whose nulls are handled by validity words.
    pub hoisted: Vec<String>,
}

/// How a run goes over its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// All steps on 64 lanes at once, without a branch.
    Lanes,
    /// So many leading predicates on 64 lanes, then the rest on the rows they keep.
    TwoPasses(u32),
    /// Row by row on the rows that are alive.
    Rows,
}

/// The kind of a row-wise step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A predicate.
    Filter,
    /// Adds columns.
    With,
    /// Replaces the columns.
    Select,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepInfo {
    /// Its kind.
    pub kind: StepKind,
    /// The step's name as written.
    pub step: String,
    /// The stream it is part of.
    pub stream: String,
    /// `file:line`.
    pub place: String,
    /// Its predicate or columns.
    pub exprs: Vec<Expr>,
}

impl StepInfo {
    /// Resolves what the macro saw; without it (a builder user's closure) everything is assumed: reads all columns,
    /// is not total.
    pub fn new(kind: StepKind, meta: Option<&StepMeta>, columns: &[String]) -> Self {
        let registry = super::operators().unwrap_or_default();
        let exprs = match meta {
            Some(meta) => meta.exprs.iter().map(|e| resolve(e, &registry)).collect(),
            None => {
                let blind = |name: &str| Expr {
                    name: name.to_owned(),
                    text: String::new(),
                    reads: None,
                    strict: Vec::new(),
                    pass: None,
                    calls: Vec::new(),
                    total: false,
                    doubts: vec![Doubt::Unseen],
                    volatile: true,
                    hoist: false,
                    simple: None,
                };
                if kind == StepKind::Filter { vec![blind("")] } else { columns.iter().map(|c| blind(c)).collect() }
            }
        };
        StepInfo {
            kind,
            step: meta
                .map_or(
                    match kind {
                        StepKind::Filter => "filter",
                        StepKind::With => "with",
                        StepKind::Select => "select",
                    },
                    |m| m.step,
                )
                .to_owned(),
            stream: meta.map_or("", |m| m.stream).to_owned(),
            place: meta.map_or(String::new(), |m| format!("{}:{}", m.file, m.line)),
            exprs,
        }
    }
}

impl Expr {
    /// The column of which it is a plain copy, passed on or written anew as a named row does: `t.column`.
    pub fn copies(&self) -> Option<&str> {
        if self.pass.is_some() {
            return self.pass.as_deref();
        }
        let [column] = self.reads.as_deref()? else { return None };
        let (row, field) = self.text.split_once('.')?;
        let read = column.rsplit_once('.').map_or(column.as_str(), |(_, read)| read);
        (field == read && row.chars().all(|c| c == '_' || c.is_alphanumeric())).then_some(column)
    }
}

fn resolve(e: &ExprMeta, registry: &[&'static super::OperatorEntry]) -> Expr {
    // A call is known by its last path segment. The name alone cannot prove that it is the registered function, so
    // `total` is a hint that the kernel checks: a panic on lanes is repeated on kept rows only before it counts.
    let known = |call: &str| {
        let mut same = registry.iter().filter(|o| o.ident == call);
        match (same.next(), same.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    };
    let doubt = |call: &&str| match known(call) {
        None => Some(Doubt::Unknown((*call).to_owned())),
        Some(o) if o.volatile => Some(Doubt::Volatile((*call).to_owned())),
        Some(o) if !o.total => Some(Doubt::Partial((*call).to_owned())),
        Some(_) => None,
    };
    let own = if e.calls == ["(closure)"] { Doubt::Unseen } else { Doubt::Expression };
    let called = e.calls.iter().filter(|c| **c != "(closure)").filter_map(doubt);
    let doubts: Vec<Doubt> = called.chain((!e.plain).then_some(own)).collect();
    let owned = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    Expr {
        name: e.name.to_owned(),
        text: e.text.to_owned(),
        reads: e.reads.map(owned),
        strict: owned(e.strict),
        pass: e.pass.map(str::to_owned),
        calls: owned(e.calls),
        total: doubts.is_empty(),
        doubts,
        volatile: e.calls.iter().any(|c| known(c).is_none_or(|o| o.volatile)),
        hoist: e.hoist,
        simple: e.simple.as_ref().map(Predicate::of),
    }
}
