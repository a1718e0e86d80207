//! Where Rust rows meet Arrow columns.
//!
//! A [`Value`] is a column type, a [`Record`] a set of named columns. A batch is matched with a record by name, once
//! ([`Accepted`]); after that rows are read without checks, 64 at a time ([`Window`], [`Lane`]), as structs of borrowed
//! values. [`Cell`] is the way back: from the value of an expression to a column.
//!
//! ```
//! use sabot::prelude::*;
//! use sabot::record::{from_batch, schema_of, to_batch};
//!
//! #[derive(Record, Clone, Debug, PartialEq)]
//! struct Order {
//!     customer: Str,
//!     venue: Dict<Str>,
//!     amount: Decimal<18, 2>,
//!     tags: List<i64>,
//!     note: Option<Str>,
//!     #[event_time]
//!     at: Timestamp<Micros>,
//! }
//!
//! # fn main() -> Result<()> {
//! let order = Order {
//!     customer: "ann".into(),
//!     venue: "XNYS".into(),
//!     amount: Decimal::from_units(12_50),
//!     tags: List(vec![1, 2]),
//!     note: None,
//!     at: Timestamp::new(1_700_000_000_000_000),
//! };
//! assert_eq!((order.amount.to_f64(), order.at.date().to_string()), (12.5, "2023-11-14".to_owned()));
//! let batch = to_batch(std::slice::from_ref(&order));
//! assert_eq!(batch.schema().fields(), schema_of::<Order>().fields());
//! assert_eq!(from_batch::<Order>(&batch, "here")?, [order]);
//! # Ok(()) }
//! ```

mod arena;
mod bits;
mod boolean;
mod cell;
mod decimal;
mod list;
mod may_fail;
mod named;
mod nested;
mod option;
mod own;
mod primitive;
mod raw;
mod reader;
#[allow(clippy::module_inception)]
mod record;
mod reducing;
mod rows;
mod state;
mod state_values;
mod text;
mod time;
mod value;
mod values;
mod window;

pub use decimal::Decimal;
pub use list::{List, ListRef};
pub use record::{Column, Named, Record, columns_of, schema_of};
pub use reducing::{Largest, Least, Reduce, Reducing};
pub use rows::{clone_of, from_batch, to_batch};
pub use state::{State, StateField, StateSchema};
pub use text::{Bytes, Dict, Str};
pub use time::{Date, Duration, Micros, Millis, Nanos, NoZone, Seconds, Time, TimeColumn, TimeExt, Timestamp, Unit, Utc, Zone};
pub use value::Value;

// What the output of the macros and the kernels stand on: no program names it.
#[doc(hidden)]
pub use arena::{Arena, Buffers, Env};
#[doc(hidden)]
pub use bits::Bits;
#[doc(hidden)]
pub use boolean::BoolWrite;
#[doc(hidden)]
pub use cell::{Cell, Fault, Faults, Flat, Kind, Kinds, Make, Slot, col, sure};
#[doc(hidden)]
pub use list::{ListRead, ListWrite};
#[doc(hidden)]
pub use may_fail::{Fallible, MayFail, MayFailWrite, Never, Sometimes};
#[doc(hidden)]
pub use named::{
    Answer, H0, H1, H2, H3, H4, H5, H6, H7, H8, H9, HA, HB, HC, HD, HE, HF, HasColumn, Here, No, OtherName, SameDigit, SameName, There, Yes,
};
#[doc(hidden)]
pub use nested::{accept_struct, all_fixed, debug_row, finish_struct, read_struct, struct_type};
#[doc(hidden)]
pub use option::{NotNull, Nullable, OptionWrite};
#[doc(hidden)]
pub use primitive::{Fixed, FixedChunk, FixedRead, FixedWrite};
pub(crate) use raw::BASE;
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
pub(crate) use raw::V3;
#[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
pub(crate) use raw::V4;
#[doc(hidden)]
pub use raw::{Keep, Spots, Stack};
#[doc(hidden)]
pub use reader::{Accepted, Missing, Reader, table};
#[doc(hidden)]
pub use record::{Col, IsRecord, View};
#[doc(hidden)]
pub use state::{struct_name, take, unknown_field};
#[doc(hidden)]
pub use text::{DictWrite, TextRead, ViewWrite};
#[doc(hidden)]
pub use value::{Mismatch, Writer};
#[doc(hidden)]
pub use values::{Args, Row1, Rows, Values};
#[doc(hidden)]
pub use window::{LANES, Lane, Window};

pub(crate) use arena::text_buffers;
pub(crate) use boolean::pack_word;
#[cfg(test)]
pub(crate) use may_fail::never_fails;
pub(crate) use may_fail::null_at;
pub(crate) use option::with_nulls;
pub(crate) use own::{bytes_of, own, own_text, own_text_column};
pub(crate) use time::to_micros;

/// The stream's rows have an event time.
///
/// Example: [`Records`](crate::stream::Records).
#[derive(Debug)]
pub enum HasTime {}
/// The stream's rows have no event time.
///
/// Example: [`Records`](crate::stream::Records).
#[derive(Debug)]
pub enum NoTime {}
