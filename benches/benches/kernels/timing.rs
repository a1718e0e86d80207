//! Alternating runs, medians.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Rounds per case: every contender once per round, in turn.
const ROUNDS: usize = 25;
/// Wall time of one contender's turn; long against the clock, short against a noisy neighbour.
const TURN_NS: f64 = 1.5e6;

/// Nanoseconds of this thread's processor time.
fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Median processor and wall time of one call, in ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time {
    /// Processor time.
    pub cpu: f64,
    /// Wall time.
    pub wall: f64,
}

/// Times contenders against each other.
pub fn time(contenders: &[&dyn Fn()]) -> Vec<Time> {
    let calls: Vec<usize> = contenders
        .iter()
        .map(|f| {
            f();
            let start = cpu();
            f();
            f();
            ((TURN_NS / ((cpu() - start) / 2.0).max(1.0)) as usize).clamp(1, 100_000)
        })
        .collect();
    let mut samples: Vec<Vec<Time>> = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for ((f, n), into) in contenders.iter().zip(&calls).zip(&mut samples) {
            let (wall, start) = (Instant::now(), cpu());
            for _ in 0..*n {
                f();
            }
            let used = cpu() - start;
            into.push(Time { cpu: used / *n as f64, wall: wall.elapsed().as_nanos() as f64 / *n as f64 });
        }
    }
    samples.iter().map(|s| Time { cpu: median(s.iter().map(|t| t.cpu)), wall: median(s.iter().map(|t| t.wall)) }).collect()
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
