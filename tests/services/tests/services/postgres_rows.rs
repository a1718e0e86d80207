//! Rows into tables: values of all types, keys, and what is refused.

use sabot::connect::SinkSpec;
use sabot::operator::Beginning;
use sabot::prelude::*;
use sabot::record::to_batch;
use sabot_services::Postgres;

#[derive(Record, Clone, Debug, PartialEq)]
struct Everything {
    id: i64,
    yes: bool,
    tiny: i8,
    small: Option<u16>,
    big: u64,
    part: f32,
    whole: Option<f64>,
    price: Decimal<10, 2>,
    name: Option<Str>,
    bytes: Bytes,
    day: Date,
    at: Timestamp<Micros>,
    zoned: Timestamp<Millis, Utc>,
    span: Duration<Millis>,
}

fn everything(id: i64) -> Everything {
    Everything {
        id,
        yes: id % 2 == 0,
        tiny: -8,
        small: (id > 0).then_some(65_535),
        big: u64::MAX,
        part: 1.5,
        whole: if id == 0 { Some(f64::NAN) } else { None },
        price: Decimal::from_units(-12_345),
        name: (id != 1).then(|| "tab\t, back\\slash, \"quote\", line\nend, 'é', \\N".into()),
        bytes: Bytes::from(&b"\x00\\\xff"[..]),
        day: Date(-1),
        at: Timestamp::new(-1),
        zoned: Timestamp::new(1_000),
        span: Duration::new(-1_500),
    }
}

pipeline! {
    /// Rows as they are.
    pub fn rows_of_everything(rows: Source<Everything, Bounded>);
    out = rows -> filter(|r| r.id >= 0);
    out -> sink;
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Balance {
    account: Str,
    amount: Option<i64>,
}

pipeline! {
    /// Balances as they are.
    pub fn balances(rows: Source<Balance, Bounded>);
    out = rows -> filter(|r| r.account != "");
    out -> sink;
}

fn balance(account: &str, amount: i64) -> Balance {
    Balance { account: account.into(), amount: Some(amount) }
}
fn store(rows: &[Balance], uri: &str) -> Result<sabot::runtime::Report> {
    balances(rows.to_vec()).sink("out", SinkSpec::from_uri(uri)?).run()
}
fn refusal(rows: &[Balance], uri: &str) -> String {
    let error = store(rows, uri).unwrap_err().to_string();
    assert!(!error.contains("pass-of-tests"), "{error}");
    error
}

#[test]
fn values_of_all_types() {
    let Some(db) = Postgres::shared() else { return };
    let rows: Vec<Everything> = (0..3).map(everything).collect();
    let uri = db.uri("everything", "&create=true");
    let job = rows_of_everything(rows).sink("out", SinkSpec::from_uri(&uri).unwrap());
    assert!(!format!("{:?}", SinkSpec::from_uri(&uri)).contains("pass-of-tests"));
    job.run().unwrap();
    let found = db.sql("SET TIME ZONE 'UTC'; SELECT *, octet_length(name) FROM everything ORDER BY id");
    let text = "tab\t, back\\slash, \"quote\", line\nend, 'é', \\N";
    let octets = text.len().to_string();
    let row = |id: &str, yes: &str, small: &str, whole: &str, name: &str, octets: &str| {
        let all = [
            id,
            yes,
            "-8",
            small,
            "18446744073709551615",
            "1.5",
            whole,
            "-123.45",
            name,
            "\\x005cff",
            "1969-12-31",
            "1969-12-31 23:59:59.999999",
            "1970-01-01 00:00:01+00",
            "-00:00:01.5",
            octets,
        ];
        all.map(str::to_owned).to_vec()
    };
    assert_eq!(
        found,
        [
            row("0", "t", "NULL", "NaN", text, &octets),
            row("1", "f", "65535", "NULL", "NULL", "NULL"),
            row("2", "t", "65535", "NULL", text, &octets),
        ]
    );
    // once more: rows are added
    job.run().unwrap();
    assert_eq!(db.numbers("SELECT count(*) FROM everything"), [6]);
}

#[test]
fn rows_replace_those_with_the_same_key() {
    let Some(db) = Postgres::shared() else { return };
    db.sql("CREATE TABLE balances (note text DEFAULT 'kept', account text PRIMARY KEY, amount bigint)");
    db.sql("INSERT INTO balances VALUES ('old', 'a', 1), ('old', 'z', 26)");
    let uri = db.uri("balances", "&key=account");
    let rows: Vec<Balance> = (0..20_000).map(|i| balance(["a", "b", "c"][i % 3], i as i64)).collect();
    store(&rows, &uri).unwrap();
    let found = db.sql("SELECT note, account, amount FROM balances ORDER BY account");
    let row = |note: &str, account: &str, amount: &str| [note, account, amount].map(str::to_owned).to_vec();
    assert_eq!(found, [row("old", "a", "19998"), row("kept", "b", "19999"), row("kept", "c", "19997"), row("old", "z", "26")]);
}

#[test]
fn a_job_that_ends_stores_all_or_nothing() {
    let Some(db) = Postgres::shared() else { return };
    db.sql("CREATE TABLE whole (account text UNIQUE, amount bigint CHECK (amount < 19000))");
    let rows: Vec<Balance> = (0..20_000).map(|i| balance(&format!("n{i}"), i)).collect();
    let error = refusal(&rows, &db.uri("whole", ""));
    assert!(error.contains("whole_amount_check") && error.contains("SQLSTATE 23514"), "{error}");
    assert_eq!(db.numbers("SELECT count(*) FROM whole"), [0]);
    store(&rows[..100], &db.uri("whole", "")).unwrap();
    assert_eq!(db.numbers("SELECT count(*) FROM whole"), [100]);
}

#[test]
fn what_is_refused() {
    let Some(db) = Postgres::shared() else { return };
    let one = [balance("a", 1)];
    let error = refusal(&one, &db.uri("nowhere", ""));
    assert!(error.contains("does not exist") && error.contains("create=true") && error.contains("\"amount\" bigint"), "{error}");

    db.sql("CREATE TABLE narrow (acount text, account integer NOT NULL, extra text NOT NULL, amount integer)");
    let error = refusal(&one, &db.uri("narrow", ""));
    for part in ["account", "string", "integer not null", "amount", "i64 or null", "extra", "without a default"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    db.sql("CREATE TABLE misspelt (accounts text, amount bigint)");
    assert!(refusal(&one, &db.uri("misspelt", "")).contains("missing; is it `accounts`?"));
    db.sql("CREATE TABLE strict (account text, amount bigint NOT NULL)");
    assert!(refusal(&one, &db.uri("strict", "")).contains("i64 or null"));
    db.sql("CREATE TABLE keyless (account text, amount bigint)");
    assert!(refusal(&one, &db.uri("keyless", "&key=account")).contains("CREATE UNIQUE INDEX"));
    assert!(refusal(&one, &db.uri("keyless", "&key=acount")).contains("did you mean `account`?"));
    let wrong = db.uri("keyless", "").replace("pass-of-tests", "wrong-one");
    let error = refusal(&one, &wrong);
    assert!(error.contains("password authentication failed") && !error.contains("wrong-one"), "{error}");
    let away = "postgres://sabot:pass-of-tests@127.0.0.1:1/postgres?table=t";
    let error = balances(one.to_vec()).sink("out", SinkSpec::from_uri(away).unwrap()).options(|o| o.retries = 0).run().unwrap_err();
    assert!(error.to_string().contains("cannot connect") && error.is_transient(), "{error}");
    for (uri, part) in [
        ("postgres://u:pass-of-tests@h/d", "does not name a table"),
        ("postgres://u:pass-of-tests@h/?table=t", "does not name a database"),
        ("postgres://u:pass-of-tests@h:x/d?table=t", "`x` is not a port"),
        ("postgres:d?table=t", "written behind `//`"),
        ("postgres://h/d?table=t&kez=a", "no option `kez`"),
    ] {
        let error = SinkSpec::from_uri(uri).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("pass-of-tests"), "{error}");
    }
}

/// What two processes of one job may do to each other, call by call.
#[test]
fn each_checkpoint_arrives_once_and_a_zombie_stores_nothing() {
    let Some(db) = Postgres::shared() else { return };
    let uri = db.uri("epochs_of_one", "&create=true");
    let batch = |from: i64| to_batch(&(from..from + 3).map(|n| balance("x", n)).collect::<Vec<_>>());
    let open = || SinkSpec::from_uri(&uri).unwrap().open().unwrap();
    let amounts = || db.numbers("SELECT amount FROM epochs_of_one ORDER BY amount");

    let mut first = open();
    first.two_phase().unwrap().begin(Beginning { generation: 1, from: None, savepoint: false, fenced: false }).unwrap();
    first.open(&batch(0).schema()).unwrap();
    first.write(&batch(0)).unwrap();
    let one = first.two_phase().unwrap().prepare(1, false).unwrap().finish().unwrap();
    assert!(amounts().is_empty(), "prepared is not shown");
    first.two_phase().unwrap().publish(&one).unwrap();
    first.two_phase().unwrap().publish(&one).unwrap();
    assert_eq!(amounts(), [0, 1, 2]);
    first.write(&batch(3)).unwrap();
    let two = first.two_phase().unwrap().prepare(2, false).unwrap().finish().unwrap();

    // the process is believed dead after checkpoint 2 became durable
    let mut second = open();
    second.two_phase().unwrap().begin(Beginning { generation: 2, from: Some(&two), savepoint: false, fenced: false }).unwrap();
    let error = first.two_phase().unwrap().publish(&two).unwrap_err().to_string();
    assert!(error.contains("another process (number 2) has taken over"), "{error}");
    assert_eq!(amounts(), [0, 1, 2]);
    second.two_phase().unwrap().publish(&two).unwrap();
    second.open(&batch(0).schema()).unwrap();
    assert_eq!(amounts(), [0, 1, 2, 3, 4, 5]);
    assert!(first.two_phase().unwrap().publish(&two).is_err());
    let older = open()
        .two_phase()
        .unwrap()
        .begin(Beginning { generation: 3, from: Some(&one), savepoint: false, fenced: false })
        .unwrap_err()
        .to_string();
    assert!(older.contains("rows of checkpoint 2") && older.contains("twice"), "{older}");
}
