//! Sums of floats behind a join whose sides were on disk: the same to the last bit.

use super::*;

/// The values of a row of either side.
#[derive(Record, Clone, Debug, PartialEq)]
struct Values {
    group: Option<i64>,
    left: Option<f64>,
    right: Option<f64>,
}
pipeline! {
    /// Sums of floats by another key than that of the join.
    pub fn sums_of_pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>);
    values = events -> filter(|e| e.n % 10_000 % 7 != 1) -> key_by(user)
                    -> full_join(others -> filter(|o| o.n % 3 != 0) -> key_by(user), |l, r| row Values { group: l?.n % 10, left: l?.value, right: r?.value });
    sums = values -> key_by(group) -> aggregate(|v| row { rows: count(), left: sum(v.left), right: mean(v.right) });
    sums -> sink;
}

#[test]
fn sums_behind_a_join_are_those_of_enough_memory() {
    let dir = tempfile::tempdir().unwrap();
    let job = || sums_of_pairs(source(), source());
    let want = ordered(Trial::new().run(job()).unwrap().batches("sums").unwrap());
    assert_eq!(want.0, 11);
    for threads in [1, 2, 3, 8] {
        let ran = Trial::new().threads(threads).run(job()).unwrap();
        assert!(ordered(ran.batches("sums").unwrap()) == want, "{threads} threads");
        let little = limited(job(), dir.path()).options(|o| o.memory_budget = Some(2 << 20));
        let ran = Trial::new().threads(threads).morsel_rows(1000).run(little).unwrap();
        assert!(ordered(ran.batches("sums").unwrap()) == want, "{threads} threads, little memory");
        assert!(ran.report.unwrap().nodes.iter().any(|n| n.spilled > 0), "{threads} threads: nothing was spilled");
    }
}
