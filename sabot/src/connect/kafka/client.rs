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

/// Whether a broker refuses what was sent, and would again.
pub(super) fn refused(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::UnsupportedForMessageFormat
    )
}

/// What a user can do about it.
fn advice(code: Code) -> &'static str {
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::Resolve
        | Code::NetworkException => {
            "; see that the brokers run, that their address and `client.security.protocol` are right, or raise `--retries`"
        }
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend => "; see which brokers of the cluster are down, or raise `--retries`",
        Code::Authentication | Code::SaslAuthenticationFailed => "; see the properties `client.sasl.*` and `client.security.protocol`",
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => "; give its user the right, or set another one with `client.sasl.*`",
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            "; raise `client.message.max.bytes` and the topic's `max.message.bytes`"
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => "; see that the topic is still there",
        _ => "",
    }
}

/// The error for a user.
pub(super) fn error(topic: &KafkaTopic, what: &str, error: &KafkaError) -> Error {
    error_at(topic.to_string(), what, error)
}

/// The same for one of its partitions.
pub(super) fn error_in(topic: &KafkaTopic, partition: i32, what: &str, error: &KafkaError) -> Error {
    error_at(format!("{topic}, partition {partition}"), what, error)
}

fn error_at(place: String, what: &str, error: &KafkaError) -> Error {
    if let KafkaError::ClientConfig(_, reason, name, _) = error {
        return Error::Usage(format!("{place}: the property `{name}` cannot be set: {reason}"));
    }
    match error.rdkafka_error_code() {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
            Error::Checkpoint(format!("{place}: another process has taken over the job: {}", text(error)))
        }
        Some(code) if passes(code) || may_pass(code) || retriable(error) => again(place, what, error),
        _ => Error::Data { place, what: format!("{what}: {}", text(error)) },
    }
}

/// An error after which it is tried again.
pub(super) fn again(place: String, what: &str, error: &KafkaError) -> Error {
    Error::io(place, what, std::io::Error::new(ErrorKind::ConnectionReset, text(error)))
}

fn text(error: &KafkaError) -> String {
    let said = match error {
        KafkaError::Transaction(e) => e.string(),
        other => other.to_string(),
    };
    said + error.rdkafka_error_code().map_or("", advice)
}

/// Whether an error may be gone the next time, though nobody waits for that.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        // what a broker says of what it did not expect, and of bytes that were broken on their way
        Code::Unknown
            | Code::InvalidMessage
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::UnknownProducerId
            // of a topic or a partition that was just made, until all brokers know of it
            | Code::UnknownTopic
            | Code::UnknownPartition
    )
}

/// What the library says of transactions.
fn retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(e) if !e.is_fatal() && !refused(e.code()) && (e.is_retriable() || e.txn_requires_abort()))
}
