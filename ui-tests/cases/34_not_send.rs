//! A closure that cannot be sent between threads, without the macro.

use std::rc::Rc;

use sabot::prelude::*;
use sabot::stream::Stream;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

fn keep(trades: Stream<'_, Trade>, limit: Rc<f64>) {
    trades.filter(move |t| t.price > *limit).stream().open_sink("kept");
}

fn main() {}

//~ ERROR 16:19 | move |t| t.price > *limit | `Rc<f64>` cannot be sent between threads safely
//~ ERROR 16:19 | move |t| t.price > *limit | `Rc<f64>` cannot be shared between threads safely
