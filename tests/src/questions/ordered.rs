//! Steps over sets of rows, and over rows in an order.

use super::{Flight, Weather, gained};
use sabot::prelude::*;

pipeline! {
    /// Distinct rows, with nulls.
    pub fn distinct_routes(flights: Source<Flight, Bounded>);
    out = flights -> select(|f| row { carrier: f.carrier, origin: f.origin, dest: f.dest, tailnum: f.tailnum }) -> distinct();
    out -> sink;
}

pipeline! {
    /// Distinct rows with floats, nearly all different.
    pub fn distinct_weather(weather: Source<Weather, Bounded>);
    out = weather -> select(|w| row { origin: w.origin, temp: w.temp, wind_dir: w.wind_dir, wind_gust: w.wind_gust }) -> distinct();
    out -> sink;
}

pipeline! {
    /// The first row of each aircraft, in source order; null is one of them.
    pub fn first_of_tail(flights: Source<Flight, Bounded>);
    out = flights -> distinct(tailnum)
                  -> select(|f| row { tailnum: f.tailnum, carrier: f.carrier, flight: f.flight, origin: f.origin, time_hour: f.time_hour, dest: f.dest });
    out -> sink;
}

pipeline! {
    /// The worst of all, in order.
    pub fn top_all(flights: Source<Flight, Bounded>, n: u64);
    out = flights -> top(n, desc(arr_delay), carrier, flight, origin, time_hour, dest)
                  -> select(|f| row { arr_delay: f.arr_delay, carrier: f.carrier, flight: f.flight, origin: f.origin, time_hour: f.time_hour, dest: f.dest });
    out -> sink;
}

pipeline! {
    /// The worst of each aircraft, nulls first.
    pub fn top_of_tail(flights: Source<Flight, Bounded>, n: u64);
    out = flights -> key_by(tailnum) -> top(n, nulls_first(desc(arr_delay)), carrier, flight, origin, time_hour, dest)
                  -> select(|f| row { tailnum: f.tailnum, arr_delay: f.arr_delay, carrier: f.carrier, flight: f.flight, origin: f.origin, time_hour: f.time_hour, dest: f.dest });
    out -> sink;
}

pipeline! {
    /// In two months.
    pub fn in_both_months(flights: Source<Flight, Bounded>);
    june = flights -> filter(|f| f.month == 6) -> select(|f| row { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    july = flights -> filter(|f| f.month == 7) -> select(|f| row { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    out  = june -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum })
                -> intersect(july -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum }));
    out -> sink;
}

pipeline! {
    /// In one month and not in another.
    pub fn in_one_month(flights: Source<Flight, Bounded>);
    june = flights -> filter(|f| f.month == 6) -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    july = flights -> filter(|f| f.month == 7) -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    out  = june -> except(july);
    out -> sink;
}

/// An aircraft on a route.
#[derive(Record, Clone, Debug)]
struct Seen {
    carrier: Str,
    dest: Str,
    tailnum: Option<Str>,
}

pipeline! {
    /// Neighbours and running aggregates of each carrier, in a total order.
    pub fn running(flights: Source<Flight, Bounded>);
    all = flights -> filter(|f| f.month <= 3) -> key_by(carrier) -> over(time_hour, flight, origin, dest, |f| row {
        n: row_number(), before: lag(f.dep_delay), third: lag(f.tailnum, 3), after: lead(f.dest, 2), miles: sum(f.distance), delay: sum(f.dep_delay),
        known: count(f.dep_delay), least: min(f.arr_delay), most: max(f.tailnum), mean_gain: mean(gained(f.dep_delay, f.arr_delay)),
    });
    out = all -> select(|f| row {
        carrier: f.carrier, time_hour: f.time_hour, flight: f.flight, origin: f.origin, dest: f.dest, n: f.n, before: f.before, third: f.third, after: f.after,
        miles: f.miles, delay: f.delay, known: f.known, least: f.least, most: f.most, mean_gain: f.mean_gain
    });
    out -> sink;
}

pipeline! {
    /// Ranks with ties and nulls.
    pub fn ranks(flights: Source<Flight, Bounded>);
    all = flights -> filter(|f| f.month == 2) -> key_by(origin, day) -> over(desc(dep_delay), |_f| row { rank: rank(), dense: dense_rank(), share: percent_rank() });
    out = all -> select(|f| row { carrier: f.carrier, time_hour: f.time_hour, flight: f.flight, origin: f.origin, dest: f.dest, rank: f.rank, dense: f.dense, share: f.share });
    out -> sink;
}

pipeline! {
    /// Over whole days of weather, floats with nulls.
    pub fn day_share(weather: Source<Weather, Bounded>);
    all = weather -> key_by(origin, month, day) -> over(|w| row { hours: count(), warm: max(w.temp), cold: min(w.temp), gusts: count(w.wind_gust), gust: mean(w.wind_gust) });
    out = all -> select(|w| row { origin: w.origin, month: w.month, day: w.day, temp: w.temp, hours: w.hours, warm: w.warm, cold: w.cold, gusts: w.gusts, gust: w.gust });
    out -> sink;
}

pipeline! {
    /// Every step over no rows.
    pub fn of_nothing(flights: Source<Flight, Bounded>);
    none = flights -> filter(|f| f.distance < 0);
    top  = none -> top(3, desc(distance)) -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    over = none -> key_by(carrier) -> over(day, |_f| row { n: row_number() }) -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    some = flights -> filter(|f| f.distance > 4000) -> select(|f| row Seen { carrier: f.carrier, dest: f.dest, tailnum: f.tailnum });
    sets = top -> union(over) -> distinct() -> intersect(some);
    out  = some -> except(sets);
    out -> sink;
}
