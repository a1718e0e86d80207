//! Options that an async operator cannot have.

use sabot::prelude::*;

#[operator(timeout = "soon")]
async fn late(hits: i64) -> i64 {
    hits
}

#[operator(max_in_flight = 0)]
async fn never(hits: i64) -> i64 {
    hits
}

#[operator(retry = 3)]
async fn sure(hits: i64) -> i64 {
    hits
}

#[operator(unordered)]
fn sync(hits: i64) -> i64 {
    hits
}

fn main() {}

//~ ERROR 5:22 | "soon" | `timeout` is a number and a unit (`us`, `ms`, `s`, `min`, `h`): `timeout = "2s"`
//~ ERROR 10:28 | 0 | `max_in_flight = 0`: at least one call must be allowed
//~ ERROR 15:12 | retry | there is nothing to retry: `sure` returns no `Result`, and has no `timeout`
//~ ERROR 20:12 | unordered | `unordered` is an option of an `async fn`: make `sync` one, or remove it
