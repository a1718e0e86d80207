//! Topics of Kafka, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::uri::{Address, Options, Uri, secret};
use crate::secret::Secret;
use crate::{Error, Result};

/// The port of a broker.
const PORT: u16 = 9092;
/// Options that begin so are handed to the client library.
const CLIENT: &str = "client.";
const SOURCE_KEYS: &[&str] = &[
    "format",
    "start",
    "until",
    "on_bad_message",
    "on_tombstone",
    "value",
    "key",
    "timestamp",
    "partition",
    "offset",
    "read",
    "discover_ms",
    "client.<property>",
];
const SINK_KEYS: &[&str] = &["format", "key", "markers", "client.<property>"];

/// A topic, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTopic {
    /// Some of the brokers: `host:port`, separated by commas.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// Properties of librdkafka, by name: `security.protocol`, `sasl.username`, `compression.type`.
    #[serde(default)]
    pub client: BTreeMap<String, Secret<String>>,
}

/// How the values of messages become rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageFormat {
    /// A JSON object, whose members are columns.
    #[default]
    Json,
    /// One column, of text or bytes, holds the value as it is.
    Raw,
}

/// Where a job that has no checkpoint yet begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaStart {
    /// With the oldest message that is there.
    #[default]
    Earliest,
    /// With the first message that comes after the job has begun.
    Latest,
    /// With the first message that has this time or a later one, in milliseconds since 1970.
    Time(i64),
}

/// What happens on a message that is not a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadMessage {
    /// The job ends with an error that names topic, partition and offset.
    #[default]
    Fail,
    /// The message is dropped and counted as failed.
    Skip,
}

/// What happens on a message without a value, which says that its key has no row any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTombstone {
    /// It is a message like others: null if raw values may be, else not a row.
    #[default]
    Read,
    /// The message is dropped and counted as filtered.
    Skip,
}

/// A topic of Kafka to read.
///
/// ```
/// use sabot::connect::{KafkaInput, KafkaStart};
/// # fn main() -> sabot::Result<()> {
/// let trades = KafkaInput::from_uri("kafka://localhost:9092/trades?start=latest&timestamp=at")?;
/// assert_eq!((trades.topic.topic.as_str(), trades.start), ("trades", KafkaStart::Latest));
/// assert_eq!(trades.timestamp.as_deref(), Some("at"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaInput {
    /// The topic.
    pub topic: KafkaTopic,
    /// How values become rows. (In a specification `format` is the connector's name.)
    #[serde(default, rename = "values")]
    pub format: MessageFormat,
    /// Where to begin.
    #[serde(default)]
    pub start: KafkaStart,
    /// Whether the source ends where the topic ends when the job starts.
    #[serde(default)]
    pub until_end: bool,
    /// What happens on a message that is not a row.
    #[serde(default)]
    pub on_bad_message: OnBadMessage,
    /// What happens on a message without a value.
    #[serde(default)]
    pub on_tombstone: OnTombstone,
    /// The column that holds the value, if it is raw; by default the only one that nothing else fills.
    #[serde(default)]
    pub value: Option<String>,
    /// A column of text or bytes for the message's key.
    #[serde(default)]
    pub key: Option<String>,
    /// A column for the message's timestamp, a `Timestamp`. If it is the record's event time, rows are ordered by it.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// An integer column for the message's partition.
    #[serde(default)]
    pub partition: Option<String>,
    /// An integer column for the message's offset.
    #[serde(default)]
    pub offset: Option<String>,
    /// Whether messages of transactions that are not committed are read too.
    #[serde(default)]
    pub uncommitted: bool,
    /// How often to look for new partitions, in milliseconds.
    #[serde(default = "discover")]
    pub discover_ms: u64,
}

/// Ten seconds.
fn discover() -> u64 {
    10_000
}

/// A topic of Kafka to write.
///
/// ```
/// use sabot::connect::KafkaOutput;
/// # fn main() -> sabot::Result<()> {
/// let alerts = KafkaOutput::from_uri("kafka://localhost:9092/alerts?key=card&client.sasl.password=hunter2")?;
/// assert_eq!(alerts.key, ["card"]);
/// assert!(!format!("{alerts:?}").contains("hunter2"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaOutput {
    /// The topic.
    pub topic: KafkaTopic,
    /// Columns that make the message's key: one column its text, several a JSON object. None: messages have no key.
    #[serde(default)]
    pub key: Vec<String>,
    /// The topic that notes which checkpoints have arrived; made if it does not exist.
    #[serde(default = "markers")]
    pub markers: String,
}

fn markers() -> String {
    "sabot-markers".to_owned()
}

impl KafkaTopic {
    fn take(path: &str, options: &mut Options, shown: &str) -> Result<Self> {
        let address = Address::parse(path, shown)?;
        if address.path.is_empty() || address.path.contains('/') {
            return Err(Error::usage(format!("`{shown}` does not name a topic; write `kafka://host:9092/topic`")));
        }
        if address.user.is_some() {
            let what = "a login is written as options: `client.security.protocol=..&client.sasl.username=..&client.sasl.password=..`";
            return Err(Error::usage(format!("`{shown}`: {what}")));
        }
        let brokers: Vec<String> = address.hosts.iter().map(|(host, port)| format!("{host}:{}", port.unwrap_or(PORT))).collect();
        let client = options.take_prefixed(CLIENT).into_iter().map(|(k, v)| (k, Secret::new(v))).collect();
        Ok(KafkaTopic { brokers: brokers.join(","), topic: address.path, client })
    }
    fn without_secrets(&self) -> Self {
        let client = self.client.iter().filter(|(name, _)| !secret(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
        KafkaTopic { client, ..self.clone() }
    }
}

impl std::fmt::Display for KafkaTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kafka topic `{}` at {}", self.topic, self.brokers)
    }
}

impl KafkaInput {
    /// A topic with the default options.
    pub fn new(brokers: &str, topic: &str) -> Self {
        KafkaInput {
            topic: KafkaTopic { brokers: brokers.to_owned(), topic: topic.to_owned(), client: BTreeMap::new() },
            format: MessageFormat::default(),
            start: KafkaStart::default(),
            until_end: false,
            on_bad_message: OnBadMessage::default(),
            on_tombstone: OnTombstone::default(),
            value: None,
            key: None,
            timestamp: None,
            partition: None,
            offset: None,
            uncommitted: false,
            discover_ms: discover(),
        }
    }
    /// A topic as a user writes it: `kafka://host:9092/topic?format=json&start=earliest`. Options: `format` (`json`, `raw`), `start`
    /// (`earliest`, `latest`, or milliseconds since 1970), `until=end` for a source that ends, `on_bad_message` (`fail`, `skip`), `on_tombstone` (`read`,
    /// `skip`), names of columns for the message's `value`, `key`, `timestamp`, `partition` and `offset`, `read=uncommitted`, `discover_ms`, and `client.<property>` for
    /// [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).
    ///
    /// # Errors
    /// [`Error::Usage`] if a part is missing or an option is unknown.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let Uri { path, mut options, shown, .. } = Uri::parse(uri)?;
        let topic = KafkaTopic::take(path, &mut options, &shown)?;
        let other = |key: &str, known: &str, found: &str| Error::usage(format!("the option `{key}` is {known}, not `{found}`"));
        let format = match options.take("format")?.as_deref() {
            None | Some("json") => MessageFormat::Json,
            Some("raw") => MessageFormat::Raw,
            Some(found) => return Err(other("format", "`json` or `raw`", found)),
        };
        let start = match options.take("start")?.as_deref() {
            None | Some("earliest") => KafkaStart::Earliest,
            Some("latest") => KafkaStart::Latest,
            Some(found) => KafkaStart::Time(
                found.parse().map_err(|_| other("start", "`earliest`, `latest` or a number of milliseconds since 1970", found))?,
            ),
        };
        let until_end = match options.take("until")?.as_deref() {
            None => false,
            Some("end") => true,
            Some(found) => return Err(other("until", "`end`", found)),
        };
        let on_bad_message = match options.take("on_bad_message")?.as_deref() {
            None | Some("fail") => OnBadMessage::Fail,
            Some("skip") => OnBadMessage::Skip,
            Some(found) => return Err(other("on_bad_message", "`fail` or `skip`", found)),
        };
        let on_tombstone = match options.take("on_tombstone")?.as_deref() {
            None | Some("read") => OnTombstone::Read,
            Some("skip") => OnTombstone::Skip,
            Some(found) => return Err(other("on_tombstone", "`read` or `skip`", found)),
        };
        let uncommitted = match options.take("read")?.as_deref() {
            None | Some("committed") => false,
            Some("uncommitted") => true,
            Some(found) => return Err(other("read", "`committed` or `uncommitted`", found)),
        };
        let (value, key, timestamp) = (options.take("value")?, options.take("key")?, options.take("timestamp")?);
        let (partition, offset) = (options.take("partition")?, options.take("offset")?);
        let discover_ms = match options.take("discover_ms")? {
            None => discover(),
            Some(found) => found.parse().ok().filter(|n| *n > 0).ok_or_else(|| other("discover_ms", "a number of milliseconds", &found))?,
        };
        options.finish("a Kafka source", SOURCE_KEYS)?;
        if value.is_some() && format == MessageFormat::Json {
            return Err(Error::usage("the option `value` names the column of a raw value: add `format=raw`"));
        }
        Ok(KafkaInput {
            topic,
            format,
            start,
            until_end,
            on_bad_message,
            on_tombstone,
            value,
            key,
            timestamp,
            partition,
            offset,
            uncommitted,
            discover_ms,
        })
    }
    /// What identifies the source, without passwords.
    pub(crate) fn without_secrets(&self) -> Self {
        KafkaInput { topic: self.topic.without_secrets(), ..self.clone() }
    }
}

impl KafkaOutput {
    /// A topic as a user writes it: `kafka://host:9092/topic?key=a,b`. Options: `format` (`json`), `key`, `markers`, and `client.<property>` for
    /// [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).
    ///
    /// # Errors
    /// [`Error::Usage`] if a part is missing or an option is unknown.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let Uri { path, mut options, shown, .. } = Uri::parse(uri)?;
        let topic = KafkaTopic::take(path, &mut options, &shown)?;
        if let Some(found) = options.take("format")?.filter(|f| f != "json") {
            return Err(Error::usage(format!("the option `format` of a Kafka sink is `json`, not `{found}`")));
        }
        let key = options.take_list("key")?;
        let markers = options.take("markers")?.unwrap_or_else(markers);
        options.finish("a Kafka sink", SINK_KEYS)?;
        Ok(KafkaOutput { topic, key, markers })
    }
    /// What identifies the sink, without passwords.
    pub(crate) fn without_secrets(&self) -> Self {
        KafkaOutput { topic: self.topic.without_secrets(), ..self.clone() }
    }
}
