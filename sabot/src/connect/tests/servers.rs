//! URIs of servers: what they say, and that they keep secrets.

#[cfg(not(all(feature = "kafka", feature = "postgres")))]
use super::*;
use crate::connect::{KafkaInput, KafkaStart, MessageFormat, OnBadMessage, OnTombstone, PostgresTable, SinkSpec, SourceSpec};

#[test]
fn what_a_uri_says() {
    let table = PostgresTable::from_uri("postgres://a%40b:p%3Aw@[::1]:7/d?table=s.t&key=x,y&create=true").unwrap();
    assert_eq!((table.user.as_deref(), table.password.as_ref().map(|p| p.reveal().as_str())), (Some("a@b"), Some("p:w")));
    assert_eq!((table.host.as_str(), table.port, table.table.as_str(), table.create), ("::1", 7, "s.t", true));
    assert_eq!(table.key, ["x", "y"]);
    let input =
        KafkaInput::from_uri("kafka://a,b:7/t?format=raw&value=v&start=12&until=end&on_bad_message=skip&key=k&read=uncommitted").unwrap();
    assert_eq!((input.topic.brokers.as_str(), input.topic.topic.as_str()), ("a:9092,b:7", "t"));
    assert_eq!((input.format, input.start, input.on_bad_message), (MessageFormat::Raw, KafkaStart::Time(12), OnBadMessage::Skip));
    assert!(input.until_end && input.uncommitted && input.on_tombstone == OnTombstone::Read);
    assert_eq!(KafkaInput::from_uri("kafka://h/t?on_tombstone=skip").unwrap().on_tombstone, OnTombstone::Skip);
    assert!(KafkaInput::from_uri("kafka://h/t?on_tombstone=fail").unwrap_err().to_string().contains("`read` or `skip`"));
    for uri in ["kafka://h/t", "kafka://h/t?client.sasl.password=x"] {
        let spec = SourceSpec::from_uri(uri).unwrap();
        assert_eq!(serde_json::from_str::<SourceSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
        let spec = SinkSpec::from_uri(uri).unwrap();
        assert_eq!(serde_json::from_str::<SinkSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
    }
}

#[test]
fn secrets_do_not_show() {
    let uris = [
        "postgres://u:hunter2@h/d?table=t",
        "postgres://u:hunter2@h/d?tabel=t",
        "postgres://u:hunter2@h/d",
        "postgres://u:hunter2@h:port/d?table=t",
        "postgres://u:hunter2@h/d?table=t&create=perhaps",
        "postgres://u:hunter2%zz@h/d?table=t",
        "kafka://h/t?client.sasl.password=hunter2",
        "kafka://h/t?client.sasl.password=hunter2&client.ssl.key.password=hunter2&start=%zz",
        "kafka://h/t/u?client.sasl.oauthbearer.config=hunter2",
        "kafka://u:hunter2@h/t",
        "nonsense://u:hunter2@h/t?x=y",
    ];
    for uri in uris {
        let source = match SourceSpec::from_uri(uri) {
            Ok(spec) => format!("{spec:?} {}", serde_json::to_string(&spec.without_secrets()).unwrap()),
            Err(e) => e.to_string(),
        };
        let sink = match SinkSpec::from_uri(uri) {
            Ok(spec) => format!("{spec:?} {}", serde_json::to_string(&spec.without_secrets()).unwrap()),
            Err(e) => e.to_string(),
        };
        assert!(!source.contains("hunter2") && !sink.contains("hunter2"), "{source}\n{sink}");
    }
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_feature_that_is_missing_is_named() {
    let schema = strict(&[("n", DataType::Int64)]);
    let error = usage_error(SourceSpec::from_uri("kafka://h/t").unwrap().open("R", &schema));
    assert!(error.contains("feature `kafka`"), "{error}");
    assert!(usage_error(SinkSpec::from_uri("kafka://h/t").unwrap().open()).contains("feature `kafka`"));
}

#[cfg(not(feature = "postgres"))]
#[test]
fn postgres_that_is_missing_is_named() {
    let spec = SinkSpec::from_uri("postgres://u@h/d?table=t").unwrap();
    assert!(usage_error(spec.open()).contains("feature `postgres`"));
}
