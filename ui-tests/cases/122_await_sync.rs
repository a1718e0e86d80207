//! `.await` on an operator that is not async.

use sabot::prelude::*;

#[derive(Record)]
struct Visit {
    hits: i64,
}

/// Twice a number.
#[operator]
fn twice(hits: i64) -> i64 {
    hits * 2
}

pipeline! {
    pub fn p(visits: Source<Visit>);

    visits -> with(|v| row { more: twice(v.hits).await }) -> sink;
}

fn main() {}

//~ ERROR 19:36 | twice | `twice` is not async: call it without `.await`
//~ ALSO `.await` is for operators that are an `#[operator] async fn`
