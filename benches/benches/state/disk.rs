//! State on disk beside the store as it is: `cargo bench -p sabot-benches --no-default-features --features fjall --bench state -- --disk`.
//!
//! Both read and write a state of 64 bytes for each row of the same batches, on one thread, with the same memory: the store alone has all of it
//! for blocks and for what is not in a file yet, half each; in Sabot decoded states have half of it. Keys are random. The result of each
//! is compared with a map that is updated by hand, before anything is timed; then they take turns, and the best of three counts. Times are
//! of the clock and of the processor, all threads, those of the store with them.

use std::time::Instant;

use fjall::config::CompressionPolicy;
use fjall::{Database, KeyspaceCreateOptions};
use sabot::connect::SinkSpec;
use sabot::prelude::*;

use super::{Account, CHECKED, Plain, Replay, TURNS, by_hand, column, cpu, source};

const ROWS: usize = 2_000_000;
const MEMORY: usize = 64 << 20;

/// What a card spent, how often, and what it spent last.
#[derive(State, Default)]
struct Wide {
    cents: i64,
    times: i64,
    last: [i64; 6],
}

#[operator]
fn widely(state: &mut Wide, cents: i64) -> i64 {
    state.cents += cents;
    state.last.rotate_right(1);
    state.last[0] = cents;
    state.times += 1;
    state.cents
}

pipeline! {
    /// As rows come.
    pub fn wide(paid: Source<Plain>);
    out = paid -> key_by(card) -> keyed(|p| row { spent: widely(p.cents) }) -> select(|p| row Account { card: p.card, spent: p.spent });
    out -> sink;
}

/// The same with the store alone: the sum of all results.
fn raw(replay: &Replay, dir: &std::path::Path) -> Result<i64> {
    let failed = |e: fjall::Error| Error::Usage(e.to_string());
    let database = Database::builder(dir).cache_size((MEMORY / 2) as u64).worker_threads(2).manual_journal_persist(true);
    let database = database.journal_compression(fjall::CompressionType::None).open().map_err(failed)?;
    let options = || {
        let options = KeyspaceCreateOptions::default().max_memtable_size((MEMORY / 2) as u64).manual_journal_persist(true);
        options.expect_point_read_hits(true).data_block_compression_policy(CompressionPolicy::disabled())
    };
    let keyspace = database.keyspace("raw", options).map_err(failed)?;
    let (mut sum, mut bytes) = (0_i64, Vec::new());
    for batch in replay.0.iter() {
        for (card, cents) in column(batch, "card").into_iter().zip(column(batch, "cents")) {
            let key = card.to_be_bytes();
            let mut state = match keyspace.get(key).map_err(failed)? {
                Some(bytes) => Wide::decode(&mut &*bytes)?,
                None => Wide::default(),
            };
            sum = sum.wrapping_add(widely(&mut state, cents));
            bytes.clear();
            state.encode(&mut bytes);
            keyspace.insert(key, bytes.as_slice()).map_err(failed)?;
        }
    }
    Ok(sum)
}

fn ours(replay: &Replay, dir: &std::path::Path, memory: usize) -> sabot::stream::Job {
    let replay = replay.clone();
    let job = wide(Source::custom(move || Ok(replay.clone()))).parallel(1);
    job.options(|o| {
        o.state_dir = Some(dir.to_owned());
        o.state_memory = memory;
    })
}

pub(super) fn compare(smoke: bool) -> Result<()> {
    let dir = tempfile::tempdir().map_err(|e| Error::Usage(e.to_string()))?;
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        dir.path().join(number.to_string())
    };
    println!("{:26} {:>10} {:>14} {:>14} {:>8}", "state on disk", "keys", "rows/s, clock", "processor", "of raw");
    for cards in [100_000, 1_000_000] {
        let small = source::<Plain>(CHECKED, cards);
        let expected = by_hand(&small);
        let rows: Vec<Account> = ours(&small, dir.path(), 100_000).collect()?;
        let sum = rows.iter().fold(0_i64, |s, r| s.wrapping_add(r.spent));
        if rows.len() != CHECKED || sum != expected || raw(&small, &fresh())? != expected {
            return Err(Error::Usage(format!("{cards} keys on disk: another result than by hand")));
        }
        if smoke {
            continue;
        }
        let large = source::<Plain>(ROWS, cards);
        let expected = by_hand(&large);
        let mut best = [[f64::INFINITY; 2]; 2];
        for _ in 0..TURNS {
            for (way, best) in best.iter_mut().enumerate() {
                let place = fresh();
                std::fs::create_dir_all(&place).map_err(|e| Error::Usage(e.to_string()))?;
                let (clock, processor) = (Instant::now(), cpu());
                match way {
                    0 if raw(&large, &place)? != expected => return Err(Error::Usage("another result than by hand".into())),
                    0 => {}
                    _ => ours(&large, &place, MEMORY).sink("out", SinkSpec::Blackhole).run().map(|_| ())?,
                }
                *best = [best[0].min(clock.elapsed().as_secs_f64()), best[1].min(cpu() - processor)];
                let _ = std::fs::remove_dir_all(&place);
            }
        }
        let [raw, ..] = best;
        for (name, [clock, processor]) in ["the store as it is", "Sabot"].iter().zip(best) {
            let rate = |seconds: f64| ROWS as f64 / seconds;
            println!("{name:26} {cards:>10} {:>14.0} {:>14.0} {:>8.2}", rate(clock), rate(processor), raw[0] / clock);
        }
    }
    Ok(())
}
