//! Rows with the right row that is nearest in time.

use super::*;

pipeline! {
    /// As-of joins of streams in each direction.
    pub fn looked_up(lefts: Source<Event>, rights: Source<Event>, most: i64);
    table    = lefts -> key_by(key) -> asof_join(rights -> key_by(key), |l, r| row Either { left: Some(l.id), right: r?.id });
    recent   = lefts -> key_by(key, name) -> asof_join(rights -> key_by(key, name), tolerance = most.sec(), |l, r| row Either { left: Some(l.id), right: r?.id });
    ahead    = lefts -> key_by(key) -> asof_join(rights -> filter(|r| r.amount > 6) -> key_by(key), direction = forward, tolerance = 7.sec(), |l, r| row Either { left: Some(l.id), right: r?.id });
    nearest  = lefts -> asof_join(rights -> filter(|r| r.amount > 6), direction = nearest, tolerance = most.sec(), |l, r| row Either { left: Some(l.id), right: r?.id });
    windows  = lefts -> key_by(key) -> asof_join(rights -> key_by(key), |l, r| row { at: l.ts, all: 0i64, amount: l.amount, other: r?.amount })
                     -> event_time(at) -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|p| row { rows: count(), total: sum(p.amount) })
                     -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    table -> sink;
    recent -> sink;
    ahead -> sink;
    nearest -> sink;
    windows -> sink;
}

fn check(s: &Setting, ran: &Ran, most: i64) -> usize {
    let ((lefts, late), (rights, more)) = (s.rows(0), s.rows(1));
    // of equal time, the last in source order, or the first: by partition, then by row, as ids go
    let back = |l: &Event, all: &[&Event]| {
        all.iter().filter(|r| r.ts <= l.ts).max_by_key(|r| (r.ts, r.id)).map(|r| (l.ts.value() - r.ts.value(), r.id))
    };
    let ahead = |l: &Event, all: &[&Event]| {
        all.iter().filter(|r| r.ts >= l.ts).min_by_key(|r| (r.ts, r.id)).map(|r| (r.ts.value() - l.ts.value(), r.id))
    };
    let one = |fits: &dyn Fn(&Event, &Event) -> bool, best: &dyn Fn(&Event, &[&Event]) -> Option<(i64, i64)>| -> Vec<Either> {
        let partner = |l: &Event| best(l, &rights.iter().filter(|r| fits(l, r)).collect::<Vec<_>>());
        lefts.iter().map(|l| Either { left: Some(l.id), right: partner(l).map(|(_, id)| id) }).collect()
    };
    let same = |l: &Event, r: &Event| l.key.is_some() && l.key == r.key;
    let near = |most: i64| move |found: &(i64, i64)| found.0 <= most * SECOND;
    let mut found = s.same(ran, "table", &one(&same, &back));
    found += s.same(ran, "recent", &one(&|l, r| same(l, r) && l.name == r.name, &|l, all| back(l, all).filter(near(most))));
    found += s.same(ran, "ahead", &one(&|l, r| same(l, r) && r.amount > 6, &|l, all| ahead(l, all).filter(near(7))));
    let either = |l: &Event, all: &[&Event]| back(l, all).into_iter().chain(ahead(l, all)).min_by_key(|found| found.0).filter(near(most));
    found += s.same(ran, "nearest", &one(&|_, r| r.amount > 6, &either));
    s.same(ran, "windows", &windows(lefts.iter().map(|l| (l.ts.value(), l.amount))));
    assert_eq!(ran.late(), late + more, "seed {}", s.seed);
    found
}

#[test]
fn stopped_anywhere_equals_the_model() {
    let mut found = 0;
    for seed in 0..24 {
        let s = Setting::new(seed, 0xa50f);
        let most = [0, 2, 9][seed as usize % 3];
        found += check(&s, &s.stopped(looked_up(s.source(0), s.source(1), most).optimise(seed % 2 == 0)), most);
    }
    assert!(found > 4_000, "the test shows something: {found} rows");
    for seed in 0..8 {
        let s = Setting { ends: Some(20 + seed * 5), ..Setting::new(seed, 0xa510) };
        check(&s, &s.stopped(looked_up(s.source(0), s.source(1), 3)), 3);
    }
}

#[test]
fn rows_that_end_give_the_same() {
    for seed in 0..4 {
        let check = |s: &Setting, ran: &Ran| {
            check(s, ran, 3);
        };
        Setting::batches(seed, |s| looked_up(s.source(0), s.source(1), 3), check);
    }
}

#[test]
fn a_crash_loses_and_repeats_nothing() {
    let mut restored = 0;
    for seed in 0..20 {
        let s = Setting::new(seed, 0xa511);
        if let Some(ran) = s.crashed(|| looked_up(s.source(0), s.source(1), 4)) {
            check(&s, &ran, 4);
            restored += 1;
        }
    }
    assert!(restored > 12, "{restored} of 20 had a complete checkpoint");
}
