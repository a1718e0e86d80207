//! q11: user sessions.

use sabot::prelude::*;

use crate::nexmark::Bid;

/// How often somebody bid without a pause of ten seconds.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q11 {
    /// Who.
    pub bidder: i64,
    /// The first bid.
    pub window_start: Timestamp<Micros>,
    /// Ten seconds after the last.
    pub window_end: Timestamp<Micros>,
    /// Bids.
    pub bid_count: u64,
}

pipeline! {
    /// Bids per person and session.
    pub fn q11(bids: Source<Bid>);

    result = bids -> key_by(bidder) -> window(session(10.sec())) -> aggregate(|_b| row { bid_count: count() });
    result -> sink;
}
