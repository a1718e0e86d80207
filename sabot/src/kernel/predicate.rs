//! Simple predicates as data: what the macro could read of a filter, so that a source may leave out rows for which it is
//! certainly not true. The kernel still decides every row.

use serde::{Deserialize, Serialize};

/// What the macro read of a filter: comparisons of a column with a constant, under `&&` and `||`.
#[derive(Clone, Copy, Debug)]
pub enum SimpleMeta {
    /// `row.column < constant`; with `row.column? < constant`, null is not true.
    Compare(&'static str, Comparison, ConstantMeta),
    /// `row.column.is_none()` (`true`) or `row.column.is_some()`.
    Null(&'static str, bool),
    /// All of them, in the order of evaluation.
    And(&'static [SimpleMeta]),
    /// One of them.
    Or(&'static [SimpleMeta]),
    /// Anything else.
    Unknown,
}

/// A constant as written.
#[derive(Clone, Copy, Debug)]
pub enum ConstantMeta {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(&'static str),
    /// A truth value.
    Bool(bool),
    /// The pipeline's parameter of this name, of a primitive type or `String`.
    Param(&'static str),
}

/// How a column is compared with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `==`
    #[serde(rename = "==")]
    Eq,
    /// `!=`
    #[serde(rename = "!=")]
    Ne,
    /// `<`
    #[serde(rename = "<")]
    Lt,
    /// `<=`
    #[serde(rename = "<=")]
    Le,
    /// `>`
    #[serde(rename = ">")]
    Gt,
    /// `>=`
    #[serde(rename = ">=")]
    Ge,
}

impl Comparison {
    /// As in source text.
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Eq => "==",
            Comparison::Ne => "!=",
            Comparison::Lt => "<",
            Comparison::Le => "<=",
            Comparison::Gt => ">",
            Comparison::Ge => ">=",
        }
    }
}

/// A predicate over columns. A row for which it is false or null is certainly dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    /// A comparison of a column with a constant; false where the column is null.
    Compare {
        /// The column.
        column: String,
        /// How.
        how: Comparison,
        /// With what.
        value: Constant,
    },
    /// Whether a column is null, or is not.
    Null {
        /// The column.
        column: String,
        /// Whether nulls are what is kept.
        is: bool,
    },
    /// All of them.
    And(Vec<Predicate>),
    /// One of them.
    Or(Vec<Predicate>),
    /// May be true of any row.
    Unknown,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constant {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// A parameter's value, until it is known.
    Param(String),
}

macro_rules! constant {
    ($($from:ty => $to:ident),*) => {$(
        impl From<&$from> for Constant {
            fn from(v: &$from) -> Self { Constant::$to((*v).into()) }
        }
    )*};
}
constant!(i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int, f32 => Float, f64 => Float, bool => Bool);
impl From<&u64> for Constant {
    /// A value that a signed integer does not hold stays unknown, and leaves no row out.
    fn from(v: &u64) -> Self {
        i64::try_from(*v).map_or_else(|_| Constant::Param(String::new()), Constant::Int)
    }
}
impl From<&String> for Constant {
    fn from(v: &String) -> Self {
        Constant::Text(v.clone())
    }
}

impl Predicate {
    pub(super) fn of(meta: &SimpleMeta) -> Predicate {
        match meta {
            SimpleMeta::Compare(column, how, value) => {
                let value = match value {
                    ConstantMeta::Int(v) => Constant::Int(*v),
                    ConstantMeta::Float(v) => Constant::Float(*v),
                    ConstantMeta::Text(v) => Constant::Text((*v).to_owned()),
                    ConstantMeta::Bool(v) => Constant::Bool(*v),
                    ConstantMeta::Param(v) => Constant::Param((*v).to_owned()),
                };
                Predicate::Compare { column: (*column).to_owned(), how: *how, value }
            }
            SimpleMeta::Null(column, is) => Predicate::Null { column: (*column).to_owned(), is: *is },
            SimpleMeta::And(all) => Predicate::And(all.iter().map(Predicate::of).collect()),
            SimpleMeta::Or(all) => Predicate::Or(all.iter().map(Predicate::of).collect()),
            SimpleMeta::Unknown => Predicate::Unknown,
        }
    }

    /// The part that is evaluated before anything that is not known: what stands behind it may depend on its effects.
    #[must_use]
    pub fn before_unknown(self) -> Predicate {
        match self {
            Predicate::And(all) => {
                let mut kept = Vec::new();
                for p in all {
                    let known = p.known();
                    kept.push(p.before_unknown());
                    if !known {
                        break;
                    }
                }
                Predicate::And(kept)
            }
            Predicate::Or(all) if all.iter().all(Predicate::known) => Predicate::Or(all),
            Predicate::Or(_) => Predicate::Unknown,
            p => p,
        }
    }
    fn known(&self) -> bool {
        match self {
            Predicate::And(all) | Predicate::Or(all) => all.iter().all(Predicate::known),
            Predicate::Unknown => false,
            _ => true,
        }
    }

    /// With columns renamed; where `rename` gives none, and where a constant has no value, it may be true.
    #[must_use]
    pub fn resolve(&self, rename: &dyn Fn(&str) -> Option<String>, param: &dyn Fn(&str) -> Option<Constant>) -> Predicate {
        match self {
            Predicate::Compare { column, how, value } => {
                let value = if let Constant::Param(name) = value { param(name) } else { Some(value.clone()) };
                match (rename(column), value) {
                    (_, Some(Constant::Param(_))) => Predicate::Unknown,
                    (Some(column), Some(value)) => Predicate::Compare { column, how: *how, value },
                    _ => Predicate::Unknown,
                }
            }
            Predicate::Null { column, is } => rename(column).map_or(Predicate::Unknown, |column| Predicate::Null { column, is: *is }),
            Predicate::And(all) => Predicate::And(all.iter().map(|p| p.resolve(rename, param)).collect()),
            Predicate::Or(all) => Predicate::Or(all.iter().map(|p| p.resolve(rename, param)).collect()),
            Predicate::Unknown => Predicate::Unknown,
        }
    }

    /// The same, without nesting that says nothing; `None` if it may be true of any row.
    pub fn simplified(self) -> Option<Predicate> {
        match self {
            Predicate::And(all) => {
                let mut flat = Vec::new();
                for p in all.into_iter().filter_map(Predicate::simplified) {
                    if let Predicate::And(inner) = p { flat.extend(inner) } else { flat.push(p) }
                }
                if flat.len() > 1 { Some(Predicate::And(flat)) } else { flat.pop() }
            }
            Predicate::Or(all) => {
                let mut flat = all.into_iter().map(Predicate::simplified).collect::<Option<Vec<_>>>()?;
                if flat.len() > 1 { Some(Predicate::Or(flat)) } else { flat.pop() }
            }
            Predicate::Unknown => None,
            p => Some(p),
        }
    }
}

impl std::fmt::Display for Predicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut std::fmt::Formatter<'_>, all: &[Predicate], sign: &str| {
            for (i, p) in all.iter().enumerate() {
                let nested = matches!(p, Predicate::And(_) | Predicate::Or(_));
                let (open, close) = if nested { ("(", ")") } else { ("", "") };
                write!(f, "{}{open}{p}{close}", if i > 0 { sign } else { "" })?;
            }
            Ok(())
        };
        match self {
            Predicate::Compare { column, how, value } => write!(f, "{column} {} {value}", how.sign()),
            Predicate::Null { column, is: true } => write!(f, "{column} is null"),
            Predicate::Null { column, is: false } => write!(f, "{column} is not null"),
            Predicate::And(all) => list(f, all, " && "),
            Predicate::Or(all) => list(f, all, " || "),
            Predicate::Unknown => f.write_str("true"),
        }
    }
}

impl std::fmt::Display for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Constant::Int(v) => write!(f, "{v}"),
            Constant::Float(v) => write!(f, "{v:?}"),
            Constant::Text(v) => write!(f, "{v:?}"),
            Constant::Bool(v) => write!(f, "{v}"),
            Constant::Param(v) => f.write_str(v),
        }
    }
}
