//! The operator: starts calls, takes their results, emits rows.
//!
//! Each instance works on the rows that come to it, and has a queue of its own; the limit of calls at once is one for the step (`permits`).
//! In order, rows are emitted from the front of the queue; else as their calls end. Marks leave
//! when all rows before them have left, so no watermark and no end of a split overtakes a row in flight.
//!
//! Who puts rows that end into order again, behind several instances, goes by their origins. Rows that are alone with their numbers get them:
//! what is sent of a morsel tells where in it it stood. Where pieces of a morsel are at several instances numbers say nothing: then a piece
//! leaves as it came, with its origin and in one go, so that the order behind does not tell when calls ended.

use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::Field;

use super::AsyncOptions;
use super::awaited::{Awaited, Inner};
use super::inbox::{Inbox, Landed, caught};
use super::permits::{Permit, Permits, Seat};
use super::queue::{Front, Queue, State, Whole, rows_of};
use crate::kernel::{ErrorPolicy, Letter, Morsel, Origin, catch, write_letters};
use crate::operator::kept::batch_with;
use crate::operator::{
    Account, Claim, Failure, Frozen, GroupState, Instance, Mark, Operator, OperatorFactory, Output, Outside, Pending, Progress,
};
use crate::record::{Accepted, Buffers, Env, Missing, Record, Rows, Value, View, Writer, null_at};
use crate::{Error, Result};

/// In order, rows whose calls have ended wait for slower ones before them, and new calls go on meanwhile, up to this many
/// times `max_in_flight` rows. With calls of 0 to 20 ms, evenly spread, one such window keeps less than three quarters of the allowed
/// calls busy, eight more than nine tenths (test `windows_keep_calls_busy`).
pub(super) const WINDOW: usize = 8;

/// Which function is called, and how.
#[derive(Clone, Debug, Default)]
pub struct AsyncSpec {
    /// Stable id of the step.
    pub name: String,
    /// The function, for messages.
    pub operator: String,
    /// The column that it makes.
    pub column: String,
    /// How it is called.
    pub options: AsyncOptions,
    /// What becomes of rows for which no call succeeds.
    pub errors: ErrorPolicy,
    /// Name of the source, for dead letters.
    pub source: String,
    /// Columns of the row that dead letters carry.
    pub letters: Vec<String>,
    /// Whether the rows of a morsel may be at several instances.
    pub dealt: bool,
    /// Whether rows end.
    pub bounded: bool,
}

impl AsyncSpec {
    /// Whether what came together leaves together.
    fn whole(&self) -> bool {
        self.dealt && self.bounded && self.options.ordered
    }
}

/// Adds a column that an async function computes.
pub struct Async<R, V: Value, F> {
    spec: Arc<AsyncSpec>,
    call: Arc<F>,
    outside: Option<Arc<dyn Outside>>,
    seat: Seat,
    inbox: Arc<Inbox<V>>,
    queue: Queue<V>,
    /// The first row that was never called.
    next: u64,
    /// Rows to be called again.
    again: VecDeque<u64>,
    /// Rows that were called, or whose value is known, and that have not been emitted.
    open: usize,
    /// When calls time out, and when rows are to be called again.
    due: BTreeSet<(Duration, u64)>,
    /// When the outside will wake this operator.
    timer: Option<Duration>,
    /// Rows whose calls have ended, if they need not be in order.
    done: BTreeSet<u64>,
    /// No one wants rows any more.
    over: bool,
    kind: PhantomData<fn() -> R>,
}

impl<R, V: Value, F> std::fmt::Debug for Async<R, V, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Async").field("spec", &self.spec).field("open", &self.open).finish_non_exhaustive()
    }
}

impl<R: Record, V: Value, F: Fn(&View<'_, R>) -> Awaited<V> + Send + Sync + 'static> Async<R, V, F> {
    /// The instances that add (or replace) the column.
    pub fn factory(spec: AsyncSpec, call: F) -> Arc<dyn OperatorFactory> {
        let (spec, call, permits) = (Arc::new(spec), Arc::new(call), Arc::new(Permits::default()));
        Arc::new(move |instance: Instance| {
            let seat = Seat::new(&permits, spec.options.max_in_flight.max(1), instance);
            Ok(Box::new(Self::new(Arc::clone(&spec), Arc::clone(&call), seat)) as Box<dyn Operator>)
        })
    }
    fn new(spec: Arc<AsyncSpec>, call: Arc<F>, seat: Seat) -> Self {
        Async {
            spec,
            call,
            outside: None,
            seat,
            inbox: Arc::default(),
            queue: Queue::new(),
            next: 0,
            again: VecDeque::new(),
            open: 0,
            due: BTreeSet::new(),
            timer: None,
            done: BTreeSet::new(),
            over: false,
            kind: PhantomData,
        }
    }
    fn now(&self) -> Duration {
        self.outside.as_ref().map_or(Duration::ZERO, |o| o.now())
    }
    fn window(&self) -> usize {
        let max = self.spec.options.max_in_flight.max(1);
        if self.spec.options.ordered { max.saturating_mul(WINDOW) } else { max }
    }
    /// Whether there is a call to make.
    fn wants(&self) -> bool {
        let fits = || self.open < self.window() || (self.spec.whole() && self.next < self.queue.first_end());
        !self.again.is_empty() || (self.next < self.queue.taken && fits())
    }
    /// Whether a call may begin now. If it may not, because others have made all that may be out, this instance will be woken.
    fn room(&self) -> bool {
        self.wants() && self.outside.as_ref().is_some_and(|outside| self.seat.may(outside))
    }
    fn permit(&self) -> Option<Permit> {
        self.outside.as_ref().filter(|_| self.wants()).and_then(|outside| self.seat.take(outside))
    }

    fn pump(&mut self, out: &mut dyn Output) -> Result<()> {
        for landed in self.inbox.take() {
            self.land(landed)?;
        }
        self.expire()?;
        loop {
            while let Some(permit) = self.permit() {
                self.start(permit)?;
            }
            self.emit(out)?;
            if !self.room() {
                break;
            }
        }
        self.seat.settle(self.wants());
        self.arm();
        Ok(())
    }

    /// Makes the next call.
    fn start(&mut self, permit: Permit) -> Result<()> {
        let (row, attempt) = match self.again.pop_front() {
            Some(row) => (row, if let Some(State::Again { attempt }) = self.queue.row(row) { *attempt } else { 0 }),
            None => {
                let row = self.next;
                self.next += 1;
                self.open += 1;
                (row, 0)
            }
        };
        let call = Arc::clone(&self.call);
        let Some(piece) = self.queue.piece(row) else { return Err(lost()) };
        let at = (row - piece.first) as usize;
        let Some(view) = Rows::<R>::new(&piece.accepted).get(at) else { return Err(lost()) };
        let awaited = match catch(|| call(&view)) {
            Ok(awaited) => awaited,
            Err(panic) => return Err(self.fatal(row, panic.to_string())),
        };
        match awaited.0 {
            Inner::Known(answer) => self.answered(row, attempt, answer),
            Inner::Call(call) => {
                let inbox = Arc::clone(&self.inbox);
                let Some(outside) = &self.outside else { return Err(Error::internal("an async step without a runtime")) };
                let deadline = self.spec.options.timeout.map(|t| outside.now() + t);
                let flight = outside.run(Box::pin(async move {
                    let outcome = caught(call).await;
                    inbox.put(Landed { row, attempt, outcome });
                    drop(permit);
                }))?;
                self.due.extend(deadline.map(|d| (d, row)));
                self.set(row, State::Out { attempt, deadline, _flight: Some(flight) })
            }
        }
    }
    fn set(&mut self, row: u64, state: State<V>) -> Result<()> {
        match self.queue.row(row) {
            Some(slot) => *slot = state,
            None => return Err(lost()),
        }
        Ok(())
    }

    /// A call has ended.
    fn land(&mut self, landed: Landed<V>) -> Result<()> {
        let Landed { row, attempt, outcome } = landed;
        match self.queue.row(row) {
            Some(State::Out { attempt: now, deadline, .. }) if *now == attempt => {
                if let Some(deadline) = deadline {
                    self.due.remove(&(*deadline, row));
                }
            }
            // it had timed out by then
            _ => return Ok(()),
        }
        match outcome {
            Ok(answer) => self.answered(row, attempt, answer),
            Err(panic) => Err(self.fatal(row, panic.to_string())),
        }
    }
    fn answered(&mut self, row: u64, attempt: u32, answer: Result<V, String>) -> Result<()> {
        match answer {
            Ok(value) => self.ended(row, State::Done(value)),
            Err(message) => self.again(row, attempt, Failed::Said(message)),
        }
    }
    /// No further call is made for a row.
    fn ended(&mut self, row: u64, state: State<V>) -> Result<()> {
        if !self.spec.options.ordered {
            self.done.insert(row);
        }
        self.set(row, state)
    }
    /// A call failed or timed out: it is made again later, or that is the row's error.
    fn again(&mut self, row: u64, attempt: u32, why: Failed) -> Result<()> {
        let options = self.spec.options;
        if attempt >= options.retry {
            let calls = if attempt == 0 { String::new() } else { format!(" (call {} of {})", attempt + 1, options.retry + 1) };
            return match (self.spec.errors, why) {
                (ErrorPolicy::Fail, Failed::Said(what)) => Err(self.fatal(row, format!("failed: {what}{calls}"))),
                (ErrorPolicy::Fail, Failed::TimedOut(what)) => Err(self.fatal(row, what + &calls)),
                (_, Failed::Said(what) | Failed::TimedOut(what)) => self.ended(row, State::Failed(what + &calls)),
            };
        }
        let pause = options.retry_wait.saturating_mul(1 << attempt.min(30));
        self.due.insert((self.now() + pause, row));
        self.set(row, State::Again { attempt: attempt + 1 })
    }
    /// What a row on which the function failed, panicked or timed out does to the job, if nothing else is to become of it.
    fn fatal(&mut self, row: u64, what: String) -> Error {
        let operator = Some(self.spec.operator.clone());
        let name = &self.spec.name;
        let Some(piece) = self.queue.piece(row) else { return lost() };
        let number = piece.number((row - piece.first) as usize);
        Failure::Row { row: Some(number), what, operator }.at(name, Some(piece.origin))
    }
    /// Calls that took too long, and rows whose pause is over.
    fn expire(&mut self) -> Result<()> {
        let now = self.now();
        self.timer = self.timer.filter(|t| *t > now);
        while let Some((due, row)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, row));
            match self.queue.row(row) {
                Some(State::Out { attempt, .. }) => {
                    let attempt = *attempt;
                    let timeout = self.spec.options.timeout.unwrap_or_default();
                    self.again(row, attempt, Failed::TimedOut(format!("timed out after {timeout:?}")))?;
                }
                Some(State::Again { .. }) => self.again.push_back(row),
                _ => {}
            }
        }
        Ok(())
    }
    /// Makes sure to be woken when something is due.
    fn arm(&mut self) {
        let Some((due, _)) = self.due.first().copied() else { return };
        if self.timer.is_none_or(|t| t > due) {
            self.timer = Some(due);
            if let Some(outside) = &self.outside {
                outside.wake_after(due.saturating_sub(outside.now()));
            }
        }
    }

    fn emit(&mut self, out: &mut dyn Output) -> Result<()> {
        let done: Vec<u64> = std::mem::take(&mut self.done).into_iter().collect();
        let mut left = done.as_slice();
        while let Some(row) = left.first() {
            let Some(piece) = self.queue.piece(*row) else { return Err(lost()) };
            let (first, end) = (piece.first, piece.first + piece.rows.len() as u64);
            let (mine, others) = left.split_at(left.partition_point(|r| *r < end));
            left = others;
            self.send(first, &mine.iter().map(|r| (r - first) as usize).collect::<Vec<_>>(), out)?;
        }
        while let Some(front) = self.queue.front() {
            match front {
                Front::Mark(mark) => out.pass(mark),
                Front::Piece(first) if self.spec.options.ordered => {
                    let Some(piece) = self.queue.piece(first) else { return Err(lost()) };
                    // the rows that were sent are the first ones
                    let ended = piece.rows.iter().skip(piece.sent).take_while(|r| r.ended()).count();
                    if ended == 0 || (self.spec.whole() && ended < piece.rows.len() - piece.sent) {
                        break;
                    }
                    let rows: Vec<usize> = (piece.sent..piece.sent + ended).collect();
                    self.send(first, &rows, out)?;
                }
                Front::Piece(_) => break,
            }
        }
        Ok(())
    }
    /// Emits rows of a piece whose calls have ended.
    fn send(&mut self, first: u64, rows: &[usize], out: &mut dyn Output) -> Result<()> {
        let Some(piece) = self.queue.piece(first) else { return Err(lost()) };
        let nulls_stay = self.spec.errors == ErrorPolicy::Null;
        let mut writer = V::Write::new(rows.len());
        let (mut good, mut nulls, mut bad) = (Vec::with_capacity(rows.len()), Vec::new(), Vec::new());
        for row in rows {
            let Some(state) = piece.rows.get_mut(*row) else { return Err(lost()) };
            match std::mem::replace(state, State::Sent) {
                State::Done(value) => {
                    writer.put(good.len(), value.borrow(), &Env::COPY);
                    good.push(*row);
                }
                State::Failed(_) if nulls_stay => {
                    writer.blank(good.len(), 1);
                    nulls.push(good.len());
                    good.push(*row);
                }
                State::Failed(reason) => bad.push((*row, reason)),
                _ => return Err(lost()),
            }
        }
        piece.sent += rows.len();
        self.open -= rows.len();
        let (used, failed) = (good.len() as u64, bad.len() as u64);
        out.account(Account { used, failed, held: -(rows.len() as i64), ..Account::default() });
        let at = |row: usize| Origin { row: piece.origin.row + piece.number(row) as u64, ..piece.origin };
        // letters tell the row's number all the same
        let from = |row: usize| if self.spec.dealt { piece.origin } else { at(row) };
        if let Some(start) = good.first() {
            let mut column = writer.finish(good.len(), &Buffers::default());
            if !nulls.is_empty() {
                column = null_at(&column, nulls.into_iter());
            }
            let field = Field::new(&self.spec.column, V::data_type(), V::NULLABLE || nulls_stay);
            let batch = batch_with(&rows_of(&piece.batch, &good)?, field, column)?;
            out.emit(Morsel::new(batch, from(*start)));
        }
        if let Some((start, _)) = bad.first().filter(|_| self.spec.errors == ErrorPolicy::DeadLetter) {
            let first = from(*start);
            let letter = |(row, reason)| Letter { row, number: at(row).row, reason, operator: self.spec.operator.clone() };
            let letters: Vec<Letter> = bad.into_iter().map(letter).collect();
            let batch = write_letters(&piece.batch, &self.spec.letters, &self.spec.source, first, &letters)?;
            out.emit_failed(Morsel::new(batch, first));
        }
        Ok(())
    }
}

/// Why a call gave no value.
enum Failed {
    /// It returned an error.
    Said(String),
    /// It took too long.
    TimedOut(String),
}

fn lost() -> Error {
    Error::internal("a row in flight was lost")
}

impl<R: Record, V: Value, F: Fn(&View<'_, R>) -> Awaited<V> + Send + Sync + 'static> Operator for Async<R, V, F> {
    fn attach(&mut self, outside: Arc<dyn Outside>) {
        self.outside = Some(outside);
    }
    /// Rows wait in the queue before this step, not here.
    fn ready(&self, _port: usize) -> bool {
        self.next >= self.queue.taken
    }
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        let numbers = morsel.selection.as_ref().map(|s| s.rows().map(|r| r as u32).collect());
        let accepted = Accepted::of::<R>(&batch, Missing::Blank, &self.spec.name)?;
        if self.over {
            out.account(Account { filtered: batch.num_rows() as u64, ..Account::default() });
            return Ok(Progress::Done);
        }
        let rows = self.queue.push(batch, accepted, morsel.origin, numbers);
        out.account(Account { held: rows as i64, ..Account::default() });
        self.pump(out)?;
        Ok(Progress::Done)
    }
    fn pending(&self) -> Pending {
        if self.queue.is_empty() {
            Pending::Nothing
        } else if self.inbox.any() || self.room() || self.timer.is_some_and(|t| t <= self.now()) {
            Pending::Ready
        } else {
            Pending::Waits
        }
    }
    fn poll(&mut self, out: &mut dyn Output) -> Result<()> {
        self.pump(out)
    }
    fn unwanted(&mut self, out: &mut dyn Output) {
        let (rows, marks) = self.queue.clear();
        self.seat.settle(false);
        (self.over, self.next, self.open) = (true, self.queue.taken, 0);
        self.again.clear();
        self.due.clear();
        self.done.clear();
        out.account(Account { filtered: rows as u64, held: -(rows as i64), ..Account::default() });
        marks.into_iter().for_each(|mark| out.pass(mark));
    }
    fn hold_back(&mut self, mark: Mark) -> bool {
        let keeps = !self.queue.is_empty();
        if keeps {
            self.queue.push_mark(mark);
        }
        keeps
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        self.queue.cut()
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.restore_rows(state, &Whole)
    }
    fn restore_rows(&mut self, state: &GroupState, claim: &dyn Claim) -> Result<()> {
        let name = &self.spec.name;
        self.queue.load(state, claim, |batch| Accepted::of::<R>(batch, Missing::Blank, name)).map(drop)
    }
    fn held_bytes(&self) -> usize {
        self.queue.bytes
    }
}
