//! An async operator with state.

use sabot::prelude::*;

#[derive(State, Default)]
struct Seen {
    hits: i64,
}

#[operator]
async fn count(seen: &mut Seen, hits: i64) -> i64 {
    seen.hits += hits;
    seen.hits
}

fn main() {}

//~ ERROR 11:22 | &mut Seen | an async operator keeps no state: its calls run side by side; count or compare in a `keyed` operator behind it
