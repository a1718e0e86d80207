//! The command line tool: what it prints, where, and its exit codes. Drives a real program, `src/bin/tool.rs`.

#![allow(clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[cfg(unix)]
#[path = "cli/killed.rs"]
mod killed;

type Any = Result<(), Box<dyn std::error::Error>>;

fn tool(args: &[&str]) -> Output {
    match Command::new(env!("CARGO_BIN_EXE_tool")).args(args).output() {
        Ok(output) => output,
        Err(e) => std::panic::panic_any(format!("cannot run the tool: {e}")),
    }
}
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
/// Fails with this exit code, nothing on standard output, and one message that holds all of these words.
fn fails(code: i32, args: &[&str], words: &[&str]) {
    let output = tool(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{args:?}: no `{word}` in: {error}");
    }
    assert!(error.starts_with("error: "), "{error}");
    assert!(!error.contains("Error {") && !error.contains("stack backtrace") && !error.contains("thread '"), "a debug dump: {error}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}
fn prints(args: &[&str]) -> String {
    let output = tool(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}
fn flights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/nycflights13/flights.parquet")
}
fn file(dir: &tempfile::TempDir, name: &str, contents: &str) -> std::io::Result<String> {
    let path = dir.path().join(name);
    std::fs::write(&path, contents)?;
    Ok(path.display().to_string())
}

const READINGS: &str = "sensor,value\nleft,1.5\nright,20\nleft,30.25\n";

#[test]
fn names_that_do_not_exist() -> Any {
    let dir = tempfile::tempdir()?;
    let source = format!("readings={}", file(&dir, "r.csv", READINGS)?);
    fails(2, &["run", "lrage"], &["no pipeline `lrage`", "did you mean `large`?", "`ratios`"]);
    fails(2, &["explain", "xyzzy"], &["no pipeline `xyzzy`", "`large`"]);
    fails(
        2,
        &["run", "large", "--minimum", "1", "--source", &source.replace("readings", "raedings")],
        &["no source `raedings`", "did you mean `readings`?"],
    );
    fails(
        2,
        &["run", "large", "--minimum", "1", "--source", &source, "--sink", "lagre=out.csv"],
        &["no sink `lagre`", "did you mean `large`?"],
    );
    fails(
        2,
        &["run", "large", "--minimun", "1", "--source", &source],
        &["no option `--minimun`", "did you mean `--minimum`?", "`--source`"],
    );
    fails(2, &["run", "large", "--param", "minimun=1", "--source", &source], &["no parameter `minimun`", "did you mean `minimum`?"]);
    assert_eq!(tool(&["rum"]).status.code(), Some(2));
    Ok(())
}

#[test]
fn parameters() -> Any {
    let dir = tempfile::tempdir()?;
    let source = format!("readings={}", file(&dir, "r.csv", READINGS)?);
    fails(2, &["run", "large", "--source", &source], &["pipeline `large` needs --minimum <f64>"]);
    fails(2, &["run", "large", "--minimum", "many", "--source", &source], &["parameter `minimum`", "`f64`", "`many`"]);
    fails(2, &["run", "large", "--minimum", "1", "--param", "minimum=2", "--source", &source], &["`minimum` is given twice"]);
    fails(2, &["run", "large", "--minimum", "1"], &["needs `--source readings=<file of Reading rows>`"]);
    fails(2, &["run", "large", "--minimum", "1", "--source", "r.csv"], &["has no name", "--source readings=.."]);
    assert_eq!(prints(&["run", "large", "--minimum", "20", "--source", &source]), "sensor,value\nright,20.0\nleft,30.25\n");
    assert_eq!(prints(&["run", "large", "--param", "minimum=-5", "--source", &source]).lines().count(), 4);
    assert_eq!(prints(&["run", "large", "--minimum", "-5e0", "--source", &source]).lines().count(), 4);
    fails(2, &["run", "sized", "--seconds", "0", "--source", "numbers=x.csv"], &["`sized`: a window needs a positive size, not 0"]);
    Ok(())
}

#[test]
fn secrets_are_not_shown() -> Any {
    let dir = tempfile::tempdir()?;
    let source = format!("readings={}", file(&dir, "r.csv", READINGS)?);
    fails(2, &["run", "guarded", "--token", "hunter2", "--source", &source], &["parameter `token`", "Secret", "not shown"]);
    let output = tool(&["run", "guarded", "--token", "4711", "--source", &source, "--stats"]);
    assert_eq!(output.status.code(), Some(0));
    for output in [output, tool(&["run", "guarded", "--token", "hunter2"]), tool(&["explain", "guarded", "--token", "4711"])] {
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains("hunter2") && !all.contains("4711"), "{all}");
    }
    Ok(())
}

#[test]
fn files_that_do_not_fit() -> Any {
    let dir = tempfile::tempdir()?;
    fails(1, &["run", "miles", "--source", "flights=nowhere.parquet"], &["nowhere.parquet", "cannot open"]);
    let bytes = std::fs::read(flights())?;
    let cut = dir.path().join("cut.parquet");
    std::fs::write(&cut, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    fails(1, &["run", "miles", "--source", &format!("flights={}", cut.display())], &["cut.parquet", "cut off", "copy it again"]);
    let fake = file(&dir, "fake.parquet", "carrier,distance\n")?;
    fails(1, &["run", "miles", "--source", &format!("flights={fake}")], &["fake.parquet", "not a Parquet file"]);
    let wrong = file(&dir, "wrong.csv", "carrier,distnace\nAA,12\n")?;
    fails(1, &["run", "miles", "--source", &format!("flights={wrong}")], &["wrong.csv", "`Flight`", "distance", "is it `distnace`?"]);
    let readings = format!("readings={}", flights().display());
    fails(1, &["run", "large", "--minimum", "1", "--source", &readings], &["flights.parquet", "`Reading`", "sensor"]);
    fails(2, &["run", "miles", "--source", "flights=table.xlsx"], &["table.xlsx", "*.parquet"]);
    Ok(())
}

#[test]
fn bad_lines() -> Any {
    let dir = tempfile::tempdir()?;
    let bad = file(&dir, "bad.csv", "sensor,value\nleft,1.5\nright,warm\nleft,3\n")?;
    fails(
        1,
        &["run", "hot", "--sink", "doubled=blackhole:", "--source", &format!("readings={bad}")],
        &["bad.csv:3:7", "`value`", "`warm`", "f64"],
    );
    let output = tool(&["run", "hot", "--source", &format!("readings=csv:{bad}?on_bad_line=skip")]);
    assert_eq!(text(&output.stdout), "sensor,value,double\nleft,1.5,3.0\nleft,3.0,6.0\n");
    assert!(text(&output.stderr).contains("1 of 3 rows could not be used"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    Ok(())
}

#[test]
fn operators_that_fail() -> Any {
    let dir = tempfile::tempdir()?;
    let hot = format!("readings={}", file(&dir, "hot.csv", "sensor,value\nleft,1\nright,2\nleft,400\n")?);
    let sink = ["--sink", "doubled=blackhole:"];
    fails(
        1,
        &["run", "hot", sink[0], sink[1], "--source", &hot],
        &["fragile", "hot/doubled/run", "panicked: value 400 is too hot", "row 2", "`readings`"],
    );
    let zero = format!("pairs={}", file(&dir, "zero.csv", "a,b\n1,\n7,2\n8,0\n")?);
    fails(1, &["run", "ratios", "--sink", "ratios=blackhole:", "--source", &zero], &["divided", "divide by zero", "row 2"]);
    let nulls = format!("pairs={}", file(&dir, "nulls.csv", "a,b\n1,\n7,2\n8,NA\n")?);
    assert_eq!(prints(&["run", "ratios", "--source", &nulls]), "ratio\nNA\n3\nNA\n");
    Ok(())
}

#[test]
fn sinks() -> Any {
    let dir = tempfile::tempdir()?;
    let source = format!("readings={}", file(&dir, "r.csv", READINGS)?);
    fails(2, &["run", "two", "--source", &source], &["--sink low=", "--sink high=", "`-`"]);
    fails(2, &["run", "two", "--source", &source, "--sink", "low=-", "--sink", "high=-"], &["cannot both be printed"]);
    let low = dir.path().join("low.csv");
    let out =
        prints(&["run", "two", "--source", &source, "--sink", &format!("low={}", low.display()), "--sink", "high=-", "--output", "json"]);
    assert_eq!(out, "{\"sensor\":\"right\",\"value\":20.0}\n{\"sensor\":\"left\",\"value\":30.25}\n");
    assert_eq!(std::fs::read_to_string(&low)?, "sensor,value\nleft,1.5\n");
    fails(
        1,
        &["run", "large", "--minimum", "1", "--source", &source, "--sink", "large=/nowhere/at/all.csv"],
        &["/nowhere/at/all.csv", "create its directory"],
    );
    fails(2, &["run", "large", "--minimum", "1", "--source", &source, "--sink", "large=out.xlsx"], &["out.xlsx", "*.parquet"]);
    fails(
        2,
        &["run", "large", "--minimum", "1", "--source", &source, "--sink", "large=x.csv", "--output", "csv"],
        &["--output", "--sink name=-"],
    );
    Ok(())
}

#[test]
fn tables() -> Any {
    let dir = tempfile::tempdir()?;
    let rows: String = (0..100).map(|n| format!("s{n},{n}\n")).collect();
    let source = format!("readings={}", file(&dir, "r.csv", &format!("sensor,value\n{rows}"))?);
    let table = prints(&["run", "large", "--minimum", "1", "--source", &source, "--output", "table"]);
    assert_eq!(table.lines().count(), 2 + 40 + 1, "{table}");
    assert!(table.ends_with("… 59 more rows (`--all` shows them)\n"), "{table}");
    let table = prints(&["run", "large", "--minimum", "1", "--source", &source, "--output", "table", "--all"]);
    assert_eq!(table.lines().count(), 2 + 99);
    assert!(table.contains("s99     99.000"), "{table}");
    let arrow = tool(&["run", "large", "--minimum", "1", "--source", &source, "--output", "arrow"]);
    assert_eq!(arrow.stdout.get(..4), Some(&[0xff; 4][..]));
    Ok(())
}

#[test]
fn a_full_disk() -> Any {
    let dir = tempfile::tempdir()?;
    let target = dir.path().display().to_string();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", &target]).output();
    if !mounted.as_ref().is_ok_and(|o| o.status.success()) {
        println!("skipped: a small tmpfs cannot be mounted here: {mounted:?}");
        return Ok(());
    }
    let rows: String = (0..50_000).map(|n| format!("sensor {n},{n}\n")).collect();
    let elsewhere = tempfile::tempdir()?;
    let source = format!("readings={}", file(&elsewhere, "r.csv", &format!("sensor,value\n{rows}"))?);
    for name in ["out.csv", "out.jsonl", "out.arrow", "out.parquet"] {
        let sink = format!("large={target}/{name}");
        fails(
            1,
            &["run", "large", "--minimum", "0", "--source", &source, "--sink", &sink],
            &[name, "cannot write", "free some space", "No space left"],
        );
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0, "a failed job leaves nothing behind");
    }
    let unmounted = Command::new("umount").arg(&target).status()?;
    assert!(unmounted.success());
    Ok(())
}

#[test]
fn ends_that_do_not_come() {
    fails(2, &["run", "lie", "--sink", "sorted=blackhole:"], &["source `numbers`", "declared to end", "never ends"]);
}

#[test]
fn plans_and_listings() -> Any {
    let output = tool(&["explain", "large"]);
    assert!(text(&output.stdout).contains("source readings: Reading (bounded)"));
    assert!(text(&output.stderr).contains("placeholders") && text(&output.stderr).contains("minimum = 1"));
    assert!(prints(&["explain", "large", "--minimum", "2"]).contains("filter r.value >= minimum"));
    let plan: serde_json::Value = serde_json::from_str(&prints(&["explain", "miles", "--json"]))?;
    assert_eq!(plan.get("pipeline").and_then(|p| p.as_str()), Some("miles"));
    assert!(prints(&["graph", "miles"]).starts_with("flowchart LR\n"));
    assert!(prints(&["ops"]).contains("fragile(value: f64) -> f64"));
    let ops: serde_json::Value = serde_json::from_str(&prints(&["ops", "--json"]))?;
    assert_eq!(ops.as_array().map(Vec::len), Some(3));
    assert!(
        prints(&["pipelines"]).contains("large(readings: Source<Reading, Bounded>, minimum: f64)\n    Readings of at least a minimum.")
    );
    let pipelines: serde_json::Value = serde_json::from_str(&prints(&["pipelines", "--json"]))?;
    assert_eq!(pipelines.as_array().map(Vec::len), Some(12));
    assert!(prints(&["run", "large", "--help"]).contains("--minimum <f64>"));
    assert!(prints(&["--help"]).contains("explain"));
    assert_eq!(tool(&[]).status.code(), Some(2));
    Ok(())
}

#[test]
fn statistics() -> Any {
    let output = tool(&["run", "miles", "--source", &format!("flights={}", flights().display()), "--threads", "2", "--stats"]);
    let stats = text(&output.stderr);
    assert!(stats.contains("miles/flights/source") && stats.contains("336776") && stats.contains("busy ms"), "{stats}");
    assert_eq!(text(&output.stdout).lines().count(), 17);
    fails(
        1,
        &["run", "miles", "--source", &format!("flights={}", flights().display()), "--sink", "miles=blackhole:", "--memory", "1"],
        &["--memory", "miles/"],
    );
    fails_by_clap(&["run", "miles", "--memory", "lots"], "500M or 8G");
    Ok(())
}
#[cfg(not(feature = "fjall"))]
#[test]
fn state_on_disk_needs_a_feature() {
    let flights = format!("flights={}", flights().display());
    fails(2, &["run", "miles", "--source", &flights, "--state-dir", "/tmp"], &["`--state-dir`", "without the feature `fjall`"]);
    fails_by_clap(&["run", "miles", "--state-memory", "1M"], "--state-dir");
}

fn fails_by_clap(args: &[&str], word: &str) {
    let output = tool(args);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[test]
fn interrupts() -> Any {
    let child = Command::new(env!("CARGO_BIN_EXE_tool")).args(["run", "forever"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    assert!(killed.success());
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(0), "an endless job ends by Ctrl-C: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("stopping"));
    assert!(text(&output.stdout).lines().count() > 3, "{}", text(&output.stdout));
    Ok(())
}

#[cfg(unix)]
#[test]
fn an_interrupt_cancels_what_ends_by_itself() -> Any {
    let dir = tempfile::tempdir()?;
    let rows: String = (0..300).map(|n| format!("s,{n}\n")).collect();
    let source = format!("readings={}", file(&dir, "r.csv", &format!("sensor,value\n{rows}"))?);
    let sink = dir.path().join("out.csv");
    let args = ["run", "slowly", "--source", &source, "--sink", &format!("out={}", sink.display())];
    let child = Command::new(env!("CARGO_BIN_EXE_tool")).args(args).stderr(Stdio::piped()).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cancelled"), "{}", text(&output.stderr));
    assert!(!sink.exists(), "a part of a result would look whole");
    Ok(())
}

#[test]
fn a_reader_that_goes_away() -> Any {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_tool")).args(["run", "forever"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    Ok(())
}

#[test]
fn schemas_of_files_and_records() -> Any {
    let fields = |printed: &str| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let json: serde_json::Value = serde_json::from_str(printed)?;
        let all = json.get("fields").and_then(|f| f.as_array()).ok_or("no fields")?;
        let text =
            |f: &serde_json::Value, k: &str| f.get(k).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default();
        Ok(all.iter().map(|f| format!("{} {} {}", text(f, "name"), text(f, "type"), text(f, "nullable"))).collect())
    };
    // the record is checked against this file when the program is compiled
    assert_eq!(
        prints(&["schema", "Reading"]),
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/reading.json"))?
    );
    let parquet = fields(&prints(&["schema", &flights().display().to_string()]))?;
    assert!(
        parquet.contains(&"dep_delay Int64 true".to_owned()) && parquet.iter().any(|f| f.starts_with("time_hour Timestamp")),
        "{parquet:?}"
    );
    let dir = tempfile::tempdir()?;
    let rows = (0..5000).map(|i| format!("{i},{}.5,{},2013-01-0{},2013-01-01T00:00:0{}Z,x{i}\n", i, i % 2 == 0, i % 9 + 1, i % 9));
    let text = format!("n,x,b,d,t,s\n{}7,,,,,\n", rows.collect::<String>());
    let csv = fields(&prints(&["schema", &file(&dir, "all.csv", &text)?]))?;
    assert_eq!(csv, ["n Int64 false", "x Float64 true", "b Boolean true", "d Date32 true", "t Timestamp(µs) true", "s Utf8 true"]);
    // a value that only comes late decides all the same
    let late = fields(&prints(&["schema", &file(&dir, "late.csv", &format!("n\n{}1.5\n", "1\n".repeat(9000)))?]))?;
    assert_eq!(late, ["n Float64 false"]);
    fails(2, &["schema", "Raeding"], &["no source of this program has the record `Raeding`", "did you mean `Reading`?"]);
    fails(1, &["schema", "missing.parquet"], &["missing.parquet"]);
    Ok(())
}

#[test]
fn explained_and_drawn() -> Any {
    let source = format!("flights={}", flights().display());
    assert!(prints(&["explain", "miles", "--source", &source]).contains("flights/source: per thread; at most 336776 rows"));
    assert!(prints(&["graph", "miles", "--format", "svg"]).starts_with("<svg xmlns="));
    fails(2, &["explain", "miles", "--source", "fligths=x.csv"], &["no source `fligths`", "did you mean `flights`?"]);
    Ok(())
}

/// What bash offers for a line, by the script that the tool prints.
fn offered(script: &Path, words: &[&str]) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let line = words.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(" ");
    let last = words.len() - 1;
    let program = format!(
        "compopt() {{ echo nospace; }}; source '{}'; COMP_WORDS=({line}); COMP_CWORD={last}; \
         f=$(complete -p tool | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f tool \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        last - 1
    );
    let output = Command::new("bash").args(["--norc", "-c", &program]).output()?;
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    Ok(text(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn completions() -> Any {
    let dir = tempfile::tempdir()?;
    let path = PathBuf::from(file(&dir, "tool.bash", &prints(&["completions", "bash"]))?);
    assert!(Command::new("bash").arg("-n").arg(&path).status()?.success());
    assert_eq!(offered(&path, &["tool", "expl"])?, ["explain"]);
    assert_eq!(offered(&path, &["tool", "run", "lar"])?, ["large"]);
    assert_eq!(offered(&path, &["tool", "run", "large", "--mini"])?, ["--minimum"]);
    assert_eq!(offered(&path, &["tool", "run", "large", "--source", "re"])?, ["nospace", "readings="]);
    assert_eq!(offered(&path, &["tool", "run", "two", "--sink", ""])?, ["low=", "high="]);
    assert_eq!(offered(&path, &["tool", "graph", "large", "--format", "s"])?, ["svg"]);
    for shell in ["zsh", "fish"] {
        let script = prints(&["completions", shell]);
        assert!(script.contains("large") && script.contains("minimum") && script.contains("readings="), "{shell}: {script}");
    }
    fails_with(&["completions", "csh"], "bash");
    Ok(())
}

/// Refused by clap itself, which names the possible values.
fn fails_with(args: &[&str], word: &str) {
    let output = tool(args);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
}
