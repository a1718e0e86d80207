//! A topic as a sink: when messages are sent.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::encode::{self, Says};
use super::marks::{self, Mark};
use super::producer::Producer;
use crate::connect::KafkaOutput;
use crate::connect::held_rows::{Held, HeldRows};
use crate::connect::upserts::{UpsertKey, Upserts};
use crate::operator::{Beginning, Changing, Prepared, Preparing, Sink, TwoPhase, without_weights};
use crate::{Error, Result};

/// Rows as messages of a topic of Kafka: a JSON object each.
///
/// In a job that keeps checkpoints, the rows between two of them are kept in memory and in the checkpoint, and sent once it is durable, in one
/// transaction that also holds a mark of the checkpoint in another topic. So consumers that read committed messages see each row once, whenever the
/// process or a broker dies. In other jobs messages are sent as they come, and once more if the job is run again.
///
/// Of changes, the last message of a key is the row that counts, or one without a value, if none does: what a compacted topic keeps. Those of a
/// transaction are added up first.
pub struct KafkaSink {
    output: KafkaOutput,
    mode: Mode,
    /// Whether rows are taken back.
    changes: bool,
}

enum Mode {
    Plain(Option<Producer>),
    Held { rows: HeldRows, generation: u64, session: Option<Session> },
}

/// A producer that is alone with its identity, and what has arrived.
struct Session {
    producer: Producer,
    arrived: u64,
}

impl KafkaSink {
    /// A sink into a topic. It connects when the job starts.
    pub fn new(output: KafkaOutput) -> Self {
        KafkaSink { output, mode: Mode::Plain(None), changes: false }
    }
    /// A new session; `None` if nothing has been noted of the sink yet.
    fn session(&self, id: &str, generation: u64) -> Result<(Producer, Option<Mark>)> {
        let topic = &self.output.topic;
        let producer = Producer::open(topic, Some(&format!("sabot-{id}")))?;
        let mark = marks::read(topic, &self.output.markers, id)?;
        if let Some(mark) = mark.filter(|m| m.generation > generation) {
            let (other, this) = (mark.generation, generation);
            return Err(Error::Checkpoint(format!(
                "{topic}: another process (number {other}) has taken over the job from this one (number {this})"
            )));
        }
        Ok((producer, mark))
    }
    /// Sends rows and the mark as one.
    fn transaction(&self, producer: &Producer, id: &str, mark: Mark, batches: &[RecordBatch]) -> Result<()> {
        let value = serde_json::to_vec(&mark).map_err(|e| Error::internal(format!("a mark cannot be written: {e}")))?;
        producer.begin()?;
        send(&self.output, self.changes, producer, batches)?;
        producer.send(&self.output.markers, Some(marks::PARTITION), Some(id.as_bytes()), Some(&value))?;
        producer.commit()
    }
    fn arrive(&self, session: Option<Session>, held: &Held, generation: u64) -> Result<Session> {
        let mut session = match session {
            Some(session) => session,
            None => {
                let (producer, mark) = self.session(&held.id, generation)?;
                Session { producer, arrived: mark.map_or(0, |m| m.epoch) }
            }
        };
        if session.arrived < held.epoch {
            self.transaction(&session.producer, &held.id, Mark { epoch: held.epoch, generation }, &held.batches()?)?;
            session.arrived = held.epoch;
        }
        Ok(session)
    }
}

/// Sends rows, or what becomes of the keys of changes.
fn send(output: &KafkaOutput, changes: bool, producer: &Producer, batches: &[RecordBatch]) -> Result<()> {
    let each = |batches: &[RecordBatch], says: Says| {
        batches.iter().try_for_each(|batch| {
            encode::each(output, batch, says, &mut |key, value| producer.send(&output.topic.topic, None, key, value))?;
            producer.hear()
        })
    };
    if !changes {
        return each(batches, Says::Came);
    }
    let net = Upserts::of(batches, &output.key, &output.topic.to_string())?;
    each(&net.gone, Says::Gone)?;
    each(&net.replacing, Says::Is)?;
    each(&net.added, Says::Is)
}

impl Sink for KafkaSink {
    fn changes(&mut self, changing: Changing<'_>) -> Result<()> {
        let key = UpsertKey::new(&self.output.key, changing.keys, &self.describe())?;
        if !key.proven {
            // a table would refuse a second row of a key; a topic keeps the last
            let (names, topic) = (key.columns.join(", "), &self.output.topic);
            let differ = match changing.keys {
                [] => String::new(),
                known => format!("; they differ by {}", known.join(", ")),
            };
            return Err(Error::Usage(format!(
                "{topic}: nothing says that the key ({names}) tells the rows of the changes apart{differ}: name these columns too, or put `distinct({names})` before the sink, or `changelog()` to store the changes as rows"
            )));
        }
        (self.output.key, self.changes) = (key.columns, true);
        Ok(())
    }
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let bare = without_weights(&RecordBatch::new_empty(SchemaRef::clone(schema)))?.schema();
        encode::check(&self.output, &bare)?;
        if let Mode::Plain(producer) = &mut self.mode {
            *producer = Some(Producer::open(&self.output.topic, None)?);
        }
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.mode {
            Mode::Held { rows, .. } => {
                rows.push(batch);
                Ok(())
            }
            Mode::Plain(producer) => {
                let producer = producer.as_ref().ok_or_else(|| Error::internal("a Kafka sink is not open"))?;
                send(&self.output, self.changes, producer, std::slice::from_ref(batch))
            }
        }
    }
    fn commit(&mut self) -> Result<()> {
        match &mut self.mode {
            Mode::Plain(producer) => producer.take().map_or(Ok(()), |producer| producer.flush()),
            Mode::Held { .. } => Ok(()),
        }
    }
    fn abort(&mut self) {
        match &mut self.mode {
            Mode::Plain(producer) => *producer = None,
            Mode::Held { session, .. } => *session = None,
        }
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        self.output.topic.to_string()
    }
}

impl TwoPhase for KafkaSink {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        let mut rows = HeldRows::default();
        let generation = beginning.generation;
        let epoch = rows.begin(beginning)?;
        marks::create(&self.output.topic, &self.output.markers)?;
        let (producer, mark) = self.session(rows.id(), generation)?;
        let arrived = mark.map_or(0, |m| m.epoch);
        if arrived > epoch {
            return Err(Error::Checkpoint(format!(
                "{} has the rows of checkpoint {arrived}, but the job continues from {epoch}: rows would be there twice",
                self.output.topic
            )));
        }
        // takes over: from now on an older process finds this one's number
        self.transaction(&producer, rows.id(), Mark { epoch: arrived, generation }, &[])?;
        self.mode = Mode::Held { rows, generation, session: Some(Session { producer, arrived }) };
        Ok(())
    }
    fn prepare(&mut self, epoch: u64, _last: bool) -> Result<Preparing> {
        match &mut self.mode {
            Mode::Held { rows, .. } => Ok(rows.prepare(epoch)),
            Mode::Plain(_) => Err(Error::internal("a Kafka sink was not told of checkpoints")),
        }
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        let held = Held::read(prepared)?;
        let Mode::Held { session, generation, .. } = &mut self.mode else {
            return Err(Error::internal("a Kafka sink was not told of checkpoints"));
        };
        // After an error the outcome is not known: the next session finds out.
        let (session, generation) = (session.take(), *generation);
        let arrived = self.arrive(session, &held, generation)?;
        if let Mode::Held { session, .. } = &mut self.mode {
            *session = Some(arrived);
        }
        Ok(())
    }
}
