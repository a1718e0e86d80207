//! Words that do not say when results of windows are sent.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
    #[event_time]
    at: Timestamp<Micros>,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    a = sales -> key_by(shop) -> window(tumbling(1.minute()), on_updates) -> aggregate(|s| row { total: sum(s.amount) });
    a -> sink;
    b = sales -> key_by(shop) -> window(tumbling(1.minute()), every) -> aggregate(|s| row { total: sum(s.amount) });
    b -> sink;
    c = sales -> key_by(shop) -> window(tumbling(1.minute()), lateness) -> aggregate(|s| row { total: sum(s.amount) });
    c -> sink;
    d = sales -> key_by(shop) -> window(tumbling(1.minute()), on_update = 3.sec()) -> aggregate(|s| row { total: sum(s.amount) });
    d -> sink;
    e = sales -> key_by(shop) -> window(tumbling(1.minute()), on_update, every = 5.sec()) -> aggregate(|s| row { total: sum(s.amount) });
    e -> sink;
    f = sales -> key_by(shop) -> window(tumbling(1.minute()), 5) -> aggregate(|s| row { total: sum(s.amount) });
    f -> sink;
    g = sales -> key_by(shop) -> window(global(on_update), lateness = 1.sec()) -> aggregate(|s| row { total: sum(s.amount) });
    g -> sink;
    h = sales -> key_by(shop) -> window(session(1.minute()), on_update) -> aggregate(|s| row { total: sum(s.amount) });
    h -> sink;
}

fn main() {}

//~ ERROR 16:63 | on_updates | results are not sent `on_updates`; did you mean `on_update`?
//~ ERROR 18:63 | every | `every` takes a span of time: `every = 10.sec()`
//~ ERROR 20:63 | lateness | `lateness` takes a span of time: `lateness = 1.minute()`
//~ ERROR 22:63 | on_update | `on_update` stands alone: `window(tumbling(1.hour()), on_update)`, `window(tumbling(1.hour()), every = 10.sec())` or `window(tumbling(1.hour()), lateness = 1.minute())`
//~ ERROR 24:74 | every | results are sent `on_update` already: choose one
//~ ERROR 26:63 | 5 | behind its windows `window` takes when their results are sent: `window(tumbling(1.hour()), on_update)`, `window(tumbling(1.hour()), every = 10.sec())` or `window(tumbling(1.hour()), lateness = 1.minute())`
//~ ERROR 28:60 | lateness | `global(on_update)` is all: there is no window that could be over or take late rows
//~ ERROR 30:62 | on_update | sessions are sent once, when they are over: leave out when else
