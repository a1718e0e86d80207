//! Jobs in several processes: each has a share of the tasks. The processes are simulated: what goes between them is late, each link by
//! another time, and any of them may die at any step.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "shares/joined.rs"]
mod joined;
#[path = "shares/sorted.rs"]
mod sorted;

use sabot::prelude::*;
use sabot::testing::{Trial, same_rows, splits};

#[path = "shares/edges.rs"]
mod edges;

/// A sale.
#[derive(Record, Clone, Debug, PartialEq)]
struct Sale {
    shop: Option<i64>,
    amount: i64,
}

/// Its sums.
#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    shop: Option<i64>,
    amount: i64,
}

pipeline! {
    /// Sales by shop.
    pub fn totals(sales: Source<Sale, Bounded>);
    totals = sales -> key_by(shop) -> aggregate(|s| row { amount: sum(s.amount) });
    totals -> sink;
}

#[test]
fn sums_are_the_same_in_any_number_of_processes() {
    let sales: Vec<Sale> = (0..60).map(|n| Sale { shop: (n % 7 > 0).then_some(n % 5), amount: n }).collect();
    let one = Trial::new().run(totals(splits(&sales, 7))).unwrap().rows::<Total>("totals").unwrap();
    for seed in 0..12 {
        let (shares, threads) = (1 + seed as usize % 3, [1, 2, 3, 8][seed as usize % 4]);
        let ran = Trial::new().threads(threads).morsel_rows(3).seed(seed).shares(shares).run(totals(splits(&sales, 7)));
        let ran = ran.unwrap_or_else(|e| panic!("seed {seed}, {shares} shares, {threads} instances: {e}"));
        assert_eq!(ran.rows::<Total>("totals").unwrap().len(), one.len());
        same_rows(&ran.rows::<Total>("totals").unwrap(), &one, 0.0).unwrap();
    }
}

pipeline! {
    /// Large sales, and sums by shop, in files.
    pub fn ledger(sales: Source<Sale, Bounded>);
    large = sales -> filter(|s| s.amount % 3 == 0);
    large -> sink;
    totals = sales -> key_by(shop) -> aggregate(|s| row { amount: sum(s.amount) });
    totals -> sink;
}

/// The lines of all files that are shown, in order.
fn lines(dir: &std::path::Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if !entry.file_name().unwrap().to_string_lossy().starts_with('.') {
            let text = std::fs::read_to_string(&entry).unwrap();
            lines.extend(text.lines().skip(1).map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

#[test]
fn files_have_every_row_once_however_often_all_processes_die() {
    let sales: Vec<Sale> = (0..120).map(|n| Sale { shop: (n % 7 > 0).then_some(n % 5), amount: n }).collect();
    let text = |shop: Option<i64>, amount: i64| format!("{},{amount}", shop.map(|s| s.to_string()).unwrap_or_default());
    let mut large: Vec<String> = sales.iter().filter(|s| s.amount % 3 == 0).map(|s| text(s.shop, s.amount)).collect();
    large.sort();
    let mut sums = std::collections::BTreeMap::new();
    sales.iter().for_each(|s| *sums.entry(s.shop).or_insert(0) += s.amount);
    let mut totals: Vec<String> = sums.into_iter().map(|(shop, amount)| text(shop, amount)).collect();
    totals.sort();
    let (mut crashed, mut restored) = (0, 0);
    for seed in 0..40u64 {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let place = |name: &str| format!("csv:{}/", dir.path().join(name).display());
        let job = || {
            let to_dir = |name: &str| to(&place(name));
            ledger(splits(&sales, 5)).sink("large", to_dir("large")).sink("totals", to_dir("totals")).options(|o| {
                o.checkpoint_dir = Some(dir.path().join("checkpoints"));
                o.checkpoint_every = std::time::Duration::from_millis(1);
            })
        };
        for attempt in 0.. {
            assert!(attempt < 50, "seed {seed}: it does not end");
            let (shares, threads) = (1 + (seed + attempt) as usize % 3, 1 + (seed / 2 + attempt) as usize % 4);
            let trial = Trial::new().threads(threads).morsel_rows(4).seed(seed * 100 + attempt).shares(shares);
            // later and later, so that it ends
            let trial = trial.crash_at(60 + (seed * 37 + attempt * 211) % 160 + attempt * 50);
            let ran = trial.run(job()).unwrap_or_else(|e| panic!("seed {seed}, attempt {attempt}: {e}"));
            let Some(report) = ran.report else {
                crashed += 1;
                continue;
            };
            restored += u32::from(report.checkpoints.restored.is_some());
            break;
        }
        assert_eq!(lines(&dir.path().join("large")), large, "seed {seed}");
        assert_eq!(lines(&dir.path().join("totals")), totals, "seed {seed}");
    }
    assert!(crashed > 40 && restored > 10, "{crashed} crashes, {restored} continued at the end");
}
