//! Pipelines whose results `tests/duckdb/compare.py` compares with DuckDB, row by row.

use sabot::prelude::*;

#[path = "../questions/joins.rs"]
mod joins;
#[path = "../questions/ordered.rs"]
mod ordered;
#[path = "../questions/random.rs"]
mod random;

/// A departure.
#[derive(Record, Clone, Debug)]
struct Flight {
    month: i64,
    day: i64,
    dep_delay: Option<i64>,
    arr_delay: Option<i64>,
    carrier: Str,
    flight: i64,
    tailnum: Option<Str>,
    origin: Str,
    dest: Str,
    air_time: Option<i64>,
    distance: i64,
    #[event_time]
    time_hour: Timestamp<Micros>,
}

/// The weather in one hour.
#[derive(Record, Clone, Debug)]
struct Weather {
    origin: Str,
    month: i64,
    day: i64,
    temp: Option<f64>,
    wind_dir: Option<i64>,
    wind_gust: Option<f64>,
    visib: f64,
}

/// An aircraft.
#[derive(Record, Clone, Debug)]
struct Plane {
    tailnum: Str,
    year: Option<i64>,
    model: Option<Str>,
}

/// Rows of two streams.
#[derive(Record, Clone, Debug)]
struct Leg {
    carrier: Str,
    miles: i64,
    air: Option<i64>,
}

/// A row of random values.
#[derive(Record, Clone, Debug)]
struct Random {
    id: i64,
    k: Option<i64>,
    name: Option<Str>,
    x: Option<f64>,
    n: Option<i64>,
    d: Option<Decimal<12, 3>>,
    b: Option<bool>,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// The same without event time.
#[derive(Record, Clone, Debug)]
struct Untimed {
    id: i64,
    k: Option<i64>,
    name: Option<Str>,
    x: Option<f64>,
}

/// Minutes regained in the air; sees nulls.
#[operator]
fn gained(dep: Option<i64>, arr: Option<i64>) -> Option<i64> {
    Some(dep? - arr?)
}

/// Miles per hour; not called on nulls.
#[operator]
fn speed(miles: i64, minutes: i64) -> f64 {
    miles as f64 * 60.0 / minutes as f64
}

/// The largest integer below, which must not be called on a zero.
#[operator]
fn hundred_over(minutes: i64) -> i64 {
    100 / minutes
}

pipeline! {
    /// Counts and extremes per carrier and origin, nulls skipped.
    pub fn by_carrier_origin(flights: Source<Flight, Bounded>);
    out = flights -> key_by(carrier, origin) -> aggregate(|f| row {
        rows: count(), known: count(f.dep_delay), total: sum(f.dep_delay), least: min(f.dep_delay), most: max(f.arr_delay),
        mean_delay: mean(f.arr_delay), miles: sum(f.distance), first_tail: min(f.tailnum), last_dest: max(f.dest),
    });
    out -> sink;
}

pipeline! {
    /// Float aggregates over groups of which some hold nulls alone.
    pub fn weather_days(weather: Source<Weather, Bounded>);
    out = weather -> key_by(origin, month, day) -> aggregate(|w| row {
        hours: count(), temps: count(w.temp), warm: max(w.temp), cold: min(w.temp), temp: mean(w.temp),
        gusts: count(w.wind_gust), gust: max(w.wind_gust), gust_sum: sum(w.wind_gust), direction: sum(w.wind_dir),
        direction_mean: mean(w.wind_dir), visib: sum(w.visib),
    });
    out -> sink;
}

pipeline! {
    /// A group of null keys is a group.
    pub fn by_tailnum(flights: Source<Flight, Bounded>);
    out = flights -> key_by(tailnum) -> aggregate(|f| row { rows: count(), air: sum(f.air_time) });
    out -> sink;
}

pipeline! {
    /// No key: one row.
    pub fn overall(flights: Source<Flight, Bounded>, minimum: i64);
    out = flights -> filter(|f| f.distance >= minimum)
                  -> aggregate(|f| row { rows: count(), air: sum(f.air_time), mean_air: mean(f.air_time), far: max(f.distance) });
    out -> sink;
}

pipeline! {
    /// Filters and columns over nulls.
    pub fn null_filters(flights: Source<Flight, Bounded>);
    some = flights -> filter(|f| gained(f.dep_delay, f.arr_delay)? > 20)
                   -> filter(|f| f.dep_delay? % 3 != 0 || f.tailnum.is_none())
                   -> with(|f| row { gain: gained(f.dep_delay, f.arr_delay), speed: speed(f.distance, f.air_time?),
                                     over: if f.air_time? > 0 { hundred_over(f.air_time?) } else { 0 } });
    out  = some    -> select(|f| row { carrier: f.carrier, flight: f.flight, origin: f.origin, time_hour: f.time_hour, tailnum: f.tailnum,
                                       gain: f.gain, speed: f.speed, over: f.over });
    out -> sink;
}

pipeline! {
    /// Rows that a filter with nulls drops, and rows where the column is null.
    pub fn nulls_only(flights: Source<Flight, Bounded>);
    out = flights -> filter(|f| f.dep_delay.is_none() || f.arr_delay.is_none())
                  -> select(|f| row { month: f.month, day: f.day, carrier: f.carrier, flight: f.flight, origin: f.origin,
                                      dep_delay: f.dep_delay, arr_delay: f.arr_delay, gain: gained(f.dep_delay, f.arr_delay) });
    out -> sink;
}

pipeline! {
    /// The worst delays in a total order.
    pub fn worst(flights: Source<Flight, Bounded>, top: u64);
    out = flights -> select(|f| row { dep_delay: f.dep_delay, carrier: f.carrier, flight: f.flight, origin: f.origin,
                                      time_hour: f.time_hour, dest: f.dest })
                  -> sort(desc(dep_delay), carrier, flight, origin, time_hour, dest) -> limit(top);
    out -> sink;
}

pipeline! {
    /// Nulls first, in a total order, all rows.
    pub fn nulls_sorted(flights: Source<Flight, Bounded>);
    out = flights -> filter(|f| f.month == 2)
                  -> select(|f| row { tailnum: f.tailnum, arr_delay: f.arr_delay, carrier: f.carrier, flight: f.flight, origin: f.origin,
                                      time_hour: f.time_hour, dest: f.dest })
                  -> sort(nulls_first(tailnum), nulls_first(desc(arr_delay)), carrier, flight, origin, time_hour, dest);
    out -> sink;
}

pipeline! {
    /// A left join with null keys on the left, and nulls among the right columns.
    pub fn planes_of(flights: Source<Flight, Bounded>, planes: Source<Plane, Bounded>);
    out = flights -> key_by(tailnum)
                  -> left_join(planes -> key_by(tailnum), |f, p| row {
                         carrier: f.carrier, flight: f.flight, origin: f.origin, time_hour: f.time_hour, dest: f.dest, tailnum: f.tailnum,
                         found: p.is_some(), year: p?.year, model: p?.model,
                     });
    out -> sink;
}

pipeline! {
    /// A left join with null keys on both sides.
    pub fn null_keys(flights: Source<Flight, Bounded>);
    tails = flights -> key_by(tailnum) -> aggregate(|_f| row { flown: count() });
    few   = flights -> filter(|f| f.month == 1 && f.day <= 10);
    out   = few     -> key_by(tailnum)
                    -> left_join(tails -> key_by(tailnum), |f, t| row {
                           carrier: f.carrier, flight: f.flight, origin: f.origin, time_hour: f.time_hour, dest: f.dest,
                           tailnum: f.tailnum, flown: t?.flown,
                       });
    out -> sink;
}

pipeline! {
    /// Many to many over a nullable key.
    pub fn same_plane(flights: Source<Flight, Bounded>);
    first  = flights -> filter(|f| f.month == 1 && f.day == 1);
    second = flights -> filter(|f| f.month == 1 && f.day == 2);
    out    = first   -> key_by(tailnum)
                     -> join(second -> key_by(tailnum), |a, b| row {
                            tailnum: a.tailnum, flight: a.flight, next_flight: b.flight, dest: a.dest, next_origin: b.origin,
                            hour: a.time_hour, next_hour: b.time_hour,
                        });
    out -> sink;
}

pipeline! {
    /// Windows of an hour.
    pub fn hourly(flights: Source<Flight>);
    out = flights -> key_by(origin) -> window(tumbling(1.hour()))
                  -> aggregate(|f| row { rows: count(), known: count(f.dep_delay), delay: mean(f.dep_delay), most: max(f.dep_delay) });
    out -> sink;
}

pipeline! {
    /// Windows of a week over windows of an hour, without a second key.
    pub fn weekly(flights: Source<Flight>);
    hours = flights -> key_by(origin, carrier) -> window(tumbling(1.hour())) -> aggregate(|f| row { rows: count(), miles: sum(f.distance) });
    out   = hours   -> key_by(carrier) -> window(tumbling(7.day()))
                    -> aggregate(|h| row { hours: count(), rows: sum(h.rows), miles: sum(h.miles), busiest: max(h.rows) });
    out -> sink;
}

pipeline! {
    /// Both of two streams.
    pub fn both(flights: Source<Flight, Bounded>);
    jfk  = flights -> filter(|f| f.origin == "JFK") -> select(|f| row Leg { carrier: f.carrier, miles: f.distance, air: f.air_time });
    long = flights -> filter(|f| f.distance > 2000) -> select(|f| row Leg { carrier: f.carrier, miles: f.distance, air: f.air_time });
    out  = jfk -> union(long) -> key_by(carrier) -> aggregate(|f| row { rows: count(), miles: sum(f.miles), air: mean(f.air) });
    out -> sink;
}

/// Whether an approximate count is within three standard errors of the exact one.
#[operator(total)]
fn about(near: u64, exact: u64) -> bool {
    (near as f64 - exact as f64).abs() <= exact as f64 * 0.049
}

pipeline! {
    /// Every other aggregate, the approximate ones against exact ones.
    pub fn measures(random: Source<Random, Bounded>);
    all = random -> key_by(k) -> aggregate(|r| row {
        names: count_distinct(r.name), xs: count_distinct(r.x), ds: count_distinct(r.d), var: var(r.n), var_pop: var_pop(r.d),
        stddev: stddev(r.n), stddev_pop: stddev_pop(r.n), q: quantile(r.n, 0.9), m: median(r.x), dq: quantile(r.d, 0.25),
        first_name: first(r.name), last_name: last(r.name), last_d: last(r.d), words: collect(r.name), ns: collect(r.n),
        any_b: any(r.b), all_b: all(r.b), high: any(r.x? > 690.0),
        near_ids: approx_count_distinct(r.id), ids: count_distinct(r.id),
        near: approx_quantile(r.x, 0.3), low: quantile(r.x, 0.29), above: quantile(r.x, 0.31)
    });
    out = all -> select(|r| row {
        k: r.k, names: r.names, xs: r.xs, ds: r.ds, var: r.var, var_pop: r.var_pop, stddev: r.stddev, stddev_pop: r.stddev_pop, q: r.q, m: r.m,
        dq: r.dq, first_name: r.first_name, last_name: r.last_name, last_d: r.last_d, words: r.words, ns: r.ns, any_b: r.any_b, all_b: r.all_b,
        high: r.high, about_names: about(r.near_ids, r.ids), near_q: r.near.is_none_or(|n| r.low.is_some_and(|l| l <= n) && r.above.is_some_and(|a| n <= a)),
    });
    out -> sink;
}

pipeline! {
    /// The same without a key.
    pub fn measures_all(random: Source<Random, Bounded>);
    all = random -> aggregate(|r| row {
        names: count_distinct(r.name), xs: count_distinct(r.x), ds: count_distinct(r.d), var: var(r.n), var_pop: var_pop(r.d),
        stddev: stddev(r.n), stddev_pop: stddev_pop(r.n), q: quantile(r.n, 0.9), m: median(r.x), dq: quantile(r.d, 0.25),
        first_name: first(r.name), last_name: last(r.name), last_d: last(r.d), words: collect(r.name), ns: collect(r.n),
        any_b: any(r.b), all_b: all(r.b), high: any(r.x? > 690.0),
        near_ids: approx_count_distinct(r.id), ids: count_distinct(r.id),
        near: approx_quantile(r.x, 0.3), low: quantile(r.x, 0.29), above: quantile(r.x, 0.31)
    });
    out = all -> select(|r| row {
        names: r.names, xs: r.xs, ds: r.ds, var: r.var, var_pop: r.var_pop, stddev: r.stddev, stddev_pop: r.stddev_pop, q: r.q, m: r.m,
        dq: r.dq, first_name: r.first_name, last_name: r.last_name, last_d: r.last_d, words: r.words, ns: r.ns, any_b: r.any_b, all_b: r.all_b,
        high: r.high, about_names: about(r.near_ids, r.ids), near_q: r.near? >= r.low? && r.near? <= r.above?,
    });
    out -> sink;
}

pipeline! {
    /// What depends on order, in source order.
    pub fn in_order(random: Source<Untimed, Bounded>);
    out = random -> key_by(k) -> aggregate(|r| row { first_id: first(r.id), last_name: last(r.name), xs: collect(r.x) });
    out -> sink;
}

pipeline! {
    /// Overlapping windows whose slide does not divide their size.
    pub fn hopping(random: Source<Random>);
    out = random -> key_by(k) -> window(hop(60.minute(), 25.minute()))
                 -> aggregate(|r| row {
                        rows: count(), total: sum(r.n), mean: mean(r.n), first_id: first(r.id), ids: collect(r.id), names: count_distinct(r.name),
                        middle: median(r.x), spread: stddev(r.n), most: max(r.d),
                    });
    out -> sink;
}

pipeline! {
    /// Overlapping windows of many panes.
    pub fn hopping_far(random: Source<Random>);
    out = random -> key_by(k) -> window(hop(120.minute(), 7.minute())) -> aggregate(|_r| row { rows: count() });
    out -> sink;
}

pipeline! {
    /// Rows with no pause of two minutes.
    pub fn pausing(random: Source<Random>);
    out = random -> key_by(k) -> window(session(2.minute()))
                 -> aggregate(|r| row {
                        rows: count(), total: sum(r.n), mean: mean(r.n), first_id: first(r.id), ids: collect(r.id), names: count_distinct(r.name),
                        middle: median(r.x), most: max(r.d),
                    });
    out -> sink;
}

fn main() -> Result<()> {
    sabot::main()
}
