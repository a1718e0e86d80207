//! What all clients share: properties, names for messages, and which errors pass.

use std::io::ErrorKind;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::connect::KafkaTopic;
use crate::{Error, Result};

/// How long to wait for an answer of a broker.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Properties that decide what is read and written how often: no one else's choice.
const OURS: &[&str] = &[
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "statistics.interval.ms",
    "transactional.id",
];

/// A client of the topic's brokers.
///
/// # Errors
/// [`Error::Usage`] if a property is not the user's to set.
pub(super) fn config(topic: &KafkaTopic) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topic.brokers).set("client.id", "sabot");
    for (name, value) in &topic.client {
        if OURS.contains(&name.as_str()) {
            return Err(Error::Usage(format!("{topic}: the property `{name}` is set by the connector; leave it out")));
        }
        config.set(name, value.reveal());
    }
    Ok(config)
}

/// Whether an error may pass without anyone doing something about it.
pub(super) fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NetworkException
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
            | Code::KafkaStorageError
            | Code::UnknownTopicOrPartition
            | Code::Retry
    )
}

/// The error for a user.
pub(super) fn error(topic: &KafkaTopic, what: &str, error: &KafkaError) -> Error {
    let place = topic.to_string();
    if let KafkaError::ClientConfig(_, reason, name, _) = error {
        return Error::Usage(format!("{place}: the property `{name}` cannot be set: {reason}"));
    }
    let code = error.rdkafka_error_code();
    let text = match error {
        KafkaError::Transaction(e) => e.string(),
        other => other.to_string(),
    };
    match code {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
            Error::Checkpoint(format!("{place}: another process has taken over the job: {text}"))
        }
        Some(code) if passes(code) || code == Code::UnknownProducerId || retriable(error) => {
            Error::io(place, what, std::io::Error::new(ErrorKind::ConnectionReset, text))
        }
        _ => Error::Data { place, what: format!("{what}: {text}") },
    }
}

/// What the library says of transactions.
fn retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(e) if !e.is_fatal() && (e.is_retriable() || e.txn_requires_abort()))
}
