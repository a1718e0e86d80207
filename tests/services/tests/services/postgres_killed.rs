//! A job that writes to Postgres is killed again and again, and so is Postgres: the table has every row once.

use std::time::{Duration, Instant};

use sabot_services::Postgres;

use super::ledger::{begin, check, die_at_seams, kill_after, mix, start, stop};

fn numbers(db: &Postgres, table: &str) -> Vec<i64> {
    db.numbers(&format!("SELECT n FROM {table}"))
}

#[test]
fn every_row_once_whoever_is_killed() {
    let Some(db) = Postgres::own("postgres-killed") else { return };
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("all={}", db.uri("ledger", "&create=true"));
    let args = ["ledger", "--rate", "3000", "--sink", &sink];
    die_at_seams(dir.path(), &args);
    for life in 0..10 {
        let child = start(dir.path(), &args, None);
        if life % 4 == 3 {
            // the server goes down under the job, which tries again until it is back
            std::thread::sleep(Duration::from_millis(300));
            db.crash(Duration::from_millis(700));
        }
        kill_after(child, Duration::from_millis(200 + mix(life) % 500));
    }
    let child = start(dir.path(), &args, None);
    std::thread::sleep(Duration::from_millis(400));
    db.crash(Duration::from_millis(500));
    std::thread::sleep(Duration::from_millis(800));
    stop(child);
    let rows = check(numbers(&db, "ledger"));
    assert!(rows > 5_000, "{rows} rows");
}

/// Waits until the table has more rows than so many.
fn grown(db: &Postgres, table: &str, rows: usize) -> usize {
    let begun = Instant::now();
    loop {
        let exists = db.sql(&format!("SELECT to_regclass('{table}') IS NOT NULL")) == [["t"]];
        let found = if exists { numbers(db, table).len() } else { 0 };
        if found > rows {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{table} stays at {found} rows");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The server is away for half a minute: with `--retries 8` the job waits for it (docs/streams.md: 50 seconds), and goes on as if nothing had been. With
/// the default, it ends after a second or two with an error, and the same command continues.
#[test]
fn a_server_that_is_away_for_half_a_minute() {
    let Some(db) = Postgres::own("postgres-away") else { return };
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("all={}", db.uri("away", "&create=true"));
    let args = ["ledger", "--rate", "300", "--stats", "--sink", &sink];
    let child = begin(dir.path(), &[&args[..], &["--retries", "8"]].concat(), None);
    let before = grown(&db, "away", 100);
    db.end();
    std::thread::sleep(Duration::from_secs(30));
    db.begin();
    let after = grown(&db, "away", before + 1000);
    let said = String::from_utf8_lossy(&stop(child).stderr).into_owned();
    assert!(said.contains("attempt 1 of 8") && said.contains("attempt 6 of 8"), "{said}");
    assert!(check(numbers(&db, "away")) >= after);

    // the table is another job's: this one has ended for good
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("all={}", db.uri("impatient", "&create=true"));
    let args = ["ledger", "--rate", "300", "--sink", &sink];
    let child = begin(dir.path(), &args, None);
    let before = grown(&db, "impatient", 100);
    db.end();
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("postgres at 127.0.0.1") && !said.contains("pass-of-tests"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    db.begin();
    let child = begin(dir.path(), &args, None);
    let after = grown(&db, "impatient", before + 500);
    let said = String::from_utf8_lossy(&stop(child).stderr).into_owned();
    assert!(said.contains("continuing from checkpoint"), "{said}");
    assert!(check(numbers(&db, "impatient")) >= after);
}
