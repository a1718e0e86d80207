//! Rows that are near in time.

use super::*;

/// A row that stayed.
#[derive(Record, Clone, Debug, PartialEq)]
struct Stayed {
    id: i64,
    name: Str,
}
pipeline! {
    /// Every kind of join of rows that are near in time.
    pub fn kinds(lefts: Source<Event>, rights: Source<Event>, most: i64);
    inner = lefts -> key_by(key) -> interval_join(rights -> key_by(key), within = -4.sec()..=most.sec(), on = |l, r| l.amount != r.amount, |l, r| row Either { left: Some(l.id), right: Some(r.id) });
    left  = lefts -> key_by(key) -> left_join(rights -> key_by(key), ttl = most.sec(), |l, r| row Either { left: Some(l.id), right: r?.id });
    right = lefts -> key_by(key) -> right_join(rights -> key_by(key), within = 3.sec()..=9.sec(), |l, r| row Either { left: l?.id, right: Some(r.id) });
    full  = lefts -> key_by(key) -> full_join(rights -> key_by(key), within = -9.sec()..=-2.sec(), on = |l, r| l.amount < r.amount, |l, r| row Either { left: l?.id, right: r?.id });
    semi  = lefts -> key_by(key) -> semi_join(rights -> key_by(key), ttl = 1.sec()) -> select(|l| row Stayed { id: l.id, name: l.name });
    anti  = lefts -> key_by(key) -> anti_join(rights -> key_by(key), within = 0.sec()..=4.sec(), on = |l, r| l.amount <= r.amount) -> select(|l| row Stayed { id: l.id, name: l.name });
    all   = lefts -> interval_join(rights, within = 0.sec()..=0.sec(), |l, r| row Either { left: Some(l.id), right: Some(r.id) });
    inner -> sink;
    left -> sink;
    right -> sink;
    full -> sink;
    semi -> sink;
    anti -> sink;
    all -> sink;
}

fn check(s: &Setting, ran: &Ran, most: i64) -> usize {
    let ((lefts, late), (rights, more)) = (s.rows(0), s.rows(1));
    let within = |from: i64, to: i64| move |l: &Event, r: &Event| (from..=to).contains(&apart(l, r));
    let inner = model(&lefts, &rights, &|l, r| within(-4, most)(l, r) && l.amount != r.amount, (false, false));
    let mut pairs = s.same(ran, "inner", &inner);
    pairs += s.same(ran, "left", &model(&lefts, &rights, &within(-most, most), (true, false)));
    pairs += s.same(ran, "right", &model(&lefts, &rights, &within(3, 9), (false, true)));
    pairs += s.same(ran, "full", &model(&lefts, &rights, &|l, r| within(-9, -2)(l, r) && l.amount < r.amount, (true, true)));
    let stayed = |with: bool, fits: &dyn Fn(&Event, &Event) -> bool| -> Vec<Stayed> {
        let has = |l: &Event| rights.iter().any(|r| l.key.is_some() && l.key == r.key && fits(l, r));
        lefts.iter().filter(|l| has(l) == with).map(|l| Stayed { id: l.id, name: l.name.clone() }).collect()
    };
    pairs += s.same(ran, "semi", &stayed(true, &within(-1, 1)));
    pairs += s.same(ran, "anti", &stayed(false, &|l, r| within(0, 4)(l, r) && l.amount <= r.amount));
    let same_time =
        lefts.iter().flat_map(|l| rights.iter().filter(|r| apart(l, r) == 0).map(|r| Either { left: Some(l.id), right: Some(r.id) }));
    pairs += s.same(ran, "all", &same_time.collect::<Vec<_>>());
    assert_eq!(ran.late(), late + more, "seed {}: late rows are those of the sources", s.seed);
    pairs
}

#[test]
fn stopped_anywhere_equals_the_model() {
    let mut pairs = 0;
    for seed in 0..24 {
        let s = Setting::new(seed, 0x10ea);
        let most = [0, 3, 8][seed as usize % 3];
        let ran = s.stopped(kinds(s.source(0), s.source(1), most).optimise(seed % 2 == 0));
        pairs += check(&s, &ran, most);
    }
    assert!(pairs > 8_000, "the test shows something: {pairs} rows");
}

#[test]
fn a_side_may_end_before_the_other() {
    for seed in 0..10 {
        let s = Setting { ends: Some(20 + seed * 3), ..Setting::new(seed, 0xe4d) };
        let ran = s.stopped(kinds(s.source(0), s.source(1), 3));
        check(&s, &ran, 3);
    }
}

#[test]
fn rows_that_end_give_the_same() {
    for seed in 0..4 {
        let check = |s: &Setting, ran: &Ran| {
            check(s, ran, 5);
        };
        Setting::batches(seed, |s| kinds(s.source(0), s.source(1), 5), check);
    }
}

#[test]
fn a_crash_loses_and_repeats_nothing() {
    let mut restored = 0;
    for seed in 0..20 {
        let s = Setting { ends: (seed % 4 == 3).then_some(15 + seed * 2), ..Setting::new(seed, 0xc0de) };
        if let Some(ran) = s.crashed(|| kinds(s.source(0), s.source(1), 5)) {
            check(&s, &ran, 5);
            restored += 1;
        }
    }
    assert!(restored > 12, "{restored} of 20 had a complete checkpoint");
}

pipeline! {
    /// Windows behind joins, by the time of either side.
    pub fn chained(lefts: Source<Event>, rights: Source<Event>);
    by_left  = lefts -> key_by(key) -> interval_join(rights -> key_by(key), within = -3.sec()..=7.sec(), |l, r| row { at: l.ts, all: 0i64, amount: l.amount + r.amount })
                     -> event_time(at) -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|p| row { rows: count(), total: sum(p.amount) })
                     -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    by_right = lefts -> key_by(key) -> right_join(rights -> key_by(key), within = -8.sec()..=2.sec(), |l, r| row { at: r.ts, all: 0i64, amount: r.amount })
                     -> event_time(at) -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|p| row { rows: count(), total: sum(p.amount) })
                     -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    alone    = lefts -> key_by(key) -> anti_join(rights -> key_by(key), ttl = 6.sec()) -> with(|l| row { all: 0i64 })
                     -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|l| row { rows: count(), total: sum(l.amount) })
                     -> select(|w| row Window { window_start: w.window_start, rows: w.rows, total: w.total });
    by_left -> sink;
    by_right -> sink;
    alone -> sink;
}

fn check_chained(s: &Setting, ran: &Ran) {
    let ((lefts, late), (rights, more)) = (s.rows(0), s.rows(1));
    let (of_left, of_right) = (by_id(&lefts), by_id(&rights));
    let find = |rows: &BTreeMap<i64, Event>, id: Option<i64>| rows.get(&id?).cloned();
    let pairs = model(&lefts, &rights, &|l, r| (-3..=7).contains(&apart(l, r)), (false, false));
    let of = pairs.iter().filter_map(|p| find(&of_left, p.left).zip(find(&of_right, p.right)));
    s.same(ran, "by_left", &windows(of.map(|(l, r)| (l.ts.value(), l.amount + r.amount))));
    let pairs = model(&lefts, &rights, &|l, r| (-8..=2).contains(&apart(l, r)), (false, true));
    s.same(ran, "by_right", &windows(pairs.iter().filter_map(|p| find(&of_right, p.right)).map(|r| (r.ts.value(), r.amount))));
    let met = |l: &&Event| !rights.iter().any(|r| l.key.is_some() && l.key == r.key && apart(l, r).abs() <= 6);
    s.same(ran, "alone", &windows(lefts.iter().filter(met).map(|l| (l.ts.value(), l.amount))));
    assert_eq!(ran.late(), late + more, "seed {}: no window drops a row", s.seed);
}

/// Watermarks are held back so far that no row comes behind them.
#[test]
fn windows_behind_joins_lose_nothing() {
    for seed in 0..16 {
        let s = Setting::new(seed, 0xc4a1);
        check_chained(&s, &s.stopped(chained(s.source(0), s.source(1))));
    }
    for seed in 0..10 {
        let s = Setting::new(seed, 0xc4a2);
        if let Some(ran) = s.crashed(|| chained(s.source(0), s.source(1))) {
            check_chained(&s, &ran);
        }
    }
}

#[test]
fn explain_says_what_is_kept() {
    let s = Setting::new(1, 1);
    let text = kinds(s.source(0), s.source(1), 5).explain().unwrap();
    assert!(text.contains("keeps a left row until right time is 5 s past it, a right row until left time is 4 s past it"), "{text}");
    assert!(text.contains("keeps a left row until right time is 9 s past it, a right row until left time is 0 us past it"), "{text}");
    assert!(text.contains("keeps the rows of both sides that may still have partners"), "{text}");
}

pipeline! {
    /// Rows that wait for a long time.
    pub fn hoard(lefts: Source<Event>, rights: Source<Event>);
    waiting = lefts -> key_by(id) -> left_join(rights -> key_by(id), ttl = 1000.hour(), |l, r| row Either { left: Some(l.id), right: r?.id });
    waiting -> sink;
}

#[test]
fn over_the_budget_the_job_ends_and_names_the_step() {
    let s = Setting::new(1, 1);
    let job = hoard(s.source(0), s.source(1)).options(|o| o.memory_budget = Some(1 << 20));
    let error = Trial::new().morsel_rows(1000).seed(1).stop_at(100_000).run(job).unwrap_err();
    assert!(matches!(&error, sabot::Error::Memory { operator, .. } if operator == "hoard/waiting/left_join"), "{error}");
}

pipeline! {
    /// The time of a right side that was read to its end.
    pub fn behind(lefts: Source<Event>, rights: Source<Event, Bounded>);
    behind = lefts -> key_by(key) -> join(rights -> key_by(key), |l, r| row { at: r.ts, all: 0i64 })
                   -> event_time(at) -> key_by(all) -> window(tumbling(5.sec())) -> aggregate(|p| row { rows: count() });
    behind -> sink;
}

#[test]
fn a_time_that_is_behind_is_refused_at_start() {
    let s = Setting::new(1, 1);
    let rights = |n| (0..n).map(|row| event(1, 0, row)).collect::<Vec<_>>();
    let error = Trial::new().seed(1).stop_at(100).run(behind(s.source(0), rights(5))).unwrap_err().to_string();
    assert!(
        error.contains("`behind/behind/join` reads its right side to its end") && error.contains("the time of its left row"),
        "{error}"
    );
    Trial::new().run(behind(rights(7), rights(5))).unwrap();
}

pipeline! {
    /// A time that no source tells.
    pub fn untold(lefts: Source<Event>, rights: Source<Event>);
    pairs = lefts -> key_by(key) -> join(rights -> with(|r| row { later: r.ts + 1.sec() }) -> event_time(later) -> key_by(key), ttl = 5.sec(), |l, r| row { left: l.id, right: r.id });
    pairs -> sink;
}

#[test]
fn a_time_that_no_source_tells_is_refused_at_start() {
    let s = Setting::new(1, 1);
    let error = Trial::new().seed(1).stop_at(100).run(untold(s.source(0), s.source(1))).unwrap_err().to_string();
    assert!(error.contains("`untold/pairs/interval_join` takes the time of its right side from `later`, which is computed"), "{error}");
}
