//! Results against DuckDB's: builds the programs and runs `duckdb/compare.py`.

use std::path::Path;
use std::process::Command;

#[test]
fn same_results_as_duckdb() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let questions = Path::new(env!("CARGO_BIN_EXE_questions"));
    let bin = questions.parent().ok_or("a program in no directory")?;
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(&root).args(["build", "-q", "-p", "sabot-examples", "--bin", "flight_delays", "--example", "daily_drag"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status()?.success(), "the examples do not build");
    let script = root.join("tests/duckdb/compare.py");
    let skip = match Command::new("python3").arg(script).arg("--bin").arg(bin).output() {
        Err(e) => format!("python3 cannot be run: {e}"),
        Ok(done) if done.status.code() == Some(3) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Ok(done) => {
            let out = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{out}{}", String::from_utf8_lossy(&done.stderr));
            println!("{out}");
            return Ok(());
        }
    };
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{skip}");
    println!("skipped: {skip}");
    Ok(())
}
