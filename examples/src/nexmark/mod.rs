//! NEXMark: an auction site as three streams, and questions about it.
//!
//! People register, put things up for auction, and bid; of 50 events 1 is a [`Person`], 3 are [`Auction`]s and 46 are
//! [`Bid`]s. [`Nexmark`] computes each event from its number alone, column by column, so a stream of them can be cut into
//! partitions, read from any event on and repeated. [`queries`] asks the benchmark's questions, in the form that they
//! have in Flink's SQL.
//!
//! Fields and proportions are those of the NEXMark suite (Tucker, Tufte, Papadimos, Maier: "NEXMark: a benchmark for
//! queries over data streams", and the later suites of Apache Beam and Flink, which added `channel`, `url`, `extra` and the
//! constants): half of the bids go to one hot auction of the last hundred, three of four bidders and sellers are hot ones, prices
//! spread over six powers of ten. The random numbers and texts are Sabot's own, so results differ from those of other
//! generators.

pub mod queries;

mod columns;
mod model;
mod random;
mod sequence;
mod source;
mod words;

pub use model::{Auction, Bid, Person, Side, side_input};
pub use sequence::{AUCTIONS, BIDS, EVENTS, PERSONS, Sequence};
pub use source::{Event, Nexmark};
