//! Pairs of rows of equal keys in the same window of event time, made when the window closes.
//!
//! Idea: rows are kept by pane (the greatest common divisor of size and slide; for tumbling windows the window itself). When both sides'
//! watermarks have passed the end of a window, its panes hold all rows there will be, and are [joined](super::super::Join) as a
//! batch. So every kind of join is final when it comes, and knows which rows have no partner.
//!
//! Results carry the window's bounds. With the last moment of the window as their event time nothing need be held back; where a later step
//! follows the time of a row, or the start of the window, the watermark is held back by the length of a window.
//!
//! State: the rows of open windows, once each. It does not spill. Cost: per row a copy into the state, and for each of its windows what a batch join
//! costs. All pairs of a window are made at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::interval::TimesNeeded;
use super::layers::{self, SideCut};
use super::pieces::Pieces;
use super::shape::{Shape, Wanted, plain_schema};
use crate::kernel::{Morsel, Origin};
use crate::operator::distinct::take_rows;
use crate::operator::join::{Condition, Join, JoinSpec};
use crate::operator::keys::key_groups;
use crate::operator::{
    Account, END_OF_TIME, EventTime, Frozen, GroupState, Instance, Mark, Operator, OperatorFactory, Output, Progress, Spare,
};
use crate::plan::{Matching, Span};
use crate::{Error, Result};

/// A join of rows in the same window; see the module's page. Left rows come on port 0, right rows on port 1.
pub struct WindowJoin {
    spec: Arc<JoinSpec>,
    /// The same for the rows of one window.
    inner: Arc<JoinSpec>,
    condition: Option<Condition>,
    needed: TimesNeeded,
    shapes: [Shape; 2],
    schema: SchemaRef,
    size: i64,
    slide: i64,
    pane: i64,
    /// The rows of each pane, by its start.
    panes: BTreeMap<i64, [Pieces; 2]>,
    times: [EventTime; 2],
    /// Windows that end at or before this time are closed.
    closed: EventTime,
    /// The same at the last cut; and whether what is there is what layers hold and what has come since.
    written_closed: EventTime,
    layered: bool,
    /// Memory for layers.
    spare: Spare,
}

impl std::fmt::Debug for WindowJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowJoin").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// The bounds that results carry.
const BOUNDS: [&str; 2] = ["window_start", "window_end"];

impl WindowJoin {
    /// Instances over inputs with these schemas, hashed by the keys; `needed` says how far watermarks are held back.
    ///
    /// # Errors
    /// If a column does not exist, the types of a pair of keys differ, or there are no such windows.
    pub fn factory(
        spec: Arc<JoinSpec>,
        condition: Option<Condition>,
        left: &SchemaRef,
        right: &SchemaRef,
        needed: TimesNeeded,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        let new = move || Self::new(Arc::clone(&spec), condition.clone(), &left, &right, needed);
        new()?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(new()?) as Box<dyn Operator>)))
    }
    /// The columns of the result.
    ///
    /// # Errors
    /// If a column does not exist.
    pub fn schema(spec: &JoinSpec, left: &SchemaRef, right: &SchemaRef) -> Result<SchemaRef> {
        let (left, right) = (plain_schema(left), plain_schema(right));
        let pairs = spec.output_schema(&left, &right)?;
        if !spec.kind.pairs() {
            return Ok(pairs);
        }
        let mut fields = pairs.fields().to_vec();
        fields.extend(BOUNDS.map(|name| Arc::new(Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), false))));
        Ok(Arc::new(Schema::new(fields)))
    }
    fn new(spec: Arc<JoinSpec>, condition: Option<Condition>, left: &SchemaRef, right: &SchemaRef, needed: TimesNeeded) -> Result<Self> {
        let (Matching::SameWindow { window: Span::Aligned { size, slide } }, Some((lt, rt))) = (spec.matching, &spec.times) else {
            return Err(Error::Plan(format!("`{}` joins no rows of windows that are the same for all keys", spec.name)));
        };
        if slide <= 0 || size < slide {
            return Err(Error::Plan(format!("`{}` has no window of {size} us every {slide} us", spec.name)));
        }
        let schema = Self::schema(&spec, left, right)?;
        let (left, right) = (plain_schema(left), plain_schema(right));
        spec.key_fields(&left, &right)?;
        let every: Vec<String> = left.fields().iter().map(|f| f.name().clone()).collect();
        let left_out = if spec.kind.pairs() { &spec.left } else { &every };
        let (test_left, test_right) = condition.as_ref().map_or((&[][..], &[][..]), |c| (c.left(), c.right()));
        let of = |on, out, tested, time| Wanted { step: &spec.name, on, out, tested, time, nanos: false };
        let shapes = [
            Shape::new(&of(&spec.left_on, left_out, test_left, Some(lt)), &left)?,
            Shape::new(&of(&spec.right_on, &spec.right, test_right, Some(rt)), &right)?,
        ];
        let inner = JoinSpec { matching: Matching::Equal, times: None, left: left_out.clone(), by_group: false, ..(*spec).clone() };
        Ok(WindowJoin {
            inner: Arc::new(inner),
            condition,
            needed,
            shapes,
            schema,
            size,
            slide,
            pane: gcd(size, slide),
            panes: BTreeMap::new(),
            times: [EventTime::MIN; 2],
            closed: EventTime::MIN,
            written_closed: EventTime::MIN,
            layered: false,
            spare: Spare::default(),
            spec,
        })
    }
    /// Keeps the rows of a side by pane.
    fn keep(&mut self, port: usize, rows: &RecordBatch) -> Result<()> {
        let Some(shape) = self.shapes.get(port) else { return Err(Error::internal("a join has two inputs")) };
        let mut by_pane: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (time, row) in shape.times(rows)?.into_iter().zip(0u32..) {
            by_pane.entry(time.div_euclid(self.pane).saturating_mul(self.pane)).or_default().push(row);
        }
        for (pane, some) in by_pane {
            if let Some(pieces) = self.panes.entry(pane).or_default().get_mut(port) {
                pieces.push(&take_rows(rows, &some)?)?;
            }
        }
        Ok(())
    }
    /// The end of the first window that a pane belongs to, and of the last.
    fn ends(&self, pane: i64) -> (i64, i64) {
        let last = pane.div_euclid(self.slide).saturating_mul(self.slide);
        let reach = self.size - (pane - last) - self.pane;
        (
            last.saturating_sub(reach.div_euclid(self.slide).saturating_mul(self.slide)).saturating_add(self.size),
            last.saturating_add(self.size),
        )
    }
    fn cut(&mut self, whole: bool) -> Frozen {
        let [left, right] = &self.shapes;
        let (mut left, mut right) = (SideCut::new(left, whole), SideCut::new(right, whole));
        for (pane, [of_left, of_right]) in &mut self.panes {
            left.add(*pane, of_left, None);
            right.add(*pane, of_right, None);
        }
        let closed = std::mem::replace(&mut self.written_closed, self.closed) != self.closed;
        self.layered = true;
        layers::layer([left, right], whole, closed, self.closed, self.spare.clone())
    }
    /// Closes the windows that both sides' time has passed.
    fn advance(&mut self, out: &mut dyn Output) -> Result<()> {
        let time = self.times.iter().copied().min().unwrap_or(EventTime::MIN);
        if time <= self.closed {
            return Ok(());
        }
        let mut next = self.next_window(self.closed);
        while let Some(end) = next.filter(|end| *end <= time) {
            self.close(end, out)?;
            // panes of which this was the last window
            while let Some(first) = self.panes.first_key_value().map(|(pane, _)| *pane).filter(|pane| self.ends(*pane).1 <= end) {
                let rows: u32 = self.panes.remove(&first).iter().flatten().map(Pieces::rows).sum();
                out.account(Account { used: u64::from(rows), held: -i64::from(rows), ..Account::default() });
            }
            next = self.next_window(end);
        }
        self.closed = time;
        Ok(())
    }
    /// The end of the first window with rows that ends after `closed`.
    fn next_window(&self, closed: i64) -> Option<i64> {
        let mut least: Option<i64> = None;
        for pane in self.panes.keys() {
            let (first, last) = self.ends(*pane);
            let end = if first > closed { first } else { first + ((closed - first).div_euclid(self.slide) + 1) * self.slide };
            if end <= last {
                least = Some(least.map_or(end, |l| l.min(end)));
            }
            // later panes are in later windows
            if least.is_some_and(|l| first >= l) {
                break;
            }
        }
        least
    }
    /// Joins the rows of the window that ends then.
    fn close(&self, end: i64, out: &mut dyn Output) -> Result<()> {
        let start = end.saturating_sub(self.size);
        let [left, right] = &self.shapes;
        let mut join = Join::new(Arc::clone(&self.inner), self.condition.as_ref(), &left.schema, &right.schema, None)?;
        let mut window = Window { start, end, join: self, out, problem: None };
        let origin = Origin { source: self.spec.node, ..Origin::default() };
        for port in [1, 0] {
            for pieces in self.panes.range(start..end).filter_map(|(_, sides)| sides.get(port)) {
                for batch in pieces.batches() {
                    let mut progress = join.process(port, Morsel::new(batch.clone(), origin), &mut window)?;
                    while progress == Progress::More {
                        progress = join.resume(&mut window)?;
                    }
                }
            }
            let mut progress = join.finish(port, &mut window)?;
            while progress == Progress::More {
                progress = join.resume(&mut window)?;
            }
        }
        window.problem.map_or(Ok(()), Err)
    }
    /// A batch of the inner join as one of this join.
    fn finished(&self, batch: &RecordBatch, start: i64, end: i64) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::new();
        // by name: the inner join knows only the kept columns, in their order
        for field in self.schema.fields() {
            if let Some(column) =
                batch.column_by_name(field.name()).filter(|_| !BOUNDS.contains(&field.name().as_str()) || !self.spec.kind.pairs())
            {
                columns.push(Arc::clone(column));
            } else {
                let bound = if field.name() == "window_start" { start } else { end };
                columns.push(Arc::new(TimestampMicrosecondArray::from(vec![bound; rows])));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// What the join of a window's rows emits.
struct Window<'a> {
    start: i64,
    end: i64,
    join: &'a WindowJoin,
    out: &'a mut dyn Output,
    problem: Option<Error>,
}

impl Output for Window<'_> {
    fn emit(&mut self, morsel: Morsel) {
        let made = morsel.compact().and_then(|batch| self.join.finished(&batch, self.start, self.end));
        match made {
            Ok(batch) => self.out.emit(Morsel::new(batch, morsel.origin)),
            Err(e) => self.problem = Some(e),
        }
    }
    // all of a window's rows come at once, in no order that is told, and are counted when its panes go
    fn pass(&mut self, _mark: Mark) {}
    fn emit_failed(&mut self, _morsel: Morsel) {}
    fn full(&self) -> bool {
        false
    }
    fn account(&mut self, _rows: Account) {}
    fn satisfied(&mut self) {}
}

impl Operator for WindowJoin {
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { held: morsel.rows() as i64, ..Account::default() });
        let Some(shape) = self.shapes.get(port) else { return Err(Error::internal("a join has two inputs")) };
        let rows = shape.rows(&morsel.compact()?)?;
        self.keep(port, &rows)?;
        Ok(Progress::Done)
    }
    fn watermark(&mut self, port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        if let Some(t) = self.times.get_mut(port) {
            *t = time.max(*t);
        }
        self.advance(out)
    }
    fn hold(&self) -> EventTime {
        let time = self.times.iter().copied().min().unwrap_or(EventTime::MIN);
        let follows = self.needed.left || self.needed.right;
        if follows && time < END_OF_TIME { time.saturating_sub(self.size) } else { END_OF_TIME }
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.watermark(port, END_OF_TIME, out)?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.panes.values().flatten().map(Pieces::bytes).sum::<usize>() + self.spare.bytes()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(self.cut(true))
    }
    fn snapshot_changes(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(self.cut(!self.layered))
    }
    fn restore(&mut self, written: &GroupState) -> Result<()> {
        self.restore_layers(&[&written.bytes], &|_| true).map(|_| ())
    }
    fn restore_layers(&mut self, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let [left, right] = &self.shapes;
        let (sides, closed) = layers::read(layers, [left, right])?;
        // windows that the job had closed are not closed again
        self.closed = self.closed.max(closed);
        let mut found = false;
        for (port, stretches) in sides.iter().enumerate() {
            let Some(shape) = self.shapes.get(port).cloned() else { continue };
            for stretch in stretches.values() {
                for (rows, _, mine) in stretch.of(&shape, mine)? {
                    found |= !mine.is_empty();
                    self.keep(port, &if mine.len() == rows.num_rows() { rows.clone() } else { take_rows(rows, &mine)? })?;
                }
            }
        }
        // the panes of other windows are others
        let rows = |port: usize, pane| sides.get(port).and_then(|s: &layers::Stretches| s.get(pane)).map_or(0, |s| s.rows);
        let panes: usize = sides.iter().flat_map(layers::Stretches::keys).collect::<std::collections::BTreeSet<_>>().len();
        self.layered = panes == self.panes.len();
        for (pane, pieces) in &mut self.panes {
            for (port, pieces) in pieces.iter_mut().enumerate() {
                self.layered &= rows(port, pane) == pieces.rows();
                pieces.unwritten(false);
            }
        }
        Ok(found)
    }
    fn release(&mut self, group: u16) {
        self.layered = false;
        let all = std::mem::take(&mut self.panes);
        for (port, pieces) in all.values().flat_map(|sides| sides.iter().enumerate()) {
            for batch in pieces.batches() {
                let Some(shape) = self.shapes.get(port) else { continue };
                let Ok(groups) = key_groups(&shape.keys(batch), batch.num_rows()) else { continue };
                let kept: Vec<u32> = groups.iter().zip(0u32..).filter(|(g, _)| **g != group).map(|(_, row)| row).collect();
                // cannot fail on rows that were kept before
                let _ = take_rows(batch, &kept).and_then(|rows| self.keep(port, &rows));
            }
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
