//! Toy sources, operators and sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::kernel::hash::{KEY_GROUPS, hash_integer, key_group};
use crate::kernel::{Morsel, Origin, Selection};
use crate::operator::*;
use crate::{Error, Result};

pub(super) type Row = (i64, i64);

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Int64, false)]))
}
pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let (k, v): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(k)), Arc::new(Int64Array::from(v))]).unwrap()
}
pub(super) fn rows(batch: &RecordBatch) -> Vec<Row> {
    let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values().to_vec();
    column(0).into_iter().zip(column(1)).collect()
}
pub(super) fn of(m: &Morsel) -> Vec<Row> {
    rows(&m.compact().unwrap())
}

/// Rows (i % keys, i) for i below `rows`, in splits; or, endless, the same in each partition, then silence.
#[derive(Clone)]
pub(super) struct Numbers {
    pub(super) rows: i64,
    pub(super) keys: i64,
    pub(super) split: i64,
    pub(super) endless: bool,
    pub(super) partitions: u32,
}

impl Numbers {
    pub(super) fn new(rows: i64, keys: i64, split: i64) -> Self {
        Numbers { rows, keys, split, endless: false, partitions: 1 }
    }
}

impl Source for Numbers {
    fn schema(&self) -> SchemaRef {
        schema()
    }
    fn project(&mut self, _columns: &[String]) -> Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        !self.endless
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let one = |partition, sequence, rows| Split { partition, sequence, rows: Some(rows), bytes: None, spec: serde_json::Value::Null };
        if self.endless {
            return Ok((0..self.partitions).map(|p| one(p, 0, 0)).collect());
        }
        let n = (self.rows + self.split - 1) / self.split;
        Ok((0..n).map(|s| one(0, s as u64, self.split.min(self.rows - s * self.split) as u64)).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let start = split.sequence as i64 * self.split;
        let end = if self.endless { self.rows } else { (start + self.split).min(self.rows) };
        let at = position.map_or(start, |p| p.as_i64().unwrap());
        Ok(Box::new(Reader { at, end, of: self.clone() }))
    }
    fn describe(&self) -> String {
        "numbers".into()
    }
}

struct Reader {
    at: i64,
    end: i64,
    of: Numbers,
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.at >= self.end {
            return Ok(if self.of.endless { Read::Idle } else { Read::End });
        }
        let to = self.end.min(self.at + max_rows as i64);
        let rows: Vec<Row> = (self.at..to).map(|i| (i % self.of.keys, i)).collect();
        self.at = to;
        Ok(Read::Rows(batch(&rows), self.of.endless.then_some(to - 1)))
    }
    fn position(&self) -> serde_json::Value {
        self.at.into()
    }
}

/// Emits (k, how many rows of k were seen), per row.
#[derive(Default)]
pub(super) struct Counter {
    seen: BTreeMap<i64, i64>,
}

pub(super) fn save(map: &BTreeMap<i64, i64>) -> Frozen {
    let map = map.clone();
    Frozen::new(move || {
        let mut groups: BTreeMap<u16, BTreeMap<i64, i64>> = BTreeMap::new();
        for (k, v) in map {
            groups.entry(key_group(hash_integer(k), KEY_GROUPS)).or_default().insert(k, v);
        }
        Ok(groups.into_iter().map(|(group, m)| GroupState { group, bytes: serde_json::to_vec(&m).unwrap() }).collect())
    })
}
pub(super) fn load(map: &mut BTreeMap<i64, i64>, state: &GroupState) {
    let saved: BTreeMap<i64, i64> = serde_json::from_slice(&state.bytes).unwrap();
    for (k, v) in saved {
        *map.entry(k).or_default() += v;
    }
}

impl Operator for Counter {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let counted: Vec<Row> = of(&m)
            .into_iter()
            .map(|(k, _)| {
                (k, {
                    let n = self.seen.entry(k).or_default();
                    *n += 1;
                    *n
                })
            })
            .collect();
        out.emit(Morsel::new(batch(&counted), m.origin));
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(save(&self.seen))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        load(&mut self.seen, state);
        Ok(())
    }
}

/// Emits (k, sum of v) at the end, by key group.
#[derive(Default)]
pub(super) struct Sum {
    sums: BTreeMap<i64, i64>,
    rows: i64,
}

impl Operator for Sum {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        for (k, v) in of(&m) {
            *self.sums.entry(k).or_default() += v;
            self.rows += 1;
        }
        out.account(Account { held: m.rows() as i64, ..Account::default() });
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        let mut groups: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
        for (k, v) in std::mem::take(&mut self.sums) {
            groups.entry(key_group(hash_integer(k), KEY_GROUPS)).or_default().push((k, v));
        }
        for (group, rows) in groups {
            out.emit(Morsel::new(batch(&rows), Origin { split: group.into(), ..Origin::default() }));
        }
        out.account(Account { held: -self.rows, used: self.rows as u64, ..Account::default() });
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let rows = self.rows;
        let mut states = save(&self.sums).write()?;
        states.push(GroupState { group: 0, bytes: format!("rows {rows}").into_bytes() });
        Ok(Frozen::new(move || Ok(states)))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        match std::str::from_utf8(&state.bytes).unwrap().strip_prefix("rows ") {
            Some(rows) => self.rows += rows.parse::<i64>().unwrap(),
            None => load(&mut self.sums, state),
        }
        Ok(())
    }
    fn held_bytes(&self) -> usize {
        self.sums.len() * 16
    }
}

/// Port 0 is taken first; then each row of port 1 is emitted with the number of rows of its key on port 0.
#[derive(Default)]
pub(super) struct Join {
    built: BTreeMap<i64, i64>,
    open: bool,
}

impl Operator for Join {
    fn process(&mut self, port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        assert!(port == 0 || self.open, "a row on a port that was not ready");
        if port == 0 {
            of(&m).into_iter().for_each(|(k, _)| *self.built.entry(k).or_default() += 1);
        } else {
            let joined: Vec<Row> = of(&m).into_iter().map(|(k, v)| (v, self.built.get(&k).copied().unwrap_or(0))).collect();
            out.emit(Morsel::new(batch(&joined), m.origin));
        }
        Ok(Progress::Done)
    }
    fn ready(&self, port: usize) -> bool {
        port == 0 || self.open
    }
    fn finish(&mut self, port: usize, _out: &mut dyn Output) -> Result<Progress> {
        self.open |= port == 0;
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(save(&self.built))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        load(&mut self.built, state);
        Ok(())
    }
}

/// Emits (k, sum of v within a split) when a split ends.
#[derive(Default)]
pub(super) struct SplitSum {
    sums: BTreeMap<u64, BTreeMap<i64, i64>>,
}

impl Operator for SplitSum {
    fn process(&mut self, _port: usize, m: Morsel, _out: &mut dyn Output) -> Result<Progress> {
        let sums = self.sums.entry(m.origin.split).or_default();
        of(&m).into_iter().for_each(|(k, v)| *sums.entry(k).or_default() += v);
        Ok(Progress::Done)
    }
    fn split_end(&mut self, _port: usize, origin: Origin, out: &mut dyn Output) -> Result<()> {
        let sums: Vec<Row> = self.sums.remove(&origin.split).unwrap_or_default().into_iter().collect();
        out.emit(Morsel::new(batch(&sums), Origin::default()));
        Ok(())
    }
}

/// A function of rows as an operator.
pub(super) struct Map<F>(pub(super) F);

impl<F: FnMut(Row) -> Result<Option<Row>> + Send> Operator for Map<F> {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut kept = Vec::new();
        for row in of(&m) {
            kept.extend((self.0)(row)?);
        }
        out.account(Account { used: kept.len() as u64, filtered: (m.rows() - kept.len()) as u64, ..Account::default() });
        out.emit(Morsel::new(batch(&kept), m.origin));
        Ok(Progress::Done)
    }
}

/// Keeps even v, by a selection.
pub(super) struct Even;

impl Operator for Even {
    fn process(&mut self, _port: usize, mut m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let all = rows(&m.batch);
        let mut words = vec![0u64; all.len().div_ceil(64)];
        all.iter().enumerate().filter(|(_, (_, v))| v % 2 == 0).for_each(|(i, _)| words[i / 64] |= 1 << (i % 64));
        let before = m.rows();
        m.selection = Some(Selection::new(words));
        out.account(Account { used: m.rows() as u64, filtered: (before - m.rows()) as u64, ..Account::default() });
        out.emit(m);
        Ok(Progress::Done)
    }
}

/// Repeats each row `times` times (forever, for `usize::MAX`), never more than fits.
pub(super) struct Repeat {
    pub(super) times: usize,
    pub(super) left: Option<(Morsel, usize)>,
}

impl Operator for Repeat {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        self.left = Some((m, self.times));
        self.resume(out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        while let Some((m, left)) = &mut self.left {
            if *left == 0 {
                self.left = None;
                break;
            }
            if out.full() {
                return Ok(Progress::More);
            }
            out.emit(m.clone());
            *left = left.saturating_sub(usize::from(*left != usize::MAX));
        }
        Ok(Progress::Done)
    }
}

/// The first rows.
pub(super) struct Limit(pub(super) usize);

impl Operator for Limit {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let all = of(&m);
        let kept = &all[..all.len().min(self.0)];
        self.0 -= kept.len();
        out.account(Account { used: kept.len() as u64, filtered: (all.len() - kept.len()) as u64, ..Account::default() });
        out.emit(Morsel::new(batch(kept), m.origin));
        if self.0 == 0 {
            out.satisfied();
        }
        Ok(Progress::Done)
    }
}

/// Emits (0, watermark) for each watermark but the last, and checks that rows are not late.
#[derive(Default)]
pub(super) struct Clock(pub(super) Option<EventTime>);

impl Operator for Clock {
    fn process(&mut self, _port: usize, m: Morsel, _out: &mut dyn Output) -> Result<Progress> {
        let late = of(&m).into_iter().find(|(_, v)| self.0.is_some_and(|t| *v < t));
        late.map_or(Ok(Progress::Done), |row| Err(Error::internal(format!("{row:?} is late"))))
    }
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        assert!(self.0.is_none_or(|t| t < time));
        self.0 = Some(time);
        if time != END_OF_TIME {
            out.emit(Morsel::new(batch(&[(0, time)]), Origin::default()));
        }
        Ok(())
    }
}

/// What a sink was told.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) rows: Arc<Mutex<Vec<Row>>>,
    pub(super) ends: Arc<Mutex<Vec<&'static str>>>,
    pub(super) pause: Duration,
}

impl Seen {
    pub(super) fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }
    pub(super) fn sorted(&self) -> Vec<Row> {
        let mut rows = self.rows();
        rows.sort_unstable();
        rows
    }
    pub(super) fn ends(&self) -> Vec<&'static str> {
        self.ends.lock().unwrap().clone()
    }
}

impl Sink for Seen {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
        self.rows.lock().unwrap().extend(rows(batch));
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        self.ends.lock().unwrap().push("commit");
        Ok(())
    }
    fn abort(&mut self) {
        self.ends.lock().unwrap().push("abort");
    }
    fn describe(&self) -> String {
        "seen".into()
    }
}

/// Builds plans.
#[derive(Default)]
pub(super) struct Plan(pub(super) PhysicalPlan);

pub(super) fn by_key() -> Exchange {
    Exchange::Hash(vec!["k".into()])
}

impl Plan {
    fn push(&mut self, name: &str, work: Work, inputs: Vec<Input>, single: bool, stateful: bool) -> usize {
        let bounded = match &work {
            Work::Source(s) => s.bounded(),
            _ => inputs.iter().all(|i| self.0.nodes[i.from].bounded),
        };
        self.0.nodes.push(PhysicalNode {
            name: name.into(),
            work,
            inputs,
            single,
            schema: schema(),
            bounded,
            stateful,
            own: false,
            in_groups: false,
            later: false,
            in_flight: None,
            side: false,
            bad: false,
            event: None,
            time: None,
        });
        self.0.nodes.len() - 1
    }
    pub(super) fn source(&mut self, source: impl Source + 'static) -> usize {
        let name = format!("source{}", self.0.nodes.len());
        self.push(&name, Work::Source(Arc::new(source)), Vec::new(), false, false)
    }
    /// A stateless step on the same task.
    pub(super) fn step<O: Operator + 'static>(&mut self, name: &str, from: usize, make: impl Fn() -> O + Send + Sync + 'static) -> usize {
        self.node(name, &[(from, 0, Exchange::Forward, false)], false, false, make)
    }
    pub(super) fn node<O: Operator + 'static>(
        &mut self,
        name: &str,
        inputs: &[(usize, usize, Exchange, bool)],
        single: bool,
        stateful: bool,
        make: impl Fn() -> O + Send + Sync + 'static,
    ) -> usize {
        let inputs = inputs
            .iter()
            .map(|(from, port, exchange, ordered)| Input { from: *from, port: *port, exchange: exchange.clone(), ordered: *ordered })
            .collect();
        let factory = move |_: Instance| -> Result<Box<dyn Operator>> { Ok(Box::new(make())) };
        self.push(name, Work::Operator(Arc::new(factory)), inputs, single, stateful)
    }
    pub(super) fn sink(&mut self, from: usize) -> usize {
        let name = format!("sink{}", self.0.nodes.len());
        self.push(&name, Work::Sink, vec![Input { from, port: 0, exchange: Exchange::Gather, ordered: true }], true, true)
    }
}

pub(super) fn bind(node: usize, seen: &Seen) -> Vec<BoundSink> {
    vec![BoundSink { node, sink: Box::new(seen.clone()) }]
}
