//! A record as plain data.

use proc_macro2::{Ident, Span};
use syn::{Type, Visibility};

/// A struct that becomes a record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    /// No fields if the item is not a struct with named fields.
    pub(crate) fields: Vec<Field>,
    /// Whether a field's type was read as another one, which was reported.
    pub(crate) misread: bool,
    /// The file that it is compared with.
    pub(crate) schema: Option<super::schema::SchemaFile>,
    /// What is wrong with the item as a whole.
    pub(crate) shape: Shape,
}

/// What the item is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// A struct with named fields.
    Named,
    /// A struct without any fields.
    Empty,
    /// A tuple struct.
    Tuple,
    /// An enum or a union.
    NoStruct,
    /// It has type parameters or lifetimes; nothing can be generated.
    Generic(Span, bool),
}

/// A column.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// The column's name in files.
    pub(crate) name: String,
    /// The `#[event_time]` mark.
    pub(crate) event_time: Option<Span>,
    pub(crate) doc: String,
}
