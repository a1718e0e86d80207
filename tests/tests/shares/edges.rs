//! The edges that a pipeline places itself, `partition_by` and `rebalance`: results are those without them, row by row, on any number of threads and
//! processes, whoever dies, and however many go on.

use sabot::prelude::*;
use sabot::record::Col;
use sabot::stream::{Bound, Job, Records, numbers};
use sabot::testing::{Ran, Trial, splits};

#[derive(Record, Clone, Debug, PartialEq)]
struct Item {
    id: i64,
    shard: i32,
    key: Option<i64>,
    amount: i64,
    value: f64,
    text: Str,
}

fn items(n: i64) -> Vec<Item> {
    let item = |id: i64| Item {
        id,
        shard: (id * 7 % 11 - 5) as i32,
        key: (id % 6 > 0).then_some(id * 5 % 4),
        amount: id * 37 % 23,
        value: 1.0 / (1 + id * 13 % 97) as f64,
        text: format!("a text of row {}", id % 9).into(),
    };
    (0..n).map(item).collect()
}

/// No edge, one of the user's numbers, an even one, and several.
const WAYS: i64 = 4;
fn dealt<B: Bound>(items: Records<'_, Item, B>, way: i64) -> Records<'_, Item, B> {
    let shard = |c: &ItemCols| numbers(Col::clone(&c.shard));
    match way {
        0 => items,
        1 => items.partition_by(shard),
        2 => items.rebalance(),
        _ => items.rebalance().partition_by(shard).rebalance(),
    }
}

/// How far values are from the first of their batch.
#[operator(batch)]
fn twofold(items: &Batch<Item>) -> arrow_array::Int64Array {
    items.amount().values().iter().map(|a| a * 2).collect()
}
/// Refuses some.
#[operator]
fn checked(amount: i64) -> Result<i64, String> {
    if amount % 5 == 3 { Err(format!("{amount} is refused")) } else { Ok(amount) }
}
/// What a key has seen.
#[derive(State, Default)]
struct Seen {
    before: i64,
}
/// A number that tells all rows of a key before it and their order.
#[operator]
fn history(seen: &mut Seen, id: i64) -> Option<i64> {
    seen.before = (seen.before * 31 + id + 1) % 1_000_003;
    Some(seen.before)
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Out {
    id: i64,
    made: i64,
    text: Str,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Bad {
    id: i64,
    error: Str,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Sums {
    key: Option<i64>,
    total: Option<f64>,
    mean: Option<f64>,
    first: Option<i64>,
    all: Option<List<i64>>,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct All {
    total: Option<f64>,
    all: Option<List<i64>>,
}

pipeline! {
    /// Steps that look at one row after the other.
    pub fn row_wise(items: Source<Item, Bounded>, way: i64);
    here        = items -> filter(|i| i.id % 7 != 2) -> apply(|s| dealt(s, way));
    (good, bad) = here -> batch(twofold) -> filter(|i| i.twofold? % 3 != 1) -> with(|i| row { ok: checked(i.amount) }) -> dead_letter();
    out         = good -> select(|i| row Out { id: i.id, made: i.twofold.unwrap_or(0) + i.ok, text: i.text });
    letters     = bad -> select(|b| row Bad { id: b.id, error: b.error });
    many        = here -> flat_map(|i| { let (id, n) = (i.id, i.amount % 4); (0..n).map(move |k| Number { n: id * 10 + k }) });
    out -> sink;
    letters -> sink;
    many -> sink;
}
pipeline! {
    /// Steps that tell the order of their rows.
    pub fn ordered(items: Source<Item, Bounded>, more: Source<Item, Bounded>, way: i64);
    here     = items -> apply(|s| dealt(s, way)) -> filter(|i| i.id % 7 != 2);
    sums     = here -> key_by(key) -> aggregate(|i| row { total: sum(i.value), mean: mean(i.value), first: first(i.id), all: collect(i.id) });
    whole    = here -> aggregate(|i| row { total: sum(i.value), all: collect(i.id) });
    sorted   = here -> sort(desc(amount)) -> select(|i| row Number { n: i.id });
    firsts   = here -> limit(17) -> select(|i| row Number { n: i.id });
    best     = here -> top(5, amount) -> select(|i| row Number { n: i.id });
    kinds    = here -> distinct(amount) -> select(|i| row Number { n: i.id });
    told     = here -> key_by(key) -> keyed(|i| row { history: history(i.id) }) -> select(|i| row Number { n: i.history });
    joined   = here -> key_by(amount) -> join(more -> key_by(amount), |l, r| row Number { n: l.id * 1000 + r.id });
    both     = here -> union(more -> apply(|s| dealt(s, way))) -> aggregate(|i| row { total: sum(i.value), all: collect(i.id) });
    sums -> sink;
    whole -> sink;
    sorted -> sink;
    firsts -> sink;
    best -> sink;
    kinds -> sink;
    told -> sink;
    joined -> sink;
    both -> sink;
}
pipeline! {
    /// Edges behind steps that put rows into an order of their own.
    pub fn behind(items: Source<Item, Bounded>, way: i64);
    sorted   = items -> sort(desc(amount)) -> apply(|s| dealt(s, way)) -> filter(|i| i.id % 5 != 0);
    low      = items -> filter(|i| i.amount < 15);
    branches = low -> union(items -> filter(|i| i.amount > 7)) -> sample(0.9) -> apply(|s| dealt(s, way)) -> filter(|i| i.id % 5 != 0);
    grouped  = items -> key_by(amount) -> aggregate(|i| row { id: min(i.id), value: sum(i.value) })
                     -> select(|g| row Item { id: g.id, shard: g.amount as i32, key: Some(g.id), amount: g.amount, value: g.value, text: "" })
                     -> apply(|s| dealt(s, way));
    sorts    = sorted -> select(|i| row Number { n: i.id });
    few      = branches -> select(|i| row Number { n: i.id });
    groups   = grouped -> select(|i| row Number { n: i.id });
    total    = sorted -> aggregate(|i| row { total: sum(i.value), all: collect(i.id) });
    sums     = grouped -> aggregate(|i| row { total: sum(i.value), all: collect(i.id) });
    sorts -> sink;
    few -> sink;
    groups -> sink;
    total -> sink;
    sums -> sink;
}

/// All rows of all sinks, as text, in order.
fn shown(ran: &Ran) -> Vec<(String, String)> {
    let text = |batches: &[arrow_array::RecordBatch]| -> String {
        let rows: Vec<String> = batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| line(b, row))).collect();
        rows.join("\n")
    };
    ran.sinks().map(|(name, batches)| (name.to_owned(), text(batches))).collect()
}
fn line(batch: &arrow_array::RecordBatch, row: usize) -> String {
    let cells = batch.columns().iter().map(|c| arrow_cast::display::array_value_to_string(c, row).unwrap());
    cells.collect::<Vec<_>>().join(" | ")
}
fn same(one: &[(String, String)], other: &[(String, String)], what: &str) {
    assert_eq!(one.len(), other.len());
    for ((name, one), (_, other)) in one.iter().zip(other) {
        assert_eq!(one, other, "sink {name}, {what}");
    }
}

type Make = fn(i64) -> Job;
const JOBS: [(&str, Make); 3] = [
    ("row_wise", |way| row_wise(splits(&items(160), 37), way)),
    ("ordered", |way| ordered(splits(&items(160), 37), splits(&items(40), 9), way)),
    ("behind", |way| behind(splits(&items(160), 37), way)),
];

#[test]
fn edges_change_nothing() {
    for (name, job) in JOBS {
        for (seed, threads) in [(None, 1), (None, 3), (Some(1), 2), (Some(2), 3), (Some(3), 8), (Some(4), 3)] {
            let trial = || {
                let trial = Trial::new().threads(threads).morsel_rows(5);
                seed.map_or(trial.clone(), |seed| trial.clone().seed(seed))
            };
            let plain = shown(&trial().run(job(0)).unwrap());
            for way in 1..WAYS {
                let what = format!("{name}, way {way}, {threads} threads, seed {seed:?}");
                let ran = trial().run(job(way)).unwrap_or_else(|e| panic!("{what}: {e}"));
                same(&shown(&ran), &plain, &what);
            }
        }
    }
}

#[test]
fn edges_change_nothing_in_any_number_of_processes() {
    for (name, job) in JOBS {
        for seed in 0..9u64 {
            let (shares, threads) = (1 + seed as usize % 3, [1, 2, 3, 8][seed as usize % 4]);
            let trial = || Trial::new().threads(threads).morsel_rows(5).seed(seed).shares(shares);
            let plain = shown(&trial().run(job(0)).unwrap());
            let way = 1 + seed as i64 % (WAYS - 1);
            let what = format!("{name}, way {way}, {threads} threads, {shares} shares, seed {seed}");
            let ran = trial().run(job(way)).unwrap_or_else(|e| panic!("{what}: {e}"));
            same(&shown(&ran), &plain, &what);
        }
    }
}

/// The same without the order of sinks whose order depends on the number of threads anyway.
fn comparable(ran: &Ran) -> Vec<(String, String)> {
    let sorted = |text: String| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let any = |name: &str| ["told", "joined"].contains(&name);
    shown(ran).into_iter().map(|(name, text)| if any(&name) { (name, sorted(text)) } else { (name, text) }).collect()
}

#[test]
fn edges_change_nothing_where_a_job_goes_on_with_other_instances() {
    let mut restored = 0;
    for (name, job) in JOBS {
        let plain = comparable(&Trial::new().morsel_rows(5).seed(0).snapshot_at(1).run(job(0)).unwrap());
        for seed in 0..24u64 {
            let way = 1 + seed as i64 % (WAYS - 1);
            let mut from = None;
            for attempt in 0.. {
                // more threads, fewer, one; one process, and several; the last to the end
                let threads = [1, 3, 2, 8][(seed / 3 + attempt) as usize % 4];
                let shares = 1 + (seed / 12 + attempt) as usize % 3;
                let what = format!("{name}, way {way}, seed {seed}, attempt {attempt}: {threads} threads, {shares} shares");
                let mut trial = Trial::new().threads(threads).morsel_rows(5).seed(seed * 10 + attempt).from(from.take());
                if shares > 1 {
                    trial = trial.shares(shares);
                }
                if attempt < 2 {
                    // how long it would be, but for the checkpoint
                    let steps = trial.clone().run(job(way)).unwrap_or_else(|e| panic!("{what}: {e}")).steps;
                    trial = trial.snapshot_at(steps * (1 + seed % 5) / 8).crash_at(steps * 19 / 20);
                }
                let ran = trial.run(job(way)).unwrap_or_else(|e| panic!("{what}: {e}"));
                if ran.crashed() {
                    restored += usize::from(ran.checkpoint.is_some());
                    from = ran.checkpoint;
                    continue;
                }
                same(&comparable(&ran), &plain, &what);
                break;
            }
        }
    }
    assert!(restored > 60, "{restored} continued");
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Line {
    id: i64,
    made: i64,
}
pipeline! {
    /// Rows, and sums of floats, in files.
    pub fn filed(items: Source<Item, Bounded>, way: i64);
    here  = items -> apply(|s| dealt(s, way)) -> batch(twofold) -> filter(|i| i.id % 7 != 2);
    lines = here -> select(|i| row Line { id: i.id, made: i.twofold.unwrap_or(0) });
    sums  = here -> key_by(amount) -> aggregate(|i| row { total: sum(i.value), first: first(i.id) });
    lines -> sink;
    sums -> sink;
}

/// The lines of all files that are shown, part by part.
fn filed_lines(dir: &std::path::Path) -> Vec<String> {
    let shown = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut parts: Vec<_> = shown.filter(|p| !p.file_name().unwrap().to_string_lossy().starts_with('.')).collect();
    parts.sort();
    let text = parts.iter().map(|p| std::fs::read_to_string(p).unwrap());
    text.flat_map(|t| t.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn files_are_as_without_edges_however_often_all_processes_die() {
    let job = |dir: &std::path::Path, way| {
        let to_dir = |name: &str| to(&format!("csv:{}/", dir.join(name).display()));
        filed(splits(&items(200), 33), way).sink("lines", to_dir("lines")).sink("sums", to_dir("sums"))
    };
    let plain = tempfile::tempdir().unwrap();
    Trial::new().morsel_rows(4).run(job(plain.path(), 0)).unwrap();
    let (mut crashed, mut restored) = (0, 0);
    for seed in 0..24u64 {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for attempt in 0.. {
            assert!(attempt < 50, "seed {seed}: it does not end");
            let (shares, threads) = (1 + (seed + attempt) as usize % 3, [3, 1, 2, 8][(seed / 2 + attempt) as usize % 4]);
            let trial = Trial::new().threads(threads).morsel_rows(4).seed(seed * 100 + attempt).shares(shares);
            // later and later, so that it ends
            let trial = trial.crash_at(100 + (seed * 37 + attempt * 211) % 200 + attempt * 100);
            let job = job(dir.path(), 1 + seed as i64 % (WAYS - 1)).options(|o| {
                o.checkpoint_dir = Some(dir.path().join("checkpoints"));
                o.checkpoint_every = std::time::Duration::from_millis(1);
            });
            let ran = trial.run(job).unwrap_or_else(|e| panic!("seed {seed}, attempt {attempt}: {e}"));
            let Some(report) = ran.report else {
                crashed += 1;
                continue;
            };
            restored += u32::from(report.checkpoints.restored.is_some());
            break;
        }
        for name in ["lines", "sums"] {
            assert_eq!(filed_lines(&dir.path().join(name)), filed_lines(&plain.path().join(name)), "{name}, seed {seed}");
        }
    }
    assert!(crashed > 30 && restored > 5, "{crashed} crashes, {restored} continued at the end");
}
