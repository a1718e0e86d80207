//! Reads one partition.

use std::time::Duration;

use arrow_schema::SchemaRef;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{config, error_in, passes};
use super::columns::{Bad, Rows};
use super::kept::Kept;
use super::link::Link;
use super::source::isolation;
use crate::connect::{Format, KafkaInput, Message, OnBadMessage, OnTombstone};
use crate::operator::{BadRow, Read, SplitReader};
use crate::{Error, Result};

/// How long a broker waits for messages.
const WAIT: &str = "fetch.wait.max.ms";

/// Where to read.
pub(super) struct Place {
    pub(super) partition: i32,
    /// The next offset; `None` for the oldest message.
    pub(super) next: Option<i64>,
    /// Where to end.
    pub(super) end: Option<i64>,
}

pub(super) struct Reader {
    input: KafkaInput,
    consumer: BaseConsumer<Link>,
    rows: Rows,
    place: Place,
    /// Whether all messages that there were have been read.
    at_end: bool,
    /// Whether the last message that is wanted has been read.
    ended: bool,
    failed: u64,
    /// Tombstones that nobody wants.
    left_out: u64,
    /// The messages that came since the last rows, and those that are none, if they are handed over.
    given: Option<(Kept, Vec<BadRow>)>,
}

impl Reader {
    pub(super) fn open(input: &KafkaInput, format: &dyn Format, schema: &SchemaRef, place: Place, bad: bool) -> Result<Self> {
        let mut config = config(&input.topic)?;
        // A consumer without a group reads nothing, so there is one that nobody joins.
        config.set("group.id", "sabot").set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("isolation.level", isolation(input)).set("enable.partition.eof", "true").set("auto.offset.reset", "error");
        config.set("statistics.interval.ms", "1000");
        // what one partition may have in memory beside the rows
        for (name, value) in [("queued.max.messages.kbytes", "8192"), (WAIT, "100"), ("fetch.queue.backoff.ms", "20")] {
            if !input.topic.client.contains_key(name) {
                config.set(name, value);
            }
        }
        let failed = |e: KafkaError| error_in(&input.topic, place.partition, "cannot read", &e);
        // the library refuses what is no number
        let wait = config.get(WAIT).and_then(|millis| millis.parse().ok()).map_or(Duration::ZERO, Duration::from_millis);
        let link = Link::new(&input.topic.topic, place.partition, wait);
        let consumer: BaseConsumer<Link> = config.create_with_context(link).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        let offset = place.next.map_or(Offset::Beginning, Offset::Offset);
        list.add_partition_offset(&input.topic.topic, place.partition, offset).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        let rows = Rows::new(input, format, schema)?;
        Ok(Reader {
            input: input.clone(),
            consumer,
            rows,
            place,
            at_end: false,
            ended: false,
            failed: 0,
            left_out: 0,
            given: bad.then(Default::default),
        })
    }
    /// All messages that came are rows, or are not.
    fn forget(&mut self) {
        if let Some((kept, bad)) = &mut self.given {
            kept.clear();
            bad.sort_by_key(|b| b.position);
        }
    }
    fn over(&self) -> bool {
        matches!((self.place.end, self.place.next), (Some(end), Some(next)) if next >= end) || self.place.end == Some(0)
    }
    /// A message that is no row.
    fn bad(&mut self, (offset, why): Bad) -> Result<()> {
        if let Some((kept, bad)) = &mut self.given {
            self.failed += 1;
            bad.push(kept.bad(&self.input.topic.topic, self.place.partition, offset, &why));
            return Ok(());
        }
        if self.input.on_bad_message == OnBadMessage::Skip {
            self.failed += 1;
            return Ok(());
        }
        let place = format!("{}, partition {}, offset {offset}", self.input.topic, self.place.partition);
        Err(Error::Data { place, what: format!("{why} (`on_bad_message=skip` leaves such messages out, `bad_rows()` keeps them)") })
    }
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let max_rows = max_rows.max(1);
        self.ended |= self.over();
        while !self.ended && self.rows.len() + self.given.as_ref().map_or(0, |(_, bad)| bad.len()) < max_rows {
            let polled = self.consumer.poll(Duration::ZERO);
            let mut bad = None;
            match polled {
                None => break,
                Some(Ok(message)) => {
                    let offset = message.offset();
                    self.at_end = false;
                    if self.place.end.is_some_and(|end| offset >= end) {
                        self.ended = true;
                        break;
                    }
                    let (value, key) = (message.payload(), message.key());
                    let (timestamp, partition) = (message.timestamp().to_millis(), message.partition());
                    let message = Message { value, key, timestamp, partition, offset };
                    if let Some((kept, _)) = &mut self.given {
                        kept.push(message);
                    }
                    if value.is_none() && self.input.on_tombstone == OnTombstone::Skip {
                        self.left_out += 1;
                    } else if let Err(why) = self.rows.add(message) {
                        bad = Some((offset, why));
                    }
                    self.place.next = Some(offset + 1);
                    self.ended = self.over();
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    // what is missing up to the end are marks of transactions, and messages that are not committed
                    self.ended = self.place.end.is_some();
                    break;
                }
                Some(Err(e)) => {
                    let code = e.rdkafka_error_code();
                    if code == Some(Code::AutoOffsetReset) {
                        let at = self.place.next.map_or_else(|| "the beginning".to_owned(), |n| format!("offset {n}"));
                        let place = format!("{}, partition {}", self.input.topic, self.place.partition);
                        let what = format!("{at} is not there: messages were deleted before they were read, or the topic was made anew");
                        return Err(Error::Data { place, what });
                    }
                    // the library goes on by itself when a broker is back
                    let gone = code == Some(Code::UnknownTopicOrPartition) || matches!(e, KafkaError::MessageConsumptionFatal(_));
                    if gone || !code.is_some_and(passes) {
                        return Err(error_in(&self.input.topic, self.place.partition, "cannot read", &e));
                    }
                }
            }
            bad.map_or(Ok(()), |bad| self.bad(bad))?;
        }
        if self.rows.len() > 0 {
            let (batch, bad) = self.rows.finish()?;
            bad.into_iter().try_for_each(|bad| self.bad(bad))?;
            self.forget();
            return Ok(Read::Rows(batch, None));
        }
        self.forget();
        if self.ended {
            return Ok(Read::End);
        }
        // no news from a broker that does not answer are not good news
        let idle = self.at_end && self.consumer.context().answers();
        Ok(if idle { Read::Idle } else { Read::Wait })
    }
    fn position(&self) -> serde_json::Value {
        self.place.next.map_or(serde_json::Value::Null, Into::into)
    }
    fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
    fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }
    fn take_bad(&mut self) -> Vec<BadRow> {
        self.given.as_mut().map_or_else(Vec::new, |(_, bad)| std::mem::take(bad))
    }
}
