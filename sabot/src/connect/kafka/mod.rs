//! Topics of Kafka, both ways, through librdkafka.
//!
//! Partitions are assigned by hand and positions are kept in checkpoints: no consumer group decides what is read, and nothing is committed to one.
//!
//! `client` has what all clients share, `source` lists partitions, `reader` reads one, `link` knows whether its broker answers, `columns` puts rows
//! together, `raw` is the format of raw
//! values; `encode` makes messages of rows, `producer` sends them, `marks` notes and reads which checkpoints have arrived, `sink` is the
//! connector.

mod client;
mod columns;
mod encode;
mod kept;
mod link;
mod marks;
mod producer;
mod raw;
mod reader;
mod sink;
mod source;

pub use sink::KafkaSink;
pub use source::KafkaSource;
