//! NEXMark, an auction site: the questions of `sabot_examples::nexmark::queries`, over its events or over files of them.
//!
//! `cargo run --release --example nexmark` asks for hot items (q5) of two minutes, as a batch and as a stream. With arguments it is
//! the tool: `-- run bids --events 100000 --sink bids=bids.parquet` writes the events of a kind into a file,
//! `-- run q7 --source bids=bids.parquet --sink result=q7.csv` reads them from there, and `-- run live --per_second 10000` goes on until
//! Ctrl-C.

use sabot::prelude::*;
use sabot_examples::nexmark::queries::{Q5, q5};
use sabot_examples::nexmark::{Nexmark, Sequence};

/// In a disorder of a tenth of a second.
fn nexmark() -> Nexmark {
    Nexmark::new().sequence(Sequence { disorder: 1000, ..Sequence::per_second(10_000) })
}

pipeline! {
    /// The persons among so many events.
    pub fn persons(events: u64);
    persons = source(nexmark().events(events).persons_batch());
    persons -> sink;
}
pipeline! {
    /// The auctions among so many events.
    pub fn auctions(events: u64);
    auctions = source(nexmark().events(events).auctions_batch());
    auctions -> sink;
}
pipeline! {
    /// The bids among so many events.
    pub fn bids(events: u64);
    bids = source(nexmark().events(events).bids_batch());
    bids -> sink;
}
pipeline! {
    /// Auctions and sellers per category and second, for ever.
    pub fn live(per_second: f64);
    auctions = source(nexmark().pace(per_second).auctions());
    seconds  = auctions -> key_by(category) -> window(tumbling(1.sec()))
                        -> aggregate(|a| row { auctions: count(), sellers: count_distinct(a.seller), reserve: mean(a.reserve) });
    seconds -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let two_minutes = nexmark().events(1_200_000);
    let stream = q5(two_minutes.clone().partitions(2).bids()).collect::<Q5>()?;
    println!("{} hot items, the hottest {:?}", stream.len(), stream.iter().max_by_key(|q| q.num));
    sabot::testing::same_rows(&stream, &q5(two_minutes.bids_batch()).collect::<Q5>()?, 0.0)?;
    Ok(())
}
