//! Sessions on a stream.

use super::*;

/// What a sensor said without a pause.
#[derive(Record, Clone, Debug, PartialEq)]
struct Talk {
    sensor: i64,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    total: f64,
    rows: u64,
    values: List<f64>,
}

pipeline! {
    /// Readings with no pause of ten seconds.
    pub fn talks(readings: Source<Reading>, above: f64);
    talks = readings -> filter(|r| r.value >= above)
                     -> key_by(sensor) -> window(session(10.sec()))
                     -> aggregate(|r| row { total: sum(r.value), rows: count(), values: collect(r.value) });
    talks -> sink;
}

/// Talks of a minute.
#[derive(Record, Clone, Debug, PartialEq)]
struct Talks {
    sensor: i64,
    window_start: Timestamp<Micros>,
    talks: u64,
    rows: u64,
}

pipeline! {
    /// Windows of sessions.
    pub fn talks_of_minutes(readings: Source<Reading>);
    minutes = readings -> key_by(sensor) -> window(session(10.sec())) -> aggregate(|_r| row { rows: count() })
                       -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|t| row { talks: count(), rows: sum(t.rows) });
    minutes -> sink;
}

fn equal(seed: u64, ran: &Ran, consumed: &Consumed, disorder: i64) -> (u64, usize) {
    let (rows, late) = rows_of(consumed, disorder);
    let batch: Vec<Talk> = talks(rows, 3000.0).sequential().collect().unwrap();
    // rows of equal time in two partitions have no order on a stream
    let sorted = |rows: Vec<Talk>| -> Vec<Talk> {
        let by_value = |t: Talk| {
            let mut values: Vec<f64> = t.values.iter().copied().collect();
            values.sort_by(f64::total_cmp);
            Talk { values: values.into_iter().collect(), ..t }
        };
        rows.into_iter().map(by_value).collect()
    };
    let stream = sorted(ran.rows("talks").unwrap());
    same_rows(&stream, &sorted(batch), 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    assert_eq!(ran.late(), late, "seed {seed}");
    (late, stream.len())
}

#[test]
fn sessions_stopped_anywhere_equal_batch() {
    let (mut late, mut sessions) = (0, 0);
    for seed in 0..60u64 {
        let random = mix(seed ^ 0x5e55);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let disorder = (random >> 16) as i64 % 6;
        let (stop, morsel) = (100 + (random >> 24) % 1200, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed).stop_at(stop);
        let ran = trial.run(talks(source(partitions, disorder, &consumed), 3000.0)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let (l, s) = equal(seed, &ran, &consumed, disorder);
        late += l;
        sessions += s;
    }
    assert!(late > 300 && sessions > 500, "the test shows something: {late} late rows, {sessions} sessions");
}

#[test]
fn sessions_lose_and_repeat_nothing_in_a_crash() {
    let mut restored = 0;
    for seed in 0..60u64 {
        let random = mix(seed ^ 0xdead);
        let partitions = 1 + (random >> 8) as u32 % 3;
        let disorder = (random >> 16) as i64 % 6;
        let morsel = [1, 7, 50][(random >> 40) as usize % 3];
        let crash = 300 + (random >> 24) % 700;
        let consumed = Consumed::default();
        let job = || talks(source(partitions, disorder, &consumed), 3000.0);
        let first = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed).crash_at(crash);
        let ran = first.snapshot_at(crash / 3).snapshot_at(crash / 2).snapshot_at(crash * 2 / 3).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        restored += u64::from(ran.checkpoint.is_some());
        let again = Trial::new().threads(1 + (random >> 4) as usize % 4).morsel_rows(13).seed(seed + 1000).stop_at(200 + seed * 4);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        equal(seed, &ran, &consumed, disorder);
    }
    assert!(restored > 45, "{restored} of 60 had a complete checkpoint");
}

#[test]
fn windows_of_sessions() {
    for seed in 0..20u64 {
        let consumed = Consumed::default();
        let trial = Trial::new().threads(1 + seed as usize % 4).morsel_rows(40).seed(seed).stop_at(1000 + seed * 50);
        let ran = trial.run(talks_of_minutes(source(1 + seed as u32 % 3, 4, &consumed))).unwrap();
        let (rows, late) = rows_of(&consumed, 4);
        let batch: Vec<Talks> = talks_of_minutes(rows).sequential().collect().unwrap();
        same_rows(&ran.rows::<Talks>("minutes").unwrap(), &batch, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(ran.late(), late, "seed {seed}: late at the source, and no session behind a watermark");
    }
}
