//! Changes into topics: the last message of each key is the row that counts, whoever is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use sabot::connect::{SinkSpec, SourceSpec};
use sabot::prelude::*;
use sabot::stream::Job;
use sabot_services::{Kafka, Seen};

use super::ledger::{Tally, check_tally, die_at_seams, kill_after, mix, some, start, stop};

#[derive(Record, Clone, Debug, PartialEq)]
struct Sale {
    shop: Option<Str>,
    day: i64,
    amount: i64,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    shop: Option<Str>,
    total: i64,
}

pipeline! {
    /// What each shop has sold, while it is not nothing.
    pub fn totals(sales: Source<Sale>);
    sums   = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    totals = sums -> filter(|t| t.total != 0);
    totals -> sink;
}
pipeline! {
    /// The same for each day.
    pub fn days(sales: Source<Sale>);
    days = sales -> key_by(day) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    days -> sink;
}
pipeline! {
    /// Rows of a topic, as they are.
    pub fn rows_of(rows: Source<Total, Bounded>);
    out = rows -> filter(|r| r.total >= 0);
    out -> sink;
}

fn sale(shop: &str, day: i64, amount: i64) -> Sale {
    Sale { shop: (!shop.is_empty()).then(|| shop.into()), day, amount }
}
fn send(job: Job, stream: &str, uri: &str) -> Result<sabot::runtime::Report> {
    job.sink(stream, SinkSpec::from_uri(uri)?).options(|o| o.morsel_rows = 1).run()
}
/// The messages of each key, in their order.
fn by_key(seen: &[Seen]) -> BTreeMap<String, Vec<Option<String>>> {
    let mut keys: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    let mut partitions: BTreeMap<&str, i32> = BTreeMap::new();
    for message in seen {
        let key = message.key.as_deref().expect("every message has a key");
        assert_eq!(*partitions.entry(key).or_insert(message.partition), message.partition, "a key stays in its partition");
        keys.entry(key.to_owned()).or_default().push(message.value.clone());
    }
    keys
}

#[test]
fn the_last_message_of_a_key_counts() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("changes", 3);
    let sales = vec![sale("a", 1, 5), sale("", 1, 3), sale("b", 1, 1), sale("a", 2, 2), sale("b", 2, -1)];
    send(totals(sales.clone()), "totals", &broker.uri(&topic, "")).unwrap();
    let total = |shop: &str, total: i64| Some(format!("{{\"shop\":{shop},\"total\":{total}}}"));
    let keys = by_key(&broker.committed(&topic));
    // a key that may be null is an object: without a key nothing could be replaced
    assert_eq!(keys["{\"shop\":\"a\"}"], [total("\"a\"", 5), total("\"a\"", 7)]);
    assert_eq!(keys["{\"shop\":\"b\"}"], [total("\"b\"", 1), None]);
    assert_eq!(keys["{\"shop\":null}"], [total("null", 3)]);
    assert_eq!(keys.len(), 3);

    // read back: a tombstone is no row
    let source = |options: &str| Source::from(SourceSpec::from_uri(&broker.uri(&topic, &format!("until=end{options}"))).unwrap());
    let error = rows_of(source("")).collect::<Total>().unwrap_err().to_string();
    assert!(error.contains("a tombstone") && error.contains("on_tombstone=skip"), "{error}");
    let (batches, report) = rows_of(source("&on_tombstone=skip")).collect_with(&sabot::runtime::Control::new(), None, None).unwrap();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 4);
    assert_eq!(report.nodes.iter().map(|n| n.account.filtered).sum::<u64>(), 1);

    // a key of one column that is never null is its text
    let topic = broker.topic("changes", 3);
    send(days(sales.clone()), "days", &broker.uri(&topic, "")).unwrap();
    let keys = by_key(&broker.committed(&topic));
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["1", "2"]);
    let error = send(totals(sales.clone()), "totals", &broker.uri(&topic, "key=total")).unwrap_err().to_string();
    for part in ["the key (total)", "they differ by shop", "distinct(total)", "changelog()"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    assert!(send(totals(sales), "totals", &broker.uri(&topic, "key=shop,totl")).unwrap_err().to_string().contains("`totl`"));
}

/// The state of a topic; each message of a key goes forward, so none is there twice.
fn tally(broker: &Kafka, topic: &str) -> Tally {
    let mut tally = Tally::new();
    for (key, values) in by_key(&broker.committed(topic)) {
        let (mut newest, mut here) = (0, None);
        for value in values {
            let Some(value) = value else {
                assert!(here.take().is_some(), "key {key} was taken back twice");
                continue;
            };
            let value: serde_json::Value = serde_json::from_str(&value).unwrap();
            assert_eq!(value["key"].to_string(), key);
            let [rows, sum, last] = ["rows", "sum", "last"].map(|n| value[n].as_i64().unwrap());
            assert!(rows > newest, "key {key} has {rows} rows after {newest}");
            newest = rows;
            here = Some([rows, sum, last]);
        }
        here.into_iter().for_each(|t| assert!(tally.insert(key.parse().unwrap(), t).is_none()));
    }
    tally
}

#[test]
fn a_topic_follows_whoever_is_killed() {
    let Some(broker) = Kafka::own("kafka-changes") else { return };
    let topics = ["totals", "some"].map(|name| broker.topic(name, 3));
    let dir = tempfile::tempdir().unwrap();
    let sinks = [0, 1].map(|i| format!("{}={}", ["totals", "some"][i], broker.uri(&topics[i], "")));
    let args = ["tally", "--rate", "2000", "--sink", &sinks[0], "--sink", &sinks[1]];
    die_at_seams(dir.path(), &args);
    for life in 0..4 {
        kill_after(start(dir.path(), &args, None), Duration::from_millis(700 + mix(life + 7) % 900));
        check_tally(&tally(&broker, &topics[0]));
    }
    let child = start(dir.path(), &args, None);
    std::thread::sleep(Duration::from_millis(1500));
    broker.crash(Duration::from_millis(1500));
    std::thread::sleep(Duration::from_millis(3000));
    stop(child);
    let totals = tally(&broker, &topics[0]);
    let rows = check_tally(&totals);
    assert_eq!(tally(&broker, &topics[1]), some(&totals));
    assert!(rows > 2_000, "{rows} numbers");
}
