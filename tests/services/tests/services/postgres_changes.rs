//! Changes into tables: a table has the rows that count, whoever is killed, and what is refused.

use std::time::Duration;

use sabot::connect::SinkSpec;
use sabot::operator::{Beginning, Changing, with_weights};
use sabot::prelude::*;
use sabot::record::to_batch;
use sabot::stream::Job;
use sabot_services::Postgres;

use super::ledger::{Tally, check_tally, die_at_seams, kill_after, mix, some, start, stop};

#[derive(Record, Clone, Debug, PartialEq)]
struct Sale {
    shop: Option<Str>,
    day: i64,
    amount: i64,
}

pipeline! {
    /// What each shop has sold on each day, while it is not nothing.
    pub fn totals(sales: Source<Sale>);
    sums   = sales -> key_by(shop, day) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount), sales: count() });
    totals = sums -> filter(|t| t.total != 0);
    totals -> sink;
}
pipeline! {
    /// The same without the columns that tell them apart.
    pub fn bare(sales: Source<Sale>);
    totals = sales -> key_by(shop, day) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount), mean: mean(s.amount) });
    out = totals -> select(|t| row { shop: t.shop, total: t.total, mean: t.mean? });
    out -> sink;
}
pipeline! {
    /// Totals of days, in a place that the pipeline names.
    pub fn days(sales: Source<Sale>, place: String);
    sales -> key_by(day) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) }) -> sink(to(&place).folded());
}
pipeline! {
    /// The best three sales of each day.
    pub fn best(sales: Source<Sale>);
    best = sales -> key_by(day) -> window(global(on_update)) -> top(3, desc(amount));
    best -> sink;
}

fn sale(shop: &str, day: i64, amount: i64) -> Sale {
    Sale { shop: (!shop.is_empty()).then(|| shop.into()), day, amount }
}
fn into(job: Job, stream: &str, uri: &str) -> Result<sabot::runtime::Report> {
    job.sink(stream, SinkSpec::from_uri(uri)?).options(|o| o.morsel_rows = 1).run()
}
fn rows(db: &Postgres, table: &str) -> Vec<Vec<String>> {
    db.sql(&format!("SELECT * FROM {table} ORDER BY 1 NULLS FIRST, 2"))
}
fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
}

#[test]
fn a_table_has_the_rows_that_count() {
    let Some(db) = Postgres::shared() else { return };
    let uri = db.uri("follows", "&create=true");
    let mut sales = vec![sale("a", 1, 5), sale("", 1, 3), sale("a", 2, 7), sale("b", 1, 1), sale("a", 1, 2), sale("", 1, 4)];
    into(totals(sales.clone()), "totals", &uri).unwrap();
    assert_eq!(
        rows(db, "follows"),
        [row(&["NULL", "1", "7", "2"]), row(&["a", "1", "7", "2"]), row(&["a", "2", "7", "1"]), row(&["b", "1", "1", "1"])]
    );
    // once more, over what is there
    sales.push(sale("a", 2, 1));
    into(totals(sales.clone()), "totals", &uri).unwrap();
    assert_eq!(rows(db, "follows")[2], row(&["a", "2", "8", "2"]));
    assert_eq!(rows(db, "follows").len(), 4);
    // the key may be named, in another order; other columns of the table stay as they are
    db.sql("CREATE TABLE noted (shop text, day bigint, total bigint, sales numeric(20,0), note text DEFAULT 'new')");
    db.sql("CREATE UNIQUE INDEX ON noted (shop, day) NULLS NOT DISTINCT; INSERT INTO noted VALUES ('b', 1, 9, 9, 'old'), ('z', 1, 9, 9, 'old')");
    into(totals(sales), "totals", &db.uri("noted", "&key=day,shop")).unwrap();
    let noted = rows(db, "noted");
    assert_eq!(noted[3..], [row(&["b", "1", "1", "1", "old"]), row(&["z", "1", "9", "9", "old"])]);
    assert_eq!(noted[0], row(&["NULL", "1", "7", "2", "new"]));
}

#[test]
fn a_table_that_the_pipeline_names() {
    let Some(db) = Postgres::shared() else { return };
    days(vec![sale("a", 1, 5), sale("b", 1, 3), sale("a", 2, 1)], db.uri("days", "&create=true")).run().unwrap();
    assert_eq!(rows(db, "days"), [row(&["1", "8"]), row(&["2", "1"])]);
}

#[test]
fn a_key_that_only_the_rows_prove() {
    let Some(db) = Postgres::shared() else { return };
    // which sales are the best changes; each has another amount
    db.sql("CREATE TABLE best (shop text, day bigint, amount bigint PRIMARY KEY)");
    let sales = [3, 1, 4, 15, 9, 2, 6].map(|amount| sale("a", 1, amount));
    into(best(sales.to_vec()), "best", &db.uri("best", "&key=amount")).unwrap();
    assert_eq!(db.numbers("SELECT amount FROM best ORDER BY 1"), [6, 9, 15]);
    let uri = db.uri("by_total", "&create=true&key=total");
    into(bare(vec![sale("a", 1, 5), sale("b", 1, 7), sale("b", 1, 1)]), "out", &uri).unwrap();
    assert_eq!(db.numbers("SELECT total FROM by_total ORDER BY 1"), [5, 8]);
    // two rows of one key
    let error = into(bare(vec![sale("a", 1, 6), sale("b", 1, 6)]), "out", &uri).unwrap_err().to_string();
    assert!(error.contains("two rows count that have the key `total` = 6") && error.contains("distinct(total)"), "{error}");
    // a row of the key that is there already, which the changes do not take back
    let error = into(bare(vec![sale("c", 1, 8)]), "out", &uri).unwrap_err().to_string();
    assert!(error.contains("(total) does not tell the rows of the changes apart") && error.contains("SQLSTATE 23505"), "{error}");
    assert_eq!(db.numbers("SELECT total FROM by_total ORDER BY 1"), [5, 8]);
}

#[test]
fn what_is_refused() {
    let Some(db) = Postgres::shared() else { return };
    let sales = || vec![sale("a", 1, 5)];
    let refusal = |job: Job, stream: &str, uri: &str| into(job, stream, uri).unwrap_err().to_string();
    let error = refusal(best(sales()), "best", &db.uri("none", "&create=true"));
    for part in ["by which columns the rows of the changes differ is not known", "key=a,b", "distinct(", "changelog()"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    let error = refusal(bare(sales()), "out", &db.uri("none", "&create=true&key=mean"));
    assert!(error.contains("`mean` is a float"), "{error}");
    assert!(refusal(bare(sales()), "out", &db.uri("none", "&create=true&key=totl")).contains("did you mean `total`?"));
    db.sql("CREATE TABLE changes_keyless (shop text, day bigint, total bigint, sales numeric(20,0))");
    let error = refusal(totals(sales()), "totals", &db.uri("changes_keyless", ""));
    assert!(error.contains("CREATE UNIQUE INDEX") && error.contains("NULLS NOT DISTINCT"), "{error}");
    db.sql("CREATE UNIQUE INDEX ON changes_keyless (shop, day)");
    let error = refusal(totals(sales()), "totals", &db.uri("changes_keyless", ""));
    assert!(error.contains("may be null") && error.contains("(\"shop\", \"day\") NULLS NOT DISTINCT"), "{error}");
    db.sql("CREATE TABLE blanks (shop char(10), day bigint, total bigint, sales numeric(20,0))");
    let error = refusal(totals(sales()), "totals", &db.uri("blanks", ""));
    // as they come, changes of two rows of such a key may come in any order
    let mut sink = SinkSpec::from_uri(&db.uri("none", "&key=amount")).unwrap().open().unwrap();
    sink.changes(Changing { keys: &[], ends: false }).unwrap();
    sink.endless();
    let open = sink.open(&with_weights(&to_batch(&sales()), vec![1]).unwrap().schema()).unwrap_err().to_string();
    assert!(open.contains("keep checkpoints") && open.contains("distinct(amount)"), "{open}");
    assert!(error.contains("character(10), which holds other texts to be the same"), "{error}");
}

/// Checkpoints of changes, call by call.
#[test]
fn each_checkpoint_is_applied_once() {
    let Some(db) = Postgres::shared() else { return };
    let uri = db.uri("changes_of_one", "&create=true");
    let changes = |rows: &[(i64, i64, i8)]| {
        let (sales, weights) = rows.iter().map(|(day, amount, w)| (sale("a", *day, *amount), *w)).unzip::<_, _, Vec<_>, Vec<_>>();
        with_weights(&to_batch(&sales), weights).unwrap()
    };
    let known = ["shop".to_owned(), "day".to_owned()];
    let open = || {
        let mut sink = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
        sink.changes(Changing { keys: &known, ends: false }).unwrap();
        sink
    };
    let amounts = || db.sql("SELECT day, amount FROM changes_of_one ORDER BY 1");
    let mut first = open();
    first.two_phase().unwrap().begin(Beginning { generation: 1, from: None, savepoint: false, fenced: false }).unwrap();
    first.open(&changes(&[]).schema()).unwrap();
    first.write(&changes(&[(1, 5, 1), (2, 6, 1), (1, 5, -1), (1, 7, 1)])).unwrap();
    let one = first.two_phase().unwrap().prepare(1, false).unwrap().finish().unwrap();
    assert!(amounts().is_empty(), "prepared is not shown");
    first.two_phase().unwrap().publish(&one).unwrap();
    assert_eq!(amounts(), [row(&["1", "7"]), row(&["2", "6"])]);
    first.write(&changes(&[(2, 6, -1), (1, 7, -1), (1, 8, 1), (3, 9, 1)])).unwrap();
    let two = first.two_phase().unwrap().prepare(2, false).unwrap().finish().unwrap();
    first.two_phase().unwrap().publish(&one).unwrap();
    // another process goes on, before it knows the columns
    let mut second = open();
    second.two_phase().unwrap().begin(Beginning { generation: 2, from: Some(&two), savepoint: false, fenced: false }).unwrap();
    assert!(first.two_phase().unwrap().publish(&two).unwrap_err().to_string().contains("has taken over"));
    second.two_phase().unwrap().publish(&two).unwrap();
    assert_eq!(amounts(), [row(&["1", "8"]), row(&["3", "9"])]);
    second.two_phase().unwrap().publish(&two).unwrap();
    second.open(&changes(&[]).schema()).unwrap();
    second.write(&changes(&[(1, 8, -1), (3, 9, -1)])).unwrap();
    let three = second.two_phase().unwrap().prepare(3, true).unwrap().finish().unwrap();
    second.two_phase().unwrap().publish(&three).unwrap();
    assert!(amounts().is_empty());
}

fn tally(db: &Postgres, table: &str) -> Tally {
    let row = |r: Vec<String>| {
        let n: Vec<i64> = r.iter().map(|c| c.parse().unwrap()).collect();
        (n[0], [n[1], n[2], n[3]])
    };
    db.sql(&format!("SELECT key, rows, sum, last FROM \"{table}\"")).into_iter().map(row).collect()
}

#[test]
fn a_table_follows_whoever_is_killed() {
    let Some(db) = Postgres::own("postgres-changes") else { return };
    let dir = tempfile::tempdir().unwrap();
    let sinks = ["totals", "some"].map(|s| format!("{s}={}", db.uri(s, "&create=true")));
    let args = ["tally", "--rate", "3000", "--sink", &sinks[0], "--sink", &sinks[1]];
    die_at_seams(dir.path(), &args);
    let mut before = 0;
    for life in 0..8 {
        let child = start(dir.path(), &args, None);
        if life % 4 == 3 {
            std::thread::sleep(Duration::from_millis(300));
            db.crash(Duration::from_millis(700));
        }
        kill_after(child, Duration::from_millis(300 + mix(life) % 500));
        // the table is that of a checkpoint, and goes forward
        let rows = check_tally(&tally(&db, "totals"));
        assert!(rows >= before, "{rows} numbers after {before}");
        before = rows;
    }
    let child = start(dir.path(), &args, None);
    std::thread::sleep(Duration::from_millis(700));
    db.crash(Duration::from_millis(500));
    std::thread::sleep(Duration::from_millis(900));
    stop(child);
    let totals = tally(&db, "totals");
    let rows = check_tally(&totals);
    assert_eq!(tally(&db, "some"), some(&totals));
    assert!(rows > 3_000 && rows >= before, "{rows} numbers after {before}");
}
