//! A cut at any step, restored at any thread count, equals the uninterrupted job.

use super::*;
use crate::operator::Exchange;

/// Requests a snapshot at `step`, crashes at `crash`; continues at `threads` from what there is.
fn interrupted(plan: &Plan, seed: u64, step: u64, crash: u64, before: usize, after: usize, tight: bool) -> (Seen, bool) {
    let sink = plan.0.nodes.len() - 1;
    let sized = |threads| {
        let o = options(threads, 20);
        if tight { RunOptions { channel_bytes: 600, reorder_bytes: 600, ..o } } else { o }
    };
    let control = Control::new();
    let ticket = Arc::new(std::sync::Mutex::new(None));
    let (c, t) = (control.clone(), Arc::clone(&ticket));
    let executor = Simulated::new(seed).at(step, move || *t.lock().unwrap() = Some(c.request_snapshot())).crash_at(crash);
    let first = Seen::default();
    let ended = run_on(Arc::new(executor), &plan.0, bind(sink, &first), &sized(before), &control, None);
    let taken = ticket.lock().unwrap().take().and_then(|t| t.try_take()).and_then(Result::ok);
    let Some(checkpoint) = taken else { return (first, ended.is_ok()) };
    // Through bytes, as a file would.
    let checkpoint: Checkpoint = serde_json::from_slice(&serde_json::to_vec(&checkpoint).unwrap()).unwrap();
    let seen = Seen::default();
    let result = run_on(Arc::new(Simulated::new(seed + 1)), &plan.0, bind(sink, &seen), &sized(after), &Control::new(), Some(&checkpoint));
    let report = result.unwrap_or_else(|e| panic!("seed {seed}, cut at {step}, {before} to {after}: {e}"));
    assert!(report.nodes.iter().all(|n| n.account.balanced()));
    (seen, true)
}

fn sweep(plan: &Plan, exact: bool, steps: u64) {
    let expected = go(plan, &options(1, 20)).0;
    let mut restored = 0;
    for seed in seeds(150) {
        let (before, after) = ([1, 2, 3, 4][seed as usize % 4], [3, 1, 2, 5, 4][seed as usize % 5]);
        let step = seed * 7 % steps;
        let (seen, complete) = interrupted(plan, seed, step, step + 150, before, after, seed % 2 == 0);
        if !complete {
            continue;
        }
        restored += 1;
        let place = format!("seed {seed}, cut at {step}, {before} to {after}");
        if exact {
            assert_eq!(seen.rows(), expected.rows(), "{place}");
        } else {
            assert_eq!(seen.sorted(), expected.sorted(), "{place}");
        }
    }
    assert!(restored > 50, "only {restored} checkpoints were complete");
}

#[test]
fn aggregates() {
    sweep(&counted(1000), true, 250);
}

#[test]
fn joins_with_a_closed_port() {
    sweep(&diamond(1000), false, 250);
}

#[test]
fn rows_in_source_order() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(1000, 5, 37));
    let e = p.step("even", s, || Even);
    p.sink(e);
    sweep(&p, true, 120);
}

#[test]
fn gates_behind_gates() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(600, 5, 37));
    let a = p.node("a", &[(s, 0, Exchange::Rebalance, false)], false, false, || Map(|r| Ok(Some(r))));
    let b = p.node("b", &[(a, 0, Exchange::Gather, true)], true, false, || Map(|r| Ok(Some(r))));
    let c = p.node("c", &[(b, 0, Exchange::Rebalance, false)], false, false, || Map(|r| Ok(Some(r))));
    p.sink(c);
    sweep(&p, true, 200);
}

#[test]
fn a_broadcast_build_goes_to_all() {
    let mut p = Plan::default();
    let a = p.source(Numbers::new(100, 17, 9));
    let b = p.source(Numbers::new(1000, 17, 50));
    let j = p.node("join", &[(a, 0, Exchange::Broadcast, false), (b, 1, Exchange::Forward, false)], false, true, Join::default);
    p.sink(j);
    sweep(&p, false, 200);
}

#[test]
fn on_real_threads() {
    let expected = go(&counted(20_000), &options(1, 100)).0.rows();
    for threads in [1, 2, 3, 8] {
        let plan = counted(20_000);
        let control = Control::new();
        let ticket = Arc::new(std::sync::Mutex::new(None));
        let (c, t) = (control.clone(), Arc::clone(&ticket));
        let hook: ProgressHook = Arc::new(move |p| {
            if p.rows > 5000 {
                t.lock().unwrap().get_or_insert_with(|| c.request_snapshot());
            }
        });
        let options = RunOptions { progress: Some(hook), progress_every: std::time::Duration::ZERO, ..options(threads, 100) };
        let seen = Seen::default();
        run(&plan.0, bind(4, &seen), &options, &control).unwrap();
        assert_eq!(seen.rows(), expected);
        let checkpoint = ticket.lock().unwrap().take().unwrap().wait().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.checkpoint");
        checkpoint.write_file(&path).unwrap();
        assert_eq!(Checkpoint::read_file(&path).unwrap(), checkpoint);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Checkpoint::read_file(&path), Err(crate::Error::Checkpoint(_))));
        assert!(checkpoint.positions[0].done.len() + checkpoint.positions[0].open.len() < 134);
        for again in [1, 3, 8] {
            let seen = Seen::default();
            let report = resume(&plan.0, bind(4, &seen), &self::options(again, 64), &Control::new(), &checkpoint).unwrap();
            assert_eq!(seen.rows(), expected, "{threads} to {again}");
            assert_eq!(report.nodes[0].account.rows_out, 20_000);
        }
        assert!(control.snapshot().is_err());
    }
}

#[test]
fn a_checkpoint_of_another_plan_is_refused() {
    let checkpoint = Checkpoint { nodes: vec!["other".into()], ..Checkpoint::default() };
    let result = resume(&counted(10).0, bind(4, &Seen::default()), &options(1, 10), &Control::new(), &checkpoint);
    assert!(matches!(result, Err(crate::Error::Checkpoint(_))));
}
