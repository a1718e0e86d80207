//! `run`: a pipeline with its parameters, sources and sinks, to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use clap::ArgMatches;

use super::interrupt::Interrupts;
use super::meter::Meter;
use super::stdout::{Format, StdoutSink};
use super::{INTERRUPTED, bind, savepoint, say, show, stats};
use crate::runtime::{Checkpoint, Control, find_savepoint, newest_checkpoint};
use crate::stream::Sink;
use crate::{Error, Result};

/// Runs; returns the exit code.
pub(super) fn run(matches: &ArgMatches) -> Result<i32> {
    let (pipeline, sub) = show::chosen(matches)?;
    let (params, missing) = bind::params(pipeline, sub)?;
    if !missing.is_empty() {
        return Err(bind::missing(pipeline, &missing));
    }
    let job = bind::job(pipeline, params)?;
    let job = bind::sources(job, pipeline, sub)?;
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
    let job = job.options(|o| {
        o.threads = sub.get_one::<usize>("threads").copied().unwrap_or(o.threads);
        o.spill_dir = sub.get_one::<std::path::PathBuf>("spill-dir").cloned().or(o.spill_dir.take());
        o.state_dir = sub.get_one::<std::path::PathBuf>("state-dir").cloned().or(o.state_dir.take());
        o.state_memory = sub.get_one::<usize>("state-memory").copied().unwrap_or(o.state_memory);
        o.memory_budget = sub.get_one::<usize>("memory").copied().or(o.memory_budget);
        o.retries = sub.get_one::<u32>("retries").copied().unwrap_or(o.retries);
        o.retry_wait = sub.get_one::<std::time::Duration>("retry-wait").copied().unwrap_or(o.retry_wait);
        o.checkpoint_dir = sub.get_one::<std::path::PathBuf>("checkpoint-dir").cloned().or(o.checkpoint_dir.take());
        o.checkpoint_every = sub.get_one::<std::time::Duration>("checkpoint-every").copied().unwrap_or(o.checkpoint_every);
        o.checkpoint_keep = sub.get_one::<u16>("checkpoint-keep").map_or(o.checkpoint_keep, |n| usize::from(*n));
        o.from_savepoint = savepoint.clone().or(o.from_savepoint.take());
        o.allow_dropped_state |= sub.get_flag("allow-dropped-state");
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
