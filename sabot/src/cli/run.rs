//! `run`: a pipeline with its parameters, sources and sinks, to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use clap::ArgMatches;

use super::interrupt::Interrupts;
use super::meter::Meter;
use super::stdout::{Format, StdoutSink};
use super::{INTERRUPTED, bind, savepoint, say, stats};
use crate::runtime::{Checkpoint, Control, find_savepoint, newest_checkpoint};
use crate::stream::Sink;
use crate::{Error, Result};

/// Runs; returns the exit code.
pub(super) fn run(matches: &ArgMatches) -> Result<i32> {
    let (job, pipeline, sub) = bind::chosen(matches)?;
    let kept = sub.get_one::<std::path::PathBuf>("checkpoint-dir");
    let savepoint = sub.get_one::<String>("from-savepoint").map(|name| find_savepoint(kept.map(|d| d.as_path()), name)).transpose()?;
    if let Some(path) = savepoint.as_ref().filter(|_| sub.get_flag("dry-run")) {
        return savepoint::dry_run(&job, path, sub.get_flag("allow-dropped-state"));
    }
    let (mut job, printed) = bind::sinks(job, pipeline, sub)?;
    let endless = job.may_be_endless();
    let reader_gone = Arc::new(AtomicBool::new(false));
    match &printed {
        Some(name) => {
            let format = Format::choose(sub.get_one::<String>("output").map(String::as_str), sub.get_flag("all"), endless);
            let gone = Arc::clone(&reader_gone);
            job = job.sink(name, Sink::custom(move || Ok(StdoutSink::new(format, Arc::clone(&gone)))));
        }
        None if sub.contains_id("output") => {
            return Err(Error::usage(
                "`--output` says how rows are printed, but every sink is bound to a file: use `--sink name=-` to print one",
            ));
        }
        None => {}
    }
    let meter = Meter::new();
    let job = bind::options(job, sub, savepoint.as_ref()).options(|o| {
        o.threads = sub.get_one::<usize>("threads").copied().unwrap_or(o.threads);
        o.memory_budget = sub.get_one::<usize>("memory").copied().or(o.memory_budget);
        o.progress = meter.as_ref().map(Meter::hook);
    });
    if let Some(dir) = kept {
        let newest = newest_checkpoint(dir)?;
        let first = savepoint.as_ref().map(|path| Ok::<_, Error>((path, Checkpoint::read_file(path)?.epoch))).transpose()?;
        match (first, newest) {
            (Some((path, epoch)), newest) if newest.is_none_or(|n| n <= epoch) => {
                say(&format!("starting from savepoint {}", path.display()))
            }
            (_, Some(number)) => say(&format!("continuing from checkpoint {number} in {}", dir.display())),
            (_, None) => {}
        }
    }
    let control = Control::new();
    let interrupts = Interrupts::listen(&control, endless);
    let result = job.run_with(&control);
    if let Some(meter) = &meter {
        meter.clear();
    }
    let report = match result {
        Err(_) if reader_gone.load(SeqCst) => return Ok(0),
        Err(Error::Suspended(name)) => {
            say(&format!("stopped with savepoint `{name}`: the same command goes on from it"));
            return Ok(0);
        }
        Err(Error::Cancelled) if interrupts.any() => {
            match kept {
                Some(_) => say("cancelled: the same command continues from the last checkpoint"),
                None => say("cancelled: nothing was written to the sinks"),
            }
            return Ok(INTERRUPTED);
        }
        other => other?,
    };
    stats::losses(&report).iter().for_each(|line| say(line));
    if sub.get_flag("stats") {
        say(stats::stats(&report).trim_end());
    }
    Ok(0)
}
