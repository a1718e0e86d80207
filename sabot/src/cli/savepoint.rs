//! `savepoint`: make, list and delete savepoints of a job, from another process; and what would become of one in a changed pipeline.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;

use super::{FAILED, print, say};
use crate::runtime::{ask_for_savepoint, delete_savepoint, savepoints};
use crate::stream::Job;
use crate::{Error, Result};

/// How long to wait for a savepoint.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the subcommand; returns the exit code.
pub(super) fn savepoint(matches: &ArgMatches) -> Result<i32> {
    let (verb, sub) = matches.subcommand().ok_or_else(|| Error::usage("which command? `create`, `list` or `delete`"))?;
    let dir = sub.get_one::<PathBuf>("checkpoint-dir").ok_or_else(|| Error::usage("`--checkpoint-dir` is missing"))?;
    let name = sub.try_get_one::<String>("name").ok().flatten().map_or("", String::as_str);
    match verb {
        "create" => {
            let wait = sub.get_one::<Duration>("wait").copied().unwrap_or(PATIENCE);
            let made = ask_for_savepoint(dir, name, sub.get_flag("stop"), wait)?;
            print(&format!("{} is checkpoint {}, {} bytes, in {}\n", made.name, made.epoch, made.bytes, made.path.display()))
        }
        "list" => list(dir, sub.get_flag("json")),
        _ => {
            delete_savepoint(dir, name)?;
            Ok(0)
        }
    }
}

fn list(dir: &Path, json: bool) -> Result<i32> {
    let (mut text, mut all, mut code) = (String::new(), Vec::new(), 0);
    for found in savepoints(dir)? {
        match found {
            Ok(s) => {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{}  checkpoint {}  {} bytes", s.name, s.epoch, s.bytes);
                all.push(s);
            }
            Err(error) => {
                say(&format!("warning: {error}"));
                code = FAILED;
            }
        }
    }
    let json = json.then(|| serde_json::to_string_pretty(&all)).transpose().map_err(|e| Error::internal(e.to_string()))?;
    print(&json.map_or(text, |json| json + "\n"))?;
    Ok(code)
}

/// Prints what would become of each step; the exit code says whether it could be restored.
pub(super) fn dry_run(job: &Job, path: &Path, may_drop: bool) -> Result<i32> {
    let check = job.check_savepoint(path)?;
    print(&check.to_string())?;
    let verdict = match (check.refused(), check.loses()) {
        (true, _) => "it cannot be restored",
        (false, true) if !may_drop => "it can only be restored with `--allow-dropped-state`",
        _ => {
            say("it can be restored");
            return Ok(0);
        }
    };
    say(verdict);
    Ok(FAILED)
}
