//! Dealing rows out by key: million rows per second on one thread.

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use rustix::time::{ClockId, clock_gettime};
use sabot::kernel::hash::{KEY_GROUPS, hash_integer, instance_of, key_group};
use sabot::kernel::{Morsel, Origin};
use sabot::shuffle::Partitioner;

use super::rows::{BATCH, batches};

const BATCHES: usize = 64;
const ROUNDS: usize = 15;

fn keys() -> Vec<RecordBatch> {
    let key = |i: usize| hash_integer(i as i64) as i64 % 1_000_000;
    let batch = |b: usize| {
        let keys: ArrayRef = Arc::new((b * BATCH..(b + 1) * BATCH).map(key).collect::<Int64Array>());
        RecordBatch::try_from_iter([("id", keys)]).unwrap()
    };
    (0..BATCHES).map(batch).collect()
}

/// Every row goes to the instance that owns its key.
pub fn check() {
    for instances in [2, 3, 8, 64] {
        let partitioner = Partitioner::new(vec!["id".into()], instances);
        let mut rows = 0;
        for batch in keys().iter().take(4) {
            for (instance, piece) in partitioner.split(Morsel::new(batch.clone(), Origin::default())).unwrap() {
                let keys = piece.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                assert!(
                    keys.values().iter().all(|k| instance_of(key_group(hash_integer(*k), KEY_GROUPS), KEY_GROUPS, instances) == instance)
                );
                rows += keys.values().len();
            }
        }
        assert_eq!(rows, 4 * BATCH);
    }
}

pub fn time() {
    println!("dealt out by an i64 key, million rows per second of one core (median of {ROUNDS}):");
    for (title, batches) in [("the key alone", keys()), ("the four columns", batches(BATCHES * BATCH))] {
        let kinds = [false, true].into_iter().flat_map(|in_groups| [2, 8, 64].map(|instances| (instances, in_groups)));
        for (instances, in_groups) in kinds {
            let plain = Partitioner::new(vec!["id".into()], instances);
            let partitioner = if in_groups { plain.in_groups() } else { plain };
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let before = clock_gettime(ClockId::ThreadCPUTime);
                for batch in &batches {
                    black_box(partitioner.split(Morsel::new(batch.clone(), Origin::default())).unwrap());
                }
                let after = clock_gettime(ClockId::ThreadCPUTime);
                took.push((after.tv_sec - before.tv_sec) as f64 + (after.tv_nsec - before.tv_nsec) as f64 / 1e9);
            }
            let how = if in_groups { "by key group" } else { "" };
            println!("{title:<20} {instances:>3} instances {how:<12} {:>8.0}", (BATCHES * BATCH) as f64 / 1e6 / super::median(took));
        }
    }
}
