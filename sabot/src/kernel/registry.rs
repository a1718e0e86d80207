//! The operators of a program, collected at link time. Kernels look up what they call; everything above lists them.

use crate::Result;

/// What kind of operator an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorKind {
    /// One value per row.
    Scalar,
    /// `-> bool`.
    Predicate,
    /// `-> impl Iterator`: any number of rows per row.
    FlatMap,
    /// An `impl` block with `update`, `merge`, `finish`.
    Aggregate,
    /// `&mut S` first: state per key.
    Keyed,
    /// Whole batches.
    Batch,
    /// `async fn`: many calls at once.
    Async,
}

/// How fast a row-wise operator can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Branch-free over 64 lanes: total, and all values of fixed width.
    Lanes,
    /// Row by row over the kept rows, fused with its neighbours.
    Rows,
    /// Not row-wise.
    Batches,
}

/// A parameter or the result of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Typed {
    /// Parameter name; `""` for a result.
    pub name: &'static str,
    /// The Rust type as written.
    pub rust_type: &'static str,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A registered operator.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct OperatorEntry {
    /// The stable name: `module::path::function`, or the `name = ".."` option.
    pub name: &'static str,
    /// The identifier in the source.
    pub ident: &'static str,
    /// Its kind.
    pub kind: OperatorKind,
    /// Parameters that are columns.
    pub inputs: &'static [Typed],
    /// The result.
    pub output: Typed,
    /// Doc comment, trimmed.
    pub doc: &'static str,
    /// Never panics, for any bit pattern of its arguments: may be called on null and dropped rows' slots.
    pub total: bool,
    /// Different results for the same arguments: called exactly once per row.
    pub volatile: bool,
    /// Returns a `Result`.
    pub fallible: bool,
    /// How fast it can run.
    pub tier: Tier,
    /// Source file.
    pub file: &'static str,
    /// First line.
    pub line: u32,
    /// Last line.
    pub end_line: u32,
    /// Hash of the item's tokens: tells which operators differ between two builds.
    pub hash: u64,
}
inventory::collect!(OperatorEntry);

/// The operators of this program, by stable name.
///
/// # Errors
/// If two operators have the same name; the message gives both source positions.
pub fn operators() -> Result<Vec<&'static OperatorEntry>> {
    let mut all: Vec<_> = inventory::iter::<OperatorEntry>.into_iter().collect();
    all.sort_by_key(|o| (o.name, o.file, o.line));
    for pair in all.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return Err(crate::Error::Usage(format!(
                "two operators are called `{}`: {}:{} and {}:{}; rename one, or give it `#[operator(name = \"..\")]`",
                a.name, a.file, a.line, b.file, b.line
            )));
        }
    }
    Ok(all)
}

/// Whether one of these operators may return an error.
pub(crate) fn returns_result(calls: &[String]) -> bool {
    inventory::iter::<OperatorEntry>.into_iter().any(|o| o.fallible && calls.iter().any(|c| c == o.ident))
}

/// The name of the operator whose source text contains this line.
pub(crate) fn operator_at(file: &str, line: u32) -> Option<&'static str> {
    let inside = |o: &&OperatorEntry| o.file == file && (o.line..=o.end_line).contains(&line);
    inventory::iter::<OperatorEntry>.into_iter().find(inside).map(|o| o.name)
}
