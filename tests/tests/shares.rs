//! Jobs in several processes: each has a share of the tasks. The processes are simulated: what goes between them is late, each link by
//! another time, and any of them may die at any step.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sabot::prelude::*;
use sabot::testing::{Trial, same_rows, splits};

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
