//! State that cannot survive a restart.

use sabot::prelude::*;

#[derive(Default)]
struct Cache {
    last: f64,
}

/// Change since the last trade.
#[operator]
fn change(cache: &mut Cache, price: f64) -> Option<f64> {
    Some(price - cache.last)
}

fn main() {}

//~ ERROR 12:23 | Cache | `Cache` cannot be kept as operator state
//~ ALSO add `#[derive(State, Default)]` (its fields must be `State` too), or keep it outside the state struct
