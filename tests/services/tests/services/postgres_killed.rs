//! A job that writes to Postgres is killed again and again, and so is Postgres: the table has every row once.

use std::time::Duration;

use sabot_services::Postgres;

use super::ledger::{check, die_at_seams, kill_after, mix, start, stop};

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
