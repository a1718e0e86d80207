//! Rows in the same window.

use super::*;

/// A pair in a window.
#[derive(Record, Clone, Debug, PartialEq)]
struct Pair {
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    left: Option<i64>,
    right: Option<i64>,
}

/// A row that stayed.
#[derive(Record, Clone, Debug, PartialEq)]
struct Left {
    id: i64,
}

pipeline! {
    /// Every kind of join of windows.
    pub fn windowed(lefts: Source<Event>, rights: Source<Event>);
    l = lefts -> key_by(key) -> window(tumbling(4.sec()));
    r = rights -> key_by(key) -> window(tumbling(4.sec()));
    inner = l -> join(r, |l, r| row { left: l.id, right: r.id })
              -> select(|p| row Pair { window_start: p.window_start, window_end: p.window_end, left: Some(p.left), right: Some(p.right) });
    left  = l -> left_join(r, on = |l, r| l.amount > r.amount, |l, r, w| row Pair { window_start: w.window_start, window_end: w.window_end, left: Some(l.id), right: r?.id });
    full  = lefts -> key_by(key) -> window(hop(6.sec(), 4.sec()))
                  -> full_join(rights -> key_by(key) -> window(hop(6.sec(), 4.sec())), |l, r, w| row Pair { window_start: w.window_start, window_end: w.window_end, left: l?.id, right: r?.id });
    semi  = l -> semi_join(r) -> select(|l| row Left { id: l.id });
    anti  = l -> anti_join(r) -> select(|l| row Left { id: l.id });
    inner -> sink;
    left -> sink;
    full -> sink;
    semi -> sink;
    anti -> sink;
}

/// The pairs of all windows, as a naive model makes them.
fn in_windows(
    lefts: &[Event],
    rights: &[Event],
    (size, slide): (i64, i64),
    fits: &dyn Fn(&Event, &Event) -> bool,
    keeps: (bool, bool),
) -> Vec<Pair> {
    let starts = |e: &Event| {
        let last = e.ts.value().div_euclid(slide * SECOND) * slide;
        (0..).map(move |n| last - n * slide).take_while(move |s| (s + size) * SECOND > last * SECOND)
    };
    let belongs = |e: &Event, start: i64| (start * SECOND..(start + size) * SECOND).contains(&e.ts.value());
    let all: std::collections::BTreeSet<i64> = lefts.iter().chain(rights).flat_map(starts).collect();
    let mut out = Vec::new();
    for start in all {
        let of = |rows: &[Event]| -> Vec<Event> { rows.iter().filter(|e| belongs(e, start)).cloned().collect() };
        let pairs = model(&of(lefts), &of(rights), fits, keeps);
        let (window_start, window_end) = (Timestamp::new(start * SECOND), Timestamp::new((start + size) * SECOND));
        out.extend(pairs.into_iter().map(|p| Pair { window_start, window_end, left: p.left, right: p.right }));
    }
    out
}

fn check(s: &Setting, ran: &Ran) -> usize {
    let ((lefts, late), (rights, more)) = (s.rows(0), s.rows(1));
    let mut pairs = s.same(ran, "inner", &in_windows(&lefts, &rights, (4, 4), &|_, _| true, (false, false)));
    pairs += s.same(ran, "left", &in_windows(&lefts, &rights, (4, 4), &|l, r| l.amount > r.amount, (true, false)));
    pairs += s.same(ran, "full", &in_windows(&lefts, &rights, (6, 4), &|_, _| true, (true, true)));
    let window = |e: &Event| e.ts.value().div_euclid(4 * SECOND);
    let with: std::collections::BTreeSet<(i64, i64)> = rights.iter().filter_map(|r| Some((r.key?, window(r)))).collect();
    let stays = |met: bool| -> Vec<Left> {
        let has = |l: &Event| l.key.is_some_and(|k| with.contains(&(k, window(l))));
        lefts.iter().filter(|l| has(l) == met).map(|l| Left { id: l.id }).collect()
    };
    pairs += s.same(ran, "semi", &stays(true));
    pairs += s.same(ran, "anti", &stays(false));
    assert_eq!(ran.late(), late + more, "seed {}", s.seed);
    pairs
}

#[test]
fn stopped_anywhere_equals_the_model() {
    let mut pairs = 0;
    for seed in 0..24 {
        let s = Setting::new(seed, 0x3177);
        pairs += check(&s, &s.stopped(windowed(s.source(0), s.source(1)).optimise(seed % 2 == 0)));
    }
    assert!(pairs > 4_000, "the test shows something: {pairs} rows");
    for seed in 0..8 {
        let s = Setting { ends: Some(20 + seed * 5), ..Setting::new(seed, 0x3178) };
        check(&s, &s.stopped(windowed(s.source(0), s.source(1))));
    }
}

#[test]
fn rows_that_end_give_the_same() {
    for seed in 0..4 {
        let check = |s: &Setting, ran: &Ran| {
            check(s, ran);
        };
        Setting::batches(seed, |s| windowed(s.source(0), s.source(1)), check);
    }
}

#[test]
fn a_crash_loses_and_repeats_nothing() {
    let mut restored = 0;
    for seed in 0..20 {
        let s = Setting::new(seed, 0x3179);
        if let Some(ran) = s.crashed(|| windowed(s.source(0), s.source(1))) {
            check(&s, &ran);
            restored += 1;
        }
    }
    assert!(restored > 12, "{restored} of 20 had a complete checkpoint");
}

pipeline! {
    /// Windows behind joins of windows: of the same length by their end, longer ones, and by the time of the rows.
    pub fn chained(lefts: Source<Event>, rights: Source<Event>);
    pairs = lefts -> key_by(key) -> window(tumbling(5.sec())) -> join(rights -> key_by(key) -> window(tumbling(5.sec())), |l, r| row { all: 0i64, amount: l.amount + r.amount });
    again = pairs -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|p| row { rows: count(), total: sum(p.amount) })
                  -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    stays = lefts -> key_by(key) -> window(tumbling(10.sec())) -> semi_join(rights -> key_by(key) -> window(tumbling(10.sec()))) -> with(|l| row { all: 0i64 })
                  -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|l| row { rows: count(), total: sum(l.amount) })
                  -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    times = lefts -> key_by(key) -> window(hop(9.sec(), 3.sec())) -> join(rights -> key_by(key) -> window(hop(9.sec(), 3.sec())), |l, r, w| row { at: r.ts, all: 0i64, amount: l.amount })
                  -> event_time(at) -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|p| row { rows: count(), total: sum(p.amount) })
                  -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    again -> sink;
    stays -> sink;
    times -> sink;
}

#[test]
fn windows_behind_joins_lose_nothing() {
    let check = |s: &Setting, ran: &Ran| {
        let ((lefts, late), (rights, more)) = (s.rows(0), s.rows(1));
        let (of_left, of_right) = (by_id(&lefts), by_id(&rights));
        let of = |p: &Pair| Some((of_left.get(&p.left?)?, of_right.get(&p.right?)?));
        let pairs = in_windows(&lefts, &rights, (5, 5), &|_, _| true, (false, false));
        let ends = pairs.iter().filter_map(|p| Some((p.window_end.value() - 1, of(p)?.0.amount + of(p)?.1.amount)));
        s.same(ran, "again", &windows(ends));
        let ten = |e: &Event| e.ts.value().div_euclid(10 * SECOND);
        let with: std::collections::BTreeSet<(i64, i64)> = rights.iter().filter_map(|r| Some((r.key?, ten(r)))).collect();
        let met = lefts.iter().filter(|l| l.key.is_some_and(|k| with.contains(&(k, ten(l)))));
        s.same(ran, "stays", &windows(met.map(|l| (l.ts.value(), l.amount))));
        let pairs = in_windows(&lefts, &rights, (9, 3), &|_, _| true, (false, false));
        s.same(ran, "times", &windows(pairs.iter().filter_map(|p| Some((of(p)?.1.ts.value(), of(p)?.0.amount)))));
        assert_eq!(ran.late(), late + more, "seed {}: no window drops a row", s.seed);
    };
    for seed in 0..14 {
        let s = Setting::new(seed, 0x3180);
        check(&s, &s.stopped(chained(s.source(0), s.source(1))));
    }
    for seed in 0..8 {
        let s = Setting::new(seed, 0x3181);
        if let Some(ran) = s.crashed(|| chained(s.source(0), s.source(1))) {
            check(&s, &ran);
        }
    }
}

pipeline! {
    /// Windows that differ.
    pub fn unequal(lefts: Source<Event>, rights: Source<Event>);
    pairs = lefts -> key_by(key) -> window(tumbling(4.sec())) -> join(rights -> key_by(key) -> window(tumbling(5.sec())), |l, r| row { left: l.id });
    pairs -> sink;
}
pipeline! {
    /// Sessions.
    pub fn sessions(lefts: Source<Event>, rights: Source<Event>);
    pairs = lefts -> key_by(key) -> window(session(4.sec())) -> join(rights -> key_by(key) -> window(session(4.sec())), |l, r| row { left: l.id });
    pairs -> sink;
}
pipeline! {
    /// Overlapping windows.
    pub fn overlapping(lefts: Source<Event>, rights: Source<Event>);
    stays = lefts -> key_by(key) -> window(hop(4.sec(), 2.sec())) -> semi_join(rights -> key_by(key) -> window(hop(4.sec(), 2.sec())));
    stays -> sink;
}

#[test]
fn windows_that_cannot_be_joined_are_refused_at_start() {
    let rows = || (0..3).map(|row| event(0, 0, row)).collect::<Vec<_>>();
    let says = |job: Job| Trial::new().run(job).unwrap_err().to_string();
    let error = says(unequal(rows(), rows()));
    assert!(error.contains("`pairs` joins rows of different windows, tumbling 4 s and tumbling 5 s"), "{error}");
    let error = says(sessions(rows(), rows()));
    assert!(error.contains("`pairs` joins rows of sessions"), "{error}");
    let error = says(overlapping(rows(), rows()));
    assert!(error.contains("`stays` keeps left rows by what is in their window, but windows overlap"), "{error}");
}
