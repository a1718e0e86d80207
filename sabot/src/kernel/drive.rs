//! The loop of a run: 64 rows at a time, one validity word and one predicate word.
//!
//! Per window, the first that fits:
//! - no row alive: skipped;
//! - all steps total: `lane` on all 64 lanes, predicate bytes packed into a word, outputs written branch-free (and, if
//!   the output is dense and rows were dropped, compressed in place);
//! - otherwise: `one` on the set bits of the alive rows, which never calls a user function on a null or dropped row.
//!
//! One function per level ([`drive_base`], [`drive_v3`]); everything is inlined into it, so the closures are compiled
//! with the level's instructions. Results are bit-equal at every level: rustc neither contracts nor reorders floats.

use super::computed::Computed;
use super::morsel::SetBits;
use super::step::Step;
use crate::record::{Bits, LANES, Lane, Make, Record, Window, pack_word};

/// What to do with a batch.
pub(super) struct Task<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Rows alive on entry; `None` is all.
    pub alive: Option<&'a [u64]>,
    /// Validity of the nullable columns in use.
    pub nullable: &'a [Bits<'a>],
    /// Validity that predicates need, if nulls are handled by words.
    pub predicate: &'a [Bits<'a>],
    /// Nulls are handled by words: lanes read nullable columns as if valid.
    pub hoisted: bool,
    /// Lanes may be used.
    pub lanes: bool,
    /// Outputs are written densely; else at their row number.
    pub dense: bool,
    /// Which predicates and outputs are wanted, where text goes, who collects errors.
    pub make: Make<'a>,
    /// Whether to report the row before each call.
    pub track: Option<&'a crate::record::Faults>,
    /// Buffers that text may point into.
    pub buffers: &'a [arrow_buffer::Buffer],
}

/// What came of it.
pub(super) struct Driven {
    /// Kept rows, one bit each.
    pub kept: Vec<u64>,
    /// Number of kept rows.
    pub count: usize,
    /// Whether user code returned an error on a kept row.
    pub bad: bool,
}

#[inline(always)]
fn low(len: usize) -> u64 {
    if len >= 64 { !0 } else { (1 << len) - 1 }
}

#[inline(always)]
fn drive<'a, S: Step, const ALL: bool>(
    step: &S,
    read: <S::In as Record>::Read<'a>,
    task: &Task<'a>,
    write: &mut <S::Made as Computed>::Write,
) -> Driven {
    let mut kept = Vec::with_capacity(task.rows.div_ceil(LANES));
    let (mut count, mut failed) = (0usize, false);
    let env = task.make.env(task.buffers);
    let mut base = 0;
    while base < task.rows {
        let len = LANES.min(task.rows - base);
        // SAFETY: `base + len <= rows`, and `rows` is the length of every column that `read` was made from.
        let window = unsafe { Window::new(base, len) };
        let words = task.alive.map_or(!0, |a| a.get(base / LANES).copied().unwrap_or(0));
        let mut alive = words & low(len);
        if task.hoisted {
            for bits in task.predicate {
                alive &= bits.word(window);
            }
        }
        if alive == 0 {
            kept.push(0);
            base += LANES;
            continue;
        }
        let valid = task.nullable.iter().all(|b| !b.word(window) & low(len) == 0);
        let chunk = S::In::chunk(read, window);
        let at = if task.dense { count } else { base };
        let (keep, bad) = if task.lanes && len == LANES {
            let mut keeps = [0u8; LANES];
            let mut bads = [0u8; LANES];
            if valid || task.hoisted {
                lanes::<S, true, ALL>(step, chunk, task.make, at, write, &env, &mut keeps, &mut bads);
            } else {
                lanes::<S, false, ALL>(step, chunk, task.make, at, write, &env, &mut keeps, &mut bads);
            }
            let keep = pack_word(&keeps) & alive;
            if task.dense && keep != !0 {
                for (to, lane) in SetBits(keep).enumerate() {
                    S::Made::shift(write, at + lane, at + to);
                }
            }
            (keep, pack_word(&bads) & keep)
        } else if valid {
            rows::<S, true, ALL>(step, chunk, task, alive, base, at, write, &env)
        } else {
            rows::<S, false, ALL>(step, chunk, task, alive, base, at, write, &env)
        };
        failed |= bad != 0;
        count += keep.count_ones() as usize;
        kept.push(keep);
        base += LANES;
    }
    Driven { kept, count, bad: failed }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn lanes<'a, S: Step, const VALID: bool, const ALL: bool>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    make: Make<'a>,
    at: usize,
    write: &mut <S::Made as Computed>::Write,
    env: &crate::record::Env<'_>,
    keeps: &mut [u8; LANES],
    bads: &mut [u8; LANES],
) {
    for (j, (keep, bad)) in keeps.iter_mut().zip(bads).enumerate() {
        // SAFETY: `j < LANES`, and lanes are only used on full windows.
        let row = S::In::row::<VALID>(chunk, unsafe { Lane::new(j) });
        let done = step.lane(row, make, 0);
        *keep = u8::from(done.keep);
        *bad = u8::from(done.bad);
        S::Made::put::<ALL>(write, at + j, done.made, env);
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn rows<'a, S: Step, const VALID: bool, const ALL: bool>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    task: &Task<'a>,
    alive: u64,
    base: usize,
    at: usize,
    write: &mut <S::Made as Computed>::Write,
    env: &crate::record::Env<'_>,
) -> (u64, u64) {
    let (mut keep, mut bad, mut next) = (0u64, 0u64, at);
    let mut body = |j: usize| {
        if let Some(track) = task.track {
            track.at(base + j);
        }
        // SAFETY: `j` is a set bit of `alive`, which has bits below the window's length only.
        let row = S::In::row::<VALID>(chunk, unsafe { Lane::new(j) });
        if let Some(done) = step.one(row, task.make, 0) {
            S::Made::put::<ALL>(write, if task.dense { next } else { at + j }, done.made, env);
            next += 1;
            keep |= 1 << j;
            bad |= u64::from(done.bad) << j;
        }
    };
    if alive == !0 {
        for j in 0..LANES {
            body(j);
        }
    } else {
        for j in SetBits(alive) {
            body(j);
        }
    }
    (keep, bad)
}

/// The loop, with the target's own instructions.
pub(super) fn drive_base<'a, S: Step, const ALL: bool>(
    step: &S,
    read: <S::In as Record>::Read<'a>,
    task: &Task<'a>,
    write: &mut <S::Made as Computed>::Write,
) -> Driven {
    drive::<S, ALL>(step, read, task, write)
}

/// The loop, with AVX2 and friends.
///
/// # Safety
/// The machine has the features of [`Level::V3`](super::Level::V3).
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,fma")]
pub(super) fn drive_v3<'a, S: Step, const ALL: bool>(
    step: &S,
    read: <S::In as Record>::Read<'a>,
    task: &Task<'a>,
    write: &mut <S::Made as Computed>::Write,
) -> Driven {
    drive::<S, ALL>(step, read, task, write)
}
