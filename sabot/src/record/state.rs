//! State that survives a restart: what `#[derive(State)]` writes and reads.
//!
//! A snapshot stores, once, the names and types of the fields, and then values in field order. On restore fields are
//! matched by name: an added field takes its default, a removed or retyped one is refused by name.

use crate::{Error, Result};

/// One field of a state struct.
///
/// Example: [`State`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StateField {
    /// The field's name.
    pub name: String,
    /// Its type, as [`State::type_name`] gives it.
    pub type_name: String,
}

/// The fields of a state struct; empty for a plain value.
///
/// Example: [`State`].
pub type StateSchema = Vec<StateField>;

/// A value that can be kept as operator state.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(State, Default)]
/// struct Position { shares: i64, cost: f64 }
///
/// # fn main() -> Result<()> {
/// let mut bytes = Vec::new();
/// Position { shares: 5, cost: 12.5 }.encode(&mut bytes);
/// let back = Position::decode(&mut bytes.as_slice())?;
/// assert_eq!((back.shares, back.cost), (5, 12.5));
/// assert_eq!(Position::schema()[0].name, "shares");
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as operator state",
    label = "state must survive a restart",
    note = "add `#[derive(State, Default)]` (its fields must be `State` too), or keep it outside the state struct"
)]
pub trait State: Default + Send + 'static {
    /// A stable name of the type.
    fn type_name() -> String;
    /// The fields, for structs.
    fn schema() -> StateSchema {
        Vec::new()
    }
    /// Appends the value.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads a value that was written with the same schema.
    ///
    /// # Errors
    /// If the bytes are cut short or malformed.
    fn decode(from: &mut &[u8]) -> Result<Self>;
    /// Reads a value that was written with another schema of the same struct.
    ///
    /// # Errors
    /// If a written field is unknown or has another type; the message names it.
    fn decode_from(from: &mut &[u8], written: &StateSchema) -> Result<Self> {
        let _ = written;
        Self::decode(from)
    }
}

/// The next `n` bytes.
///
/// # Errors
/// If there are fewer.
pub fn take<'a>(from: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    match from.split_at_checked(n) {
        Some((head, rest)) => {
            *from = rest;
            Ok(head)
        }
        None => Err(Error::Checkpoint("state is cut short".into())),
    }
}

/// The name of a struct type: its fields, so that a changed struct within another is noticed.
pub fn struct_name(schema: &StateSchema) -> String {
    let fields: Vec<_> = schema.iter().map(|f| format!("{}: {}", f.name, f.type_name)).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Why a written field cannot be restored into `record`: it is gone, or it has another type.
pub fn unknown_field(record: &str, written: &StateField, now: &StateSchema) -> Error {
    let name = &written.name;
    Error::Checkpoint(match now.iter().find(|f| f.name == *name) {
        Some(f) => format!(
            "the state `{record}` was written with `{name}: {}`, but the field is `{}` now; keep its type, or give the new field another name",
            written.type_name, f.type_name
        ),
        None => format!(
            "the state `{record}` was written with `{name}: {}`, but the struct has no such field now; keep the field until its state has expired",
            written.type_name
        ),
    })
}
