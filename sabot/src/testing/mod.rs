//! The user's kit for testing pipelines: feed rows, shuffle what timing could change, stop and crash, compare.
//!
//! A [`Trial`] runs a [`Job`](crate::stream::Job) once, in memory: every open sink is collected, and every row of every
//! step is accounted for. On the pool it is what production does; [`seed`](Trial::seed) gives it to the
//! [simulated executor](crate::runtime::Simulated), whose every choice follows from the seed, and which can
//! [stop](Trial::stop_at), [take a checkpoint](Trial::snapshot_at) or [crash](Trial::crash_at) at any step.
//!
//! A [`StreamCheck`] does that for many seeds and compares each stream with the batch; a [`Driver`] runs a stream step by step: feed rows,
//! move the clock, look at what came out.
//!
//! ```
//! use sabot::prelude::*;
//! use sabot::testing::{Trial, same_rows};
//!
//! #[derive(Record, Clone, Debug, PartialEq)]
//! struct Sale { shop: Str, amount: i64 }
//!
//! #[derive(Record, Clone, Debug, PartialEq)]
//! struct Total { shop: Str, amount: i64 }
//!
//! pipeline! {
//!     /// Sales by shop.
//!     pub fn totals(sales: Source<Sale, Bounded>);
//!     totals = sales -> key_by(shop) -> aggregate(|s| row { amount: sum(s.amount) });
//!     totals -> sink;
//! }
//!
//! # fn main() -> Result<()> {
//! let sales = vec![Sale { shop: "a".into(), amount: 1 }, Sale { shop: "b".into(), amount: 2 }, Sale { shop: "a".into(), amount: 3 }];
//! let expected = vec![Total { shop: "a".into(), amount: 4 }, Total { shop: "b".into(), amount: 2 }];
//! for seed in 0..10 {
//!     let ran = Trial::new().threads(1 + seed as usize % 4).morsel_rows(1).seed(seed).run(totals(sales.clone()))?;
//!     same_rows(&ran.rows::<Total>("totals")?, &expected, 0.0)?;
//! }
//! # Ok(()) }
//! ```

mod compare;
mod dealt;
mod driver;
mod feed;
mod feeds;
mod mortal;
pub(crate) mod processes;
mod shrink;
mod splits;
mod stream_check;
mod tap;
mod text;
mod trial;
pub(crate) mod wires;

pub use compare::{close, same_rows, sorted_text};
pub use driver::Driver;
pub use feed::Feed;
pub use feeds::Feeds;
pub use splits::splits;
pub use stream_check::{Checked, StreamCheck};
pub use trial::{Ran, Trial};
