//! Card fraud on a stream: three uses of a card within a minute, an amount far beyond what its owner spends, and two distant
//! cities within ten minutes. Each rule is a function with state per card, called in the order of event time.
//!
//! `cargo run --release --bin card_fraud` looks at a day of uses. With arguments it is the tool; the README shows how a stream is
//! killed and goes on: `-- run watch --per_second 20000 --checkpoint-dir state --sink alerts=csv:alerts/`.

use std::collections::{BTreeMap, VecDeque};

use sabot::prelude::*;
use sabot::stream::Generator;

/// Somebody pays.
#[derive(Record, Clone, Debug)]
pub(crate) struct Use {
    pub(crate) number: i64,
    pub(crate) card: i64,
    pub(crate) cents: i64,
    pub(crate) city: Str,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    #[event_time]
    pub(crate) at: Timestamp<Micros>,
}

/// Something to look into.
#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    pub(crate) number: i64,
    pub(crate) card: i64,
    pub(crate) city: Str,
    pub(crate) rule: Str,
    /// Uses within a minute, standard deviations, or kilometres.
    pub(crate) measure: f64,
    #[event_time]
    pub(crate) at: Timestamp<Micros>,
}

/// Uses within a minute that are too many.
const BURST: usize = 3;
/// Standard deviations beyond the mean that are too many, and how many uses it takes to know them.
const SIGMAS: f64 = 3.0;
const KNOWN: u64 = 10;
/// Kilometres within ten minutes that nobody travels.
const DISTANT: f64 = 300.0;

/// Distance over the globe in kilometres.
#[operator]
fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (dlat, dlon) = ((lat2 - lat1).to_radians(), (lon2 - lon1).to_radians());
    let a = (dlat / 2.0).sin().powi(2) + lat1.to_radians().cos() * lat2.to_radians().cos() * (dlon / 2.0).sin().powi(2);
    2.0 * 6371.0 * a.sqrt().asin()
}

/// When a card was used in the last minute.
#[derive(State, Default)]
struct Recent {
    times: VecDeque<Timestamp<Micros>>,
}

/// How often a card was used within a minute, if that is too often.
#[operator]
fn burst(recent: &mut Recent, at: Timestamp<Micros>) -> Option<f64> {
    recent.times.push_back(at);
    while recent.times.front().is_some_and(|t| at - *t > 1.minute()) {
        recent.times.pop_front();
    }
    (recent.times.len() >= BURST).then_some(recent.times.len() as f64)
}

/// What a card's owner spends: mean and squared deviations, as by Welford.
#[derive(State, Default)]
struct Habit {
    uses: u64,
    mean: f64,
    squares: f64,
}

/// By how many standard deviations an amount is beyond the card's earlier ones, if that is too many.
#[operator]
fn unusual(habit: &mut Habit, cents: i64) -> Option<f64> {
    let amount = cents as f64;
    let sigma = if habit.uses >= KNOWN { (habit.squares / (habit.uses - 1) as f64).sqrt() } else { 0.0 };
    let beyond = (amount - habit.mean) / sigma;
    habit.uses += 1;
    let step = amount - habit.mean;
    habit.mean += step / habit.uses as f64;
    habit.squares += step * (amount - habit.mean);
    (sigma > 0.0 && beyond > SIGMAS).then_some(beyond)
}

/// Where and when a card was used last.
#[derive(State, Default)]
struct Place {
    last: Option<(f64, f64, Timestamp<Micros>)>,
}

/// How far a card has come within ten minutes, if that is too far.
#[operator]
fn travel(place: &mut Place, lat: f64, lon: f64, at: Timestamp<Micros>) -> Option<f64> {
    let (lat1, lon1, before) = place.last.replace((lat, lon, at))?;
    let far = haversine(lat1, lon1, lat, lon);
    (at - before <= 10.minute() && far > DISTANT).then_some(far)
}

pipeline! {
    /// Uses that look like fraud, each with the rule that says so.
    pub fn fraud(uses: Source<Use>) -> Alert;

    bursts  = uses -> key_by(card) -> keyed(|u| row { measure: burst(u.at) })
                   -> select(|u| row Alert { number: u.number, card: u.card, city: u.city, rule: "burst", measure: u.measure, at: u.at });
    amounts = uses -> key_by(card) -> keyed(|u| row { measure: unusual(u.cents) })
                   -> select(|u| row Alert { number: u.number, card: u.card, city: u.city, rule: "amount", measure: u.measure, at: u.at });
    jumps   = uses -> key_by(card) -> keyed(|u| row { measure: travel(u.lat, u.lon, u.at) })
                   -> select(|u| row Alert { number: u.number, card: u.card, city: u.city, rule: "travel", measure: u.measure, at: u.at });
    alerts  = bursts -> union(amounts, jumps);
    alerts -> sink;
}

pipeline! {
    /// Watches an endless stream of made-up uses.
    pub fn watch(per_second: f64);

    uses   = source(Source::<Use>::from(uses().rows_per_second(per_second)));
    alerts = fraud(uses);
    alerts -> sink;
}

pipeline! {
    /// The same over the first so many of these uses, as a batch.
    pub fn review(first: u64);

    uses   = source(uses().rows(first));
    alerts = fraud(uses);
    alerts -> sink;
}

const CITIES: [(&str, f64, f64); 6] = [
    ("Berlin", 52.52, 13.40),
    ("Hamburg", 53.55, 9.99),
    ("Paris", 48.86, 2.35),
    ("Madrid", 40.42, -3.70),
    ("Warsaw", 52.23, 21.01),
    ("Rome", 41.90, 12.50),
];
const CARDS: u64 = 20_000;

/// Random bits of a number.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Ten uses per second of event time. A card stays in its city and spends what it always does, but for one use in two hundred: then it is
/// elsewhere, or ten times as much, or used twice more at once.
pub(crate) fn one_use(number: u64) -> Use {
    let bits = mix(number + 1);
    let strange = if bits.is_multiple_of(200) { bits >> 10 & 3 } else { 0 };
    // uses that follow a strange one of the third kind are of the same card
    let of = (number.saturating_sub(2)..number).find(|n| mix(n + 1).is_multiple_of(200) && mix(n + 1) >> 10 & 3 == 3).unwrap_or(number);
    let card = mix(of << 1) % CARDS;
    let home = mix(card << 20) % CITIES.len() as u64;
    let city = if strange == 1 { home + 1 + (bits >> 12) % (CITIES.len() as u64 - 1) } else { home };
    let (name, lat, lon) = CITIES.get((city % CITIES.len() as u64) as usize).copied().unwrap_or_default();
    let usual = 500 + (mix(card << 21) % 5000) as i64;
    let cents = usual + (bits >> 20) as i64 % usual / 2;
    let cents = if strange == 2 { cents * 10 } else { cents };
    let at = Timestamp::new(1_750_000_000_000_000 + number as i64 * 100_000);
    Use { number: number as i64, card: card as i64, cents, city: name.into(), lat, lon, at }
}

fn uses() -> Generator<Use> {
    generate(1, |_, number| one_use(number)).disorder(0.sec())
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let alerts: Vec<Alert> = review(864_000).collect()?;
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in &alerts {
        *rules.entry(&alert.rule).or_default() += 1;
    }
    println!("{} alerts of 864000 uses in a day: {rules:?}", alerts.len());
    Ok(())
}
