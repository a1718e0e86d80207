//! Lowering of joins whose sides need not end.
//!
//! Both sides are hashed by their keys, or gathered where there is no key, and are read side by side. What a side's rows wait for is the
//! other side's time, so the sources of both must tell theirs. Rows that all end are joined as in a batch.
//!
//! Joins of rows that are taken back, and those that are to be sent as they change, wait for nothing. So what they send may be of any time.

use std::sync::Arc;

use super::lower::{Lower, missing};
use crate::operator::{AsOfJoin, Exchange, Input, IntervalJoin, TimesNeeded, UpdatingJoin, WindowJoin, Work};
use crate::plan::{Direction, Matching, Node, NodeId, Op, span};
use crate::{Error, Result};

impl Lower<'_> {
    /// Lowers a join that is sent as it changes; false if it is none.
    pub(super) fn updating_join(&mut self, number: NodeId, node: &Node) -> Result<bool> {
        let Op::Join { kind, matching, left, right, emit, .. } = &node.op else { return Err(missing(node)) };
        let back = |port: usize| node.inputs.get(port).is_some_and(|i| self.plan.node(*i).is_ok_and(|n| n.changes));
        let taken_back = [back(0), back(1)];
        let (l, r) =
            (self.input(node, 0, Exchange::Hash(left.clone()), false)?, self.input(node, 1, Exchange::Hash(right.clone()), false)?);
        let bounded = self.bounded(&[l.from, r.from]);
        if *matching != Matching::Equal || !(taken_back.contains(&true) || emit.changes()) {
            return Ok(false);
        }
        // rows that end and stay are joined as in a batch; so are rows that are taken back with rows that end and stay: a pair has the weight of
        // its left row
        let table = taken_back == [true, false] && self.bounded(&[r.from]) && !emit.changes() && !kind.keeps_right();
        if table || (bounded && !node.changes) {
            return Ok(false);
        }
        if !bounded && self.times.needed.get(&number).is_some_and(|needed| needed.contains(&true)) {
            return Err(Error::Usage(format!(
                "`{}` keeps its rows for as long as it runs and pairs them with rows that come later, so the time of what it sends may be behind any other; a step behind it cannot go by event time over endless rows: use `window(global(on_update))` there, or say how far apart the times of partners are, `ttl = 1.hour()`",
                node.id
            )));
        }
        let (left_schema, right_schema) = (self.upstream(l.from).0, self.upstream(r.from).0);
        let spec = Arc::new(self.join_spec(node, &left_schema, &right_schema)?);
        let schema = UpdatingJoin::schema(&spec, &left_schema, &right_schema, node.changes)?;
        let factory = UpdatingJoin::factory(spec, self.condition(node)?, &left_schema, &right_schema, node.changes)?;
        let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![l, r], false, schema, bounded, true);
        self.out.keeps.insert(at, "keeps the rows of both sides that count, for as long as the other side goes on".to_owned());
        Ok(true)
    }
    /// Lowers a join that reads both sides side by side; false if it is none.
    pub(super) fn endless_join(&mut self, number: NodeId, node: &Node) -> Result<bool> {
        let Op::Join { matching, left, right, .. } = &node.op else { return Err(missing(node)) };
        let keyed = |keys: &[String]| if keys.is_empty() { Exchange::Gather } else { Exchange::Hash(keys.to_vec()) };
        let (l, r) = (self.input(node, 0, keyed(left), false)?, self.input(node, 1, keyed(right), false)?);
        let bounded = self.bounded(&[l.from, r.from]);
        let here = match matching {
            Matching::Equal => false,
            Matching::Within { .. } => !bounded,
            Matching::AsOf { .. } => !self.bounded(&[r.from]),
            Matching::SameWindow { .. } => true,
        };
        if !here {
            return Ok(false);
        }
        self.told_by_sources(number, node, &[&l, &r])?;
        let (left_schema, right_schema) = (self.upstream(l.from).0, self.upstream(r.from).0);
        let spec = Arc::new(self.join_spec(node, &left_schema, &right_schema)?);
        let [of_left, of_right] = self.times.needed.get(&number).copied().unwrap_or_default();
        let needed = TimesNeeded { left: of_left, right: of_right };
        let condition = self.condition(node)?;
        let (ls, rs) = (&left_schema, &right_schema);
        let (schema, factory) = match matching {
            Matching::SameWindow { .. } => (WindowJoin::schema(&spec, ls, rs)?, WindowJoin::factory(spec, condition, ls, rs, needed)?),
            Matching::AsOf { .. } => (AsOfJoin::schema(&spec, ls, rs)?, AsOfJoin::factory(spec, ls, rs)?),
            _ => (IntervalJoin::schema(&spec, ls, rs)?, IntervalJoin::factory(spec, condition, ls, rs, needed)?),
        };
        let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![l, r], left.is_empty(), schema, bounded, true);
        self.out.keeps.insert(at, keeps(*matching));
        Ok(true)
    }
    /// Refuses a join that waits for a time which no source can tell.
    fn told_by_sources(&self, number: NodeId, node: &Node, inputs: &[&Input]) -> Result<()> {
        for (port, input) in inputs.iter().enumerate() {
            let Some(column) = self.times.computed_sides.get(&(number, port)).filter(|_| !self.bounded(&[input.from])) else { continue };
            let side = if port == 0 { "left" } else { "right" };
            return Err(Error::Usage(format!(
                "`{}` takes the time of its {side} side from `{column}`, which is computed on the way, so that no source can tell when no partner follows; over an endless source the event time must be a column of the source itself, passed on or copied as it is",
                node.id
            )));
        }
        Ok(())
    }
}

/// What a join keeps, and for how long.
fn keeps(matching: Matching) -> String {
    let waits = |micros: i64| span(micros.max(0));
    match matching {
        Matching::Equal => "keeps all rows".to_owned(),
        Matching::Within { from, to } => format!(
            "keeps a left row until right time is {} past it, a right row until left time is {} past it",
            waits(to),
            waits(from.saturating_neg())
        ),
        Matching::SameWindow { window } => format!("keeps the rows of a window ({window}) until the time of both sides has passed its end"),
        Matching::AsOf { direction: Direction::Backward, tolerance } => format!(
            "keeps a left row until right time has passed it, of each key the last right row{}, and those after left time",
            tolerance.map_or(String::new(), |t| format!(", if it is not older than {}", span(t)))
        ),
        Matching::AsOf { tolerance, .. } => format!(
            "keeps a left row until right time is {} past it, a right row until left time is as far past it",
            tolerance.map_or_else(|| "any time".to_owned(), span)
        ),
    }
}
