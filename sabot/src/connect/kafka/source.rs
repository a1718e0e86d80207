//! A topic as a source: one split per partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arrow_schema::SchemaRef;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::client::{ANSWER, config, error, error_in};
use super::columns::Rows;
use super::raw::Raw;
use super::reader::{Place, Reader};
use crate::connect::{Format, JsonFormat, KafkaInput, KafkaStart, MessageFormat, OnBadMessage, fit};
use crate::operator::{Pace, Source, Split, SplitReader};
use crate::{Error, Result};

/// How long to wait for the partitions when the job starts; it asks again, as with all errors that pass.
const LIST: Duration = Duration::from_secs(5);
/// The same while rows flow.
const BESIDE: Duration = Duration::from_secs(2);

/// A topic of Kafka.
///
/// Each partition is a partition of the source, with its own watermark. Positions are offsets, kept in checkpoints; a partition that appears while
/// the job runs, or between two runs, is read from its beginning. Messages of transactions that were aborted, or are still open, do not show.
/// A broker that is away is waited for. A partition is idle only as long as its own broker answers, and all of it was read.
pub struct KafkaSource {
    pub(super) input: KafkaInput,
    pub(super) format: Arc<dyn Format>,
    pub(super) schema: SchemaRef,
    /// Asks about the topic; reads nothing.
    asking: BaseConsumer,
    listed: AtomicBool,
    /// Whether messages that are no rows are handed over.
    bad: bool,
}

/// A split as it is kept.
#[derive(Serialize, Deserialize)]
struct Part {
    partition: i32,
    start: KafkaStart,
    /// The offset behind its last message, of a source that ends.
    end: Option<i64>,
}

impl KafkaSource {
    /// A topic for `record`, whose columns are `expected`. Nothing is asked of the brokers yet.
    ///
    /// # Errors
    /// [`Error::Usage`] if the columns cannot be read from such messages, or a property does not exist.
    pub fn open(input: &KafkaInput, record: &str, expected: &SchemaRef) -> Result<Self> {
        let format: Arc<dyn Format> = match input.format {
            MessageFormat::Json => Arc::new(JsonFormat),
            MessageFormat::Raw => Arc::new(Raw),
        };
        Self::with_format(input, format, record, expected)
    }
    /// The same, with a format of one's own.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn with_format(input: &KafkaInput, format: Arc<dyn Format>, record: &str, expected: &SchemaRef) -> Result<Self> {
        Rows::check_names(input, record, expected)?;
        Rows::new(input, format.as_ref(), expected)?;
        let mut config = config(&input.topic)?;
        config.set("isolation.level", isolation(input));
        let asking = config.create().map_err(|e| error(&input.topic, "cannot make a client", &e))?;
        Ok(KafkaSource { input: input.clone(), format, schema: Arc::clone(expected), asking, listed: AtomicBool::new(false), bad: false })
    }
    fn failed(&self, what: &str) -> impl Fn(KafkaError) -> Error {
        move |e| error(&self.input.topic, what, &e)
    }
    fn bounds(&self, partition: i32) -> Result<(i64, i64)> {
        let asked = self.asking.fetch_watermarks(&self.input.topic.topic, partition, ANSWER);
        asked.map_err(|e| error_in(&self.input.topic, partition, "cannot ask where it ends", &e))
    }
    /// The offset to begin with; `None` for the oldest message.
    fn first(&self, part: &Part) -> Result<Option<i64>> {
        match part.start {
            KafkaStart::Earliest => Ok(None),
            KafkaStart::Latest => Ok(Some(self.bounds(part.partition)?.1)),
            KafkaStart::Time(millis) => {
                let what = "cannot ask for the first message of a time";
                let mut asked = TopicPartitionList::new();
                let place = asked.add_partition_offset(&self.input.topic.topic, part.partition, Offset::Offset(millis));
                place.map_err(self.failed(what))?;
                let failed = |e| error_in(&self.input.topic, part.partition, what, &e);
                let told = self.asking.offsets_for_times(asked, ANSWER).map_err(failed)?;
                match told.elements().first().map(|e| (e.error(), e.offset())) {
                    Some((Ok(()), Offset::Offset(offset))) => Ok(Some(offset)),
                    Some((Err(e), _)) => Err(failed(e)),
                    // nothing is that young
                    _ => Ok(Some(self.bounds(part.partition)?.1)),
                }
            }
        }
    }
}

pub(super) fn isolation(input: &KafkaInput) -> &'static str {
    if input.uncommitted { "read_uncommitted" } else { "read_committed" }
}

impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        self.schema = fit::project(&self.schema, columns, &self.describe())?.0;
        Ok(())
    }
    fn give_bad(&mut self) -> Result<()> {
        if self.input.on_bad_message == OnBadMessage::Skip {
            let topic = &self.input.topic;
            return Err(Error::Usage(format!("{topic}: the pipeline reads bad messages (`bad_rows()`): leave out `on_bad_message=skip`")));
        }
        self.bad = true;
        Ok(())
    }
    fn bounded(&self) -> bool {
        self.input.until_end
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let timeout = if self.listed.load(Relaxed) { BESIDE } else { LIST };
        let name = &self.input.topic.topic;
        let failed = self.failed("cannot ask for the partitions");
        let told = self.asking.fetch_metadata(Some(name), timeout).map_err(&failed)?;
        let topic = told.topics().iter().find(|t| t.name() == name);
        // no partitions from a broker that does not know yet are not a topic without any
        match topic.and_then(|t| t.error()).map(Code::from) {
            None | Some(Code::UnknownTopicOrPartition) => {}
            Some(code) => return Err(failed(KafkaError::MetadataFetch(code))),
        }
        let mut partitions: Vec<i32> = topic.iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        partitions.sort_unstable();
        if partitions.is_empty() {
            return Err(Error::Usage(format!("{} does not exist, or may not be seen", self.input.topic)));
        }
        self.listed.store(true, Relaxed);
        let split = |partition: i32| {
            let end = if self.input.until_end { Some(self.bounds(partition)?.1) } else { None };
            let part = Part { partition, start: self.input.start, end };
            let spec = serde_json::to_value(part).map_err(|e| Error::internal(format!("a split cannot be written: {e}")))?;
            let partition = u32::try_from(partition).map_err(|_| Error::internal("a partition below zero"))?;
            Ok(Split { partition, sequence: 0, rows: None, bytes: None, spec })
        };
        partitions.into_iter().map(split).collect()
    }
    /// Topics are cleaned up while a job is down.
    fn rereads(&self) -> bool {
        false
    }
    fn pace(&self) -> Pace {
        Pace { list_again: Some(Duration::from_millis(self.input.discover_ms)), ask_again: None }
    }
    fn later(&self, mut split: Split) -> Split {
        if let Some(spec) = split.spec.as_object_mut() {
            spec.insert("start".into(), serde_json::json!(KafkaStart::Earliest));
        }
        split
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let part: Part = fit::split_spec(split, &self.describe())?;
        let next = match position.filter(|p| !p.is_null()) {
            Some(position) => fit::number(Some(position), &self.describe())?.and_then(|n| i64::try_from(n).ok()),
            None => self.first(&part)?,
        };
        let place = Place { partition: part.partition, next, end: part.end };
        Ok(Box::new(Reader::open(&self.input, self.format.as_ref(), &self.schema, place, self.bad)?))
    }
    fn describe(&self) -> String {
        self.input.topic.to_string()
    }
}
