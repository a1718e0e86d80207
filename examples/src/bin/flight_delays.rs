//! A real job: on which routes do flights from New York lose most time in bad weather, and do old planes fare worse?
//!
//! All 336,776 departures of 2013 are joined with the weather of their hour and airport, with their plane (left: for
//! many tail numbers nothing is known, and some are null) and with the airline's name. Minutes lost are counted per 100
//! miles, so that long routes do not win by their length.
//!
//! `cargo run --release --bin flight_delays` prints the plan, the result and the time. With arguments it is the tool:
//! `cargo run --release --bin flight_delays -- run flight_delays --help`.

use std::time::Instant;

use sabot::prelude::*;
use sabot::runtime::Control;
use sabot_examples::nycflights13;

/// A departure from a New York airport.
#[derive(Record, Clone, Debug)]
struct Flight {
    carrier: Str,
    origin: Str,
    dest: Str,
    tailnum: Option<Str>,
    arr_delay: Option<i64>,
    distance: i64,
    time_hour: Timestamp<Micros>,
}

/// The weather at an airport in one hour.
#[derive(Record, Clone, Debug)]
struct Weather {
    origin: Str,
    time_hour: Timestamp<Micros>,
    visib: Option<f64>,
    wind_speed: Option<f64>,
    precip: Option<f64>,
}

/// An aircraft.
#[derive(Record, Clone, Debug)]
struct Plane {
    tailnum: Option<Str>,
    year: Option<i64>,
}

/// An airline.
#[derive(Record, Clone, Debug)]
struct Airline {
    carrier: Str,
    name: Str,
}

/// Weather in which flying is slow: fog, rain or storm. A missing measurement is no storm.
#[operator]
fn bad_weather(visib: f64, wind: Option<f64>, rain: Option<f64>) -> bool {
    visib < 3.0 || wind.unwrap_or(0.0) > 30.0 || rain.unwrap_or(0.0) > 0.1
}

/// `JetBlue Airways` is `JetBlue` to everybody: a slice of the name, no copy.
#[operator]
fn short_name(name: &str) -> &str {
    let end = [" Air Lines", " Airlines", " Airways", " Corporation", " Inc.", " Co."].iter().filter_map(|w| name.find(w)).min();
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

/// Origin and destination as one text.
#[operator]
fn route(origin: &str, dest: &str) -> String {
    format!("{origin}-{dest}")
}

/// How old a plane was in 2013, in classes.
#[operator]
fn age_class(built: Option<i64>) -> &'static str {
    match built.map(|year| 2013 - year) {
        None => "unknown",
        Some(..=5) => "0-5",
        Some(6..=15) => "6-15",
        Some(_) => "16+",
    }
}

/// Whether a flight came in later than its passengers forgive.
#[operator]
fn very_late(delay: i64) -> bool {
    delay >= 60
}

/// Minutes lost per 100 miles over many flights: the ratio of the sums, not the mean of ratios.
#[derive(State, Default)]
struct PerHundredMiles {
    minutes: i64,
    miles: i64,
}

#[operator]
impl PerHundredMiles {
    fn update(&mut self, delay: i64, distance: i64) {
        self.minutes += delay;
        self.miles += distance;
    }
    fn merge(&mut self, other: Self) {
        self.minutes += other.minutes;
        self.miles += other.miles;
    }
    fn finish(&self) -> Option<f64> {
        (self.miles > 0).then(|| self.minutes as f64 * 100.0 / self.miles as f64)
    }
}

/// The delay that nine of ten flights stay below (nearest rank).
#[derive(State, Default)]
struct NineOfTen {
    delays: Vec<i64>,
}

#[operator]
impl NineOfTen {
    fn update(&mut self, delay: i64) {
        self.delays.push(delay);
    }
    fn merge(&mut self, other: Self) {
        self.delays.extend(other.delays);
    }
    fn finish(&self) -> Option<i64> {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        delays.get((delays.len() * 9).div_ceil(10).checked_sub(1)?).copied()
    }
}

pipeline! {
    /// Minutes lost per 100 miles in bad weather, per airline, route and age of the plane; the worst first.
    pub fn flight_delays(
        flights: Source<Flight, Bounded>,
        weather: Source<Weather, Bounded>,
        planes: Source<Plane, Bounded>,
        airlines: Source<Airline, Bounded>,
        minimum_flights: u64,
        top: u64,
    );

    storms  = weather -> filter(|w| bad_weather(w.visib?, w.wind_speed, w.precip));
    slow    = flights -> filter(|f| f.arr_delay.is_some())
                      -> key_by(origin, time_hour)
                      -> join(storms -> key_by(origin, time_hour), |f, w| row {
                             carrier: f.carrier, route: route(f.origin, f.dest), tailnum: f.tailnum,
                             delay: f.arr_delay?, distance: f.distance, visib: w.visib,
                         });
    aged    = slow    -> key_by(tailnum)
                      -> left_join(planes -> key_by(tailnum), |f, p| row {
                             carrier: f.carrier, route: f.route, delay: f.delay, distance: f.distance, visib: f.visib,
                             age: age_class(p.and_then(|p| p.year)),
                         });
    named   = aged    -> key_by(carrier)
                      -> join(airlines -> key_by(carrier), |f, a| row {
                             airline: short_name(a.name), route: f.route, age: f.age,
                             delay: f.delay, distance: f.distance, visib: f.visib, late: very_late(f.delay?),
                         });
    worst   = named   -> key_by(airline, route, age)
                      -> with(|f| row { late_one: if f.late? { 1i64 } else { 0 } })
                      -> aggregate(|f| row {
                             flights: count(), lost: PerHundredMiles(f.delay?, f.distance), nine_of_ten: NineOfTen(f.delay?),
                             very_late: sum(f.late_one), visib: mean(f.visib),
                         })
                      -> filter(|r| r.flights >= minimum_flights)
                      -> sort(desc(lost), airline, route, age)
                      -> limit(top);
    worst -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let files = ["flights", "weather", "planes", "airlines"].map(nycflights13);
    let [flights, weather, planes, airlines] = &files;
    let job = flight_delays(parquet(flights), parquet(weather), parquet(planes), parquet(airlines), 20, 25);
    println!("{}", job.explain()?);
    let started = Instant::now();
    let (batches, report) = job.collect_with(&Control::new(), None, None)?;
    let took = started.elapsed();
    println!("Minutes lost per 100 miles in bad weather, at least 20 flights:\n\n{}", sabot::cli::table(&batches, None)?);
    let read: u64 = report.nodes.iter().filter(|n| n.name.ends_with("/source")).map(|n| n.account.rows_in).sum();
    println!("{read} rows read in {:.0} ms on {} threads", took.as_secs_f64() * 1000.0, report.workers.len());
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 25);
    Ok(())
}
