//! The versions of a slowly changing table: the right rows of an as-of join by key, in order of event time.
//!
//! Rows of equal time are in source order, so which of them is found does not depend on arrival. A version is forgotten when no left
//! row can ask for it any more, in sweeps that come when most of the rows may be of that kind: what is kept is at most
//! about twice what is needed.

use arrow_array::RecordBatch;
use arrow_schema::FieldRef;

use super::pairing::Picked;
use super::pieces::Pieces;
use super::shape::Shape;
use crate::Result;
use crate::kernel::Origin;
use crate::operator::by_group::gather;
use crate::operator::join::find::scaled;
use crate::operator::keys::{NO_GROUP, key_groups};
use crate::operator::{Kept, Keys};
use crate::plan::{Direction, Matching};

/// Rows below which no sweep is worth it.
const FEW: usize = 4096;
/// With a tolerance a sweep comes after this and the tolerance at the latest, in microseconds.
const AT_LEAST_EVERY: i64 = 10_000_000;

/// A right row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) time: i64,
    /// The row's own position.
    pub(super) origin: Origin,
    pub(super) row: u32,
}

/// Right rows by key.
pub(super) struct Versions {
    shape: Shape,
    fields: Vec<FieldRef>,
    matching: Matching,
    keys: Keys,
    lists: Vec<Vec<Version>>,
    pieces: Pieces,
    /// Rows in the lists; how many there were after the last sweep, and up to when that was.
    rows: usize,
    swept: usize,
    swept_at: i64,
    scale: i64,
    groups: Vec<u32>,
}

impl Versions {
    /// No rows yet; times are in microseconds times `scale`.
    pub(super) fn new(shape: Shape, fields: Vec<FieldRef>, matching: Matching, scale: i64) -> Result<Versions> {
        Ok(Versions {
            keys: Keys::new(&fields)?,
            shape,
            fields,
            matching: scaled(matching, scale),
            lists: Vec::new(),
            pieces: Pieces::default(),
            rows: 0,
            swept: 0,
            swept_at: i64::MIN,
            scale,
            groups: Vec::new(),
        })
    }
    /// What it keeps of a row.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }
    /// Adds rows, whose keys have no null.
    pub(super) fn insert(&mut self, rows: &RecordBatch, times: &[i64], origins: &[Origin]) -> Result<()> {
        let first = self.pieces.push(rows)?;
        self.keys.insert(&self.shape.keys(rows), Kept::Range(0, rows.num_rows()), &mut self.groups)?;
        self.lists.resize_with(self.keys.len(), Vec::new);
        for (((group, time), origin), row) in self.groups.iter().zip(times).zip(origins).zip(first..) {
            let Some(list) = self.lists.get_mut(*group as usize) else { continue };
            let version = Version { time: *time, origin: *origin, row };
            match list.last() {
                Some(last) if *last > version => list.insert(list.partition_point(|v| *v < version), version),
                _ => list.push(version),
            }
        }
        self.rows += rows.num_rows();
        Ok(())
    }
    /// For rows of the left side of these keys and times, the version of each, if it has one.
    pub(super) fn find(&mut self, keys: &[arrow_array::ArrayRef], times: &[i64]) -> Result<Picked> {
        let mut picked = Picked::maybe(&self.shape);
        let base = picked.add(self.pieces.batches());
        self.keys.find(keys, Kept::Range(0, times.len()), &mut self.groups)?;
        for (group, time) in self.groups.iter().zip(times) {
            let list = if *group == NO_GROUP { None } else { self.lists.get(*group as usize) };
            match list.and_then(|list| list.get(place(self.matching, list, *time)?)) {
                Some(version) => picked.push(base, self.pieces.place(version.row)),
                None => picked.push_none(),
            }
        }
        Ok(picked)
    }
    /// Forgets what no left row from time `floor` on can ask for (all, if there is no such row), if that may be much. Returns how many
    /// rows were forgotten.
    pub(super) fn sweep(&mut self, floor: Option<i64>) -> Result<usize> {
        let before = self.rows;
        let Some(floor) = floor else {
            (self.lists, self.pieces, self.rows, self.swept) = (Vec::new(), Pieces::default(), 0, 0);
            self.keys = Keys::new(&self.fields)?;
            return Ok(before);
        };
        let long = match self.matching {
            Matching::AsOf { tolerance: Some(t), .. } => {
                let every = t.saturating_add(AT_LEAST_EVERY.saturating_mul(self.scale));
                floor.saturating_sub(self.swept_at) >= every
            }
            _ => false,
        };
        if self.rows < FEW || (self.rows < 2 * self.swept && !long) {
            return Ok(0);
        }
        self.swept_at = floor;
        let mut kept: Vec<Version> = Vec::new();
        for list in &self.lists {
            kept.extend_from_slice(list.get(first_needed(self.matching, list, floor)..).unwrap_or(&[]));
        }
        self.replace(kept)?;
        self.swept = self.rows;
        Ok(before - self.rows)
    }
    /// Keeps these rows alone.
    fn replace(&mut self, mut kept: Vec<Version>) -> Result<()> {
        kept.sort_unstable_by_key(|v| v.row);
        let at: Vec<(usize, usize)> = kept.iter().map(|v| self.pieces.place(v.row)).collect();
        let rows = gather(&self.shape.schema, self.pieces.batches(), &at)?;
        (self.lists, self.pieces, self.rows) = (Vec::new(), Pieces::default(), 0);
        self.keys = Keys::new(&self.fields)?;
        let (times, origins): (Vec<i64>, Vec<Origin>) = kept.iter().map(|v| (v.time, v.origin)).unzip();
        if rows.num_rows() > 0 { self.insert(&rows, &times, &origins) } else { Ok(()) }
    }
    /// All rows in one piece, with their origins: cheap as long as there are few pieces.
    pub(super) fn cut(&self) -> (Pieces, Vec<Version>) {
        (self.pieces.clone(), self.lists.iter().flatten().copied().collect())
    }
    /// Forgets the rows of a key group.
    pub(super) fn release(&mut self, group: u16) -> Result<()> {
        let all: Vec<Version> = self.lists.iter().flatten().copied().collect();
        let at: Vec<(usize, usize)> = all.iter().map(|v| self.pieces.place(v.row)).collect();
        let rows = gather(&self.shape.schema, self.pieces.batches(), &at)?;
        let groups = key_groups(&self.shape.keys(&rows), rows.num_rows())?;
        self.replace(all.into_iter().zip(groups).filter(|(_, g)| *g != group).map(|(v, _)| v).collect())
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.lists.capacity() * size_of::<Vec<Version>>() + self.rows * size_of::<Version>();
        self.keys.bytes() + lists + self.pieces.bytes()
    }
}

/// The place of the version of a left row in the list of its key.
fn place(matching: Matching, list: &[Version], time: i64) -> Option<usize> {
    let behind = list.partition_point(|v| v.time <= time);
    let (back, ahead) = (behind.checked_sub(1), list.partition_point(|v| v.time < time));
    let Matching::AsOf { direction, tolerance } = matching else { return None };
    let near = |at: usize| {
        let away = list.get(at).map(|v| v.time.abs_diff(time))?;
        tolerance.is_none_or(|most| i128::from(away) <= i128::from(most)).then_some((away, at))
    };
    let found = match direction {
        Direction::Backward => back.and_then(near),
        Direction::Forward => near(ahead),
        Direction::Nearest => match (back.and_then(near), near(behind)) {
            (Some(back), Some(ahead)) => Some(if back.0 <= ahead.0 { back } else { ahead }),
            (back, ahead) => back.or(ahead),
        },
    };
    found.map(|(_, at)| at)
}

/// The first version that a left row at `floor` or later can ask for.
fn first_needed(matching: Matching, list: &[Version], floor: i64) -> usize {
    let Matching::AsOf { direction, tolerance } = matching else { return 0 };
    let near = tolerance.map_or(0, |t| list.partition_point(|v| v.time < floor.saturating_sub(t)));
    match direction {
        Direction::Forward => list.partition_point(|v| v.time < floor),
        Direction::Backward | Direction::Nearest => near.max(list.partition_point(|v| v.time <= floor).saturating_sub(1)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is forgotten is never asked for.
    #[test]
    fn needed_versions_stay() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let mut list: Vec<Version> = (0..random(12))
                .map(|n| Version { time: random(20) as i64, origin: Origin { row: n, ..Origin::default() }, row: 0 })
                .collect();
            list.sort();
            let floor = random(24) as i64;
            for direction in [Direction::Backward, Direction::Forward, Direction::Nearest] {
                for tolerance in [None, Some(0), Some(3)] {
                    let matching = Matching::AsOf { direction, tolerance };
                    let rest = list.split_off(first_needed(matching, &list, floor));
                    let whole: Vec<Version> = list.iter().chain(&rest).copied().collect();
                    for time in floor..floor + 8 {
                        let of = |list: &[Version]| place(matching, list, time).and_then(|at| list.get(at)).map(|v| (v.time, v.origin.row));
                        assert_eq!(of(&rest), of(&whole), "{matching:?} at {time}, floor {floor}, {whole:?}");
                    }
                    list = whole;
                }
            }
        }
    }
}
