//! The loop of a run: 64 rows at a time, one validity word and one predicate word.
//!
//! Per window, the first that fits:
//! - no row alive: skipped;
//! - all steps total: one pass over 64 lanes, branch-free, predicate bytes packed into a word, outputs written to
//!   the stack, and copied or compressed from there;
//! - otherwise two passes. The leading predicates on all lanes if they are total, else the first one on the alive rows,
//!   which it must see anyway; then the rest on the rows that are left: on 64 lanes if these are all kept, else bit by
//!   bit, leaving out rows in which every output is null. No user function sees a null or dropped row.
//!
//! Total steps take two passes too where almost nothing is kept ([`SPARSE`]).
//!
//! One function per level ([`drive_base`], [`drive_v3`], with feature `avx512` `drive_v4`); everything is inlined into it, so the closures are compiled
//! with the level's instructions. Results are bit-equal at every level: rustc neither contracts nor reorders floats.

use super::computed::Computed;
use super::morsel::SetBits;
use super::step::Step;
use super::task::{Driven, Task};
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
use crate::record::V3;
#[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
use crate::record::V4;
use crate::record::{BASE, Env, Keep, LANES, Lane, Make, Record, Window, pack_word};

/// With fewer than one row of so many kept so far, kept rows are computed one by one: at 2% of rows kept this took 1.6 ns
/// per row against 2.0 in one pass, at 45% 7.5 against 2.2 (`research/experiments/24_fused_composition_bench.rs`).
const SPARSE: usize = 24;
/// Rows to see before the share of kept ones counts.
const SAMPLE: usize = 1024;
/// Total predicates run on all lanes if more than so many of 64 rows are alive.
const CROWD: u32 = 12;

#[inline(always)]
fn low(len: usize) -> u64 {
    if len >= 64 { !0 } else { (1 << len) - 1 }
}

/// One window and what is known of it.
#[derive(Clone, Copy)]
struct Place {
    base: usize,
    len: usize,
    /// Row at which its first output goes.
    at: usize,
    alive: u64,
}

#[inline(always)]
fn drive<'a, S: Step, const ALL: bool, const L: u8>(
    step: &S,
    read: <S::In as Record>::Read<'a>,
    task: &Task<'a>,
    write: &mut <S::Made as Computed>::Write,
) -> Driven {
    let mut kept = Vec::with_capacity(task.rows.div_ceil(LANES));
    let (mut count, mut failed) = (0usize, false);
    // a constant mask, so that the tests of its bits fold away
    let make = if ALL { task.make.masked(!0) } else { task.make };
    let env = make.env(task.buffers);
    let mut base = 0;
    while base < task.rows {
        let len = LANES.min(task.rows - base);
        // SAFETY: `base + len <= rows`, and `rows` is the length of every column that `read` was made from.
        let window = unsafe { Window::new(base, len) };
        let mut alive = low(len) & task.alive.map_or(!0, |a| a.get(base / LANES).copied().unwrap_or(0));
        if task.hoisted {
            alive = task.predicate.iter().fold(alive, |w, bits| w & bits.word(window));
        }
        let at = if task.dense { count } else { base };
        let (keep, bad) = if alive == 0 {
            (0, false)
        } else {
            let place = Place { base, len, at, alive };
            let chunk = S::In::chunk(read, window);
            let sparse = S::LEAD > 0 && task.lead && base >= SAMPLE && count * SPARSE < base;
            let one = task.lanes && S::Made::FIXED && len == LANES && !sparse;
            // rows that may be looked at: without a predicate in front, none that is null where nothing but null comes out
            let look = if one || S::LEAD > 0 || task.track.is_some() {
                low(len)
            } else {
                task.common.iter().fold(alive, |w, bits| w & bits.word(window))
            };
            // text is read row by row anyway: it needs no copy of the loop without null tests
            let valid = !task.text && (one && task.hoisted || task.nullable.iter().all(|b| !b.word(window) & look == 0));
            match (one, valid) {
                (true, true) => one_pass::<S, true, false, L>(step, chunk, task, make, place, write),
                (true, false) if task.text => one_pass::<S, false, true, L>(step, chunk, task, make, place, write),
                (true, false) => one_pass::<S, false, false, L>(step, chunk, task, make, place, write),
                (false, true) => two_passes::<S, true, false, L>(step, chunk, task, make, place, window, write, &env),
                (false, false) if task.text => two_passes::<S, false, true, L>(step, chunk, task, make, place, window, write, &env),
                (false, false) => two_passes::<S, false, false, L>(step, chunk, task, make, place, window, write, &env),
            }
        };
        if keep == 0 && !task.dense {
            S::Made::blank(write, base, len);
        }
        failed |= bad;
        count += keep.count_ones() as usize;
        kept.push(keep);
        base += LANES;
    }
    Driven { kept, count, bad: failed }
}

/// Everything on all 64 lanes.
#[inline(always)]
fn one_pass<'a, S: Step, const VALID: bool, const TEXT: bool, const L: u8>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    task: &Task<'a>,
    make: Make<'a>,
    place: Place,
    write: &mut <S::Made as Computed>::Write,
) -> (u64, bool) {
    let mut stack = <S::Made as Computed>::Stack::default();
    let mut keeps = [0u8; LANES];
    if !S::FILTERS && (place.alive == !0 || !task.dense) {
        let bad = all_kept::<S, VALID, TEXT, L>(step, chunk, make, place.at, write);
        return (place.alive, bad && (place.alive == !0 || any_bad::<S, VALID>(step, chunk, make, place.alive)));
    }
    let spots = S::Made::spots(&mut stack);
    let mut bad = lanes::<S, VALID, TEXT>(step, chunk, make, spots, &mut keeps);
    let keep = if S::FILTERS { pack_word(&keeps) & place.alive } else { place.alive };
    if bad && keep != !0 {
        bad = any_bad::<S, VALID>(step, chunk, make, keep);
    }
    if !task.dense {
        S::Made::compress(write, spots, place.at, Keep { word: !0, bytes: &keeps, level: L });
    } else if keep != 0 {
        if place.alive != !0 {
            keeps.iter_mut().enumerate().for_each(|(j, k)| *k = (keep >> j & 1) as u8);
        }
        S::Made::compress(write, spots, place.at, Keep { word: keep, bytes: &keeps, level: L });
    }
    (keep, bad)
}

/// Calls all steps on all lanes, and writes all of them; whether one returned an error.
#[inline(always)]
fn all_kept<'a, S: Step, const VALID: bool, const TEXT: bool, const L: u8>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    make: Make<'a>,
    at: usize,
    write: &mut <S::Made as Computed>::Write,
) -> bool {
    let (mut stack, mut keeps) = (<S::Made as Computed>::Stack::default(), [0; LANES]);
    let keep = Keep { word: !0, bytes: &[1; LANES], level: L };
    if S::Made::LEN == 1 {
        let spots = S::Made::direct(write, &mut stack, at);
        let bad = lanes::<S, VALID, TEXT>(step, chunk, make, spots, &mut keeps);
        S::Made::settle(write, &mut stack, at, keep);
        return bad;
    }
    let spots = S::Made::spots(&mut stack);
    let bad = lanes::<S, VALID, TEXT>(step, chunk, make, spots, &mut keeps);
    S::Made::compress(write, spots, at, keep);
    bad
}

/// Calls all steps on all lanes; whether one returned an error.
#[inline(always)]
fn lanes<'a, S: Step, const VALID: bool, const TEXT: bool>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    make: Make<'a>,
    spots: <S::Made as Computed>::Spots<'_>,
    keeps: &mut [u8; LANES],
) -> bool {
    let mut bad = 0u8;
    for (j, keep) in keeps.iter_mut().enumerate() {
        // SAFETY: `j < LANES`, and lanes are only used on full windows.
        let lane = unsafe { Lane::with_text(j, TEXT) };
        let done = step.lane(S::In::row::<VALID>(chunk, lane), make, 0);
        *keep = u8::from(done.keep);
        bad |= u8::from(done.bad);
        S::Made::set(spots, lane, done.made);
    }
    bad != 0
}

/// Which lanes failed does not matter until one did.
#[cold]
fn any_bad<'a, S: Step, const VALID: bool>(step: &S, chunk: <S::In as Record>::Chunk<'a>, make: Make<'a>, mind: u64) -> bool {
    SetBits(mind).any(|j| {
        // SAFETY: `j < LANES`, and lanes are only used on full windows.
        step.lane(S::In::row::<VALID>(chunk, unsafe { Lane::new(j) }), make, 0).bad
    })
}

/// Leading predicates, then the rest on the rows that are left.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn two_passes<'a, S: Step, const VALID: bool, const TEXT: bool, const L: u8>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    task: &Task<'a>,
    make: Make<'a>,
    place: Place,
    window: Window,
    write: &mut <S::Made as Computed>::Write,
    env: &Env<'_>,
) -> (u64, bool) {
    let (mut visit, mut rest, mut open) = (place.alive, make, S::FILTERS || task.drops);
    if S::LEAD > 0 && task.track.is_none() {
        let any = place.len == LANES && task.lead && visit.count_ones() > CROWD;
        if S::LEAD > 1 && task.lead {
            visit = leading::<S, VALID, TEXT, { u32::MAX }>(step, chunk, make, visit, any);
            (rest, open) = (make.without(S::LEAD), S::MORE);
        } else {
            visit = leading::<S, VALID, TEXT, 1>(step, chunk, make, visit, any);
            (rest, open) = (make.without(1), S::MORE || S::LEAD > 1);
        }
        if visit == 0 || S::ONLY && !open {
            return (visit, false);
        }
    }
    let call = task.common.iter().fold(visit, |w, bits| w & bits.word(window));
    if !open && S::Made::FIXED && call == !0 && task.track.is_none() {
        let bad = all_kept::<S, VALID, TEXT, L>(step, chunk, rest, place.at, write);
        return (call, bad);
    }
    // rows that are not called are dropped by the predicates to come, or else null
    let visit = if open { call } else { visit };
    if !task.dense {
        S::Made::blank(write, place.base, place.len);
    } else if visit != call {
        S::Made::blank(write, place.at, visit.count_ones() as usize);
    }
    let (mut keep, mut bad, mut next) = (visit & !call, false, place.at);
    for j in SetBits(call) {
        if let Some(track) = task.track {
            track.at(place.base + j);
        }
        // SAFETY: `j` is a set bit of `alive`, which has bits below the window's length only.
        let row = S::In::row::<VALID>(chunk, unsafe { Lane::with_text(j, TEXT) });
        if let Some(done) = step.one(row, rest, 0) {
            bad |= done.bad;
            if done.bad && task.drops {
                continue;
            }
            let to = match (task.dense, open) {
                (false, _) => place.base + j,
                (true, true) => next,
                (true, false) => place.at + (visit & low(j)).count_ones() as usize,
            };
            S::Made::put(write, to, done.made, env);
            next += 1;
            keep |= 1 << j;
        }
    }
    (keep, bad)
}

/// The first `N` leading predicates on the rows of `visit`; on any lane if `any`.
#[inline(always)]
fn leading<'a, S: Step, const VALID: bool, const TEXT: bool, const N: u32>(
    step: &S,
    chunk: <S::In as Record>::Chunk<'a>,
    make: Make<'a>,
    visit: u64,
    any: bool,
) -> u64 {
    // SAFETY: with `any` or all bits set the window is full, so every `j` is a lane of it; else `j` is a set bit of
    // `visit`, which has bits below the window's length only.
    let keeps = |j: usize| step.lead::<N>(S::In::row::<VALID>(chunk, unsafe { Lane::with_text(j, TEXT) }), make, 0);
    if any || visit == !0 {
        let mut bytes = [0u8; LANES];
        bytes.iter_mut().enumerate().for_each(|(j, b)| *b = u8::from(keeps(j)));
        pack_word(&bytes) & visit
    } else {
        SetBits(visit).fold(0, |word, j| word | u64::from(keeps(j)) << j)
    }
}

/// The loop, with the target's own instructions.
pub(super) fn drive_base<'a, S: Step, const ALL: bool>(
    step: &S,
    read: <S::In as Record>::Read<'a>,
    task: &Task<'a>,
    write: &mut <S::Made as Computed>::Write,
) -> Driven {
    drive::<S, ALL, BASE>(step, read, task, write)
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
    drive::<S, ALL, V3>(step, read, task, write)
}

/// The loop, with AVX-512.
///
/// # Safety
/// The machine has the features of `Level::V4`.
#[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
pub(super) fn drive_v4<'a, S: Step, const ALL: bool>(
    step: &S,
    read: <S::In as Record>::Read<'a>,
    task: &Task<'a>,
    write: &mut <S::Made as Computed>::Write,
) -> Driven {
    drive::<S, ALL, V4>(step, read, task, write)
}
