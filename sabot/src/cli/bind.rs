//! From options to parameters, sources and sinks; unknown names are refused with the known ones.

use std::collections::BTreeMap;

use clap::ArgMatches;

use super::args::PARAM;
use super::show;
use crate::connect::{SinkSpec, SourceSpec};
use crate::kernel::catch;
use crate::stream::{Job, Params, PipelineEntry, SourceBinding};
use crate::words::unknown;
use crate::{Error, Result};

/// `name=value` pairs of an option.
fn pairs(matches: &ArgMatches, option: &str, known: &[&str]) -> Result<Vec<(String, String)>> {
    let mut out: Vec<(String, String)> = Vec::new();
    for given in matches.get_many::<String>(option).into_iter().flatten() {
        let Some((name, value)) = given.split_once('=') else {
            let example = known.first().unwrap_or(&"name");
            return Err(Error::Usage(format!("`--{option} {given}` has no name: write `--{option} {example}=..`")));
        };
        if out.iter().any(|(n, _)| n == name) {
            return Err(Error::Usage(format!("{option} `{name}` is given twice")));
        }
        out.push((name.to_owned(), value.to_owned()));
    }
    Ok(out)
}

/// The parameters that were given, each checked against its type, and the names of those that were not.
pub(super) fn params(pipeline: &PipelineEntry, matches: &ArgMatches) -> Result<(Params, Vec<&'static str>)> {
    let names: Vec<&str> = pipeline.params.iter().map(|p| p.name).collect();
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    if !names.is_empty() {
        for (name, value) in pairs(matches, "param", &names)? {
            if !names.contains(&name.as_str()) {
                let refusal = format!("pipeline `{}` has no parameter", pipeline.name);
                return Err(Error::Usage(unknown(&refusal, &name, "its parameters are", &names)));
            }
            given.insert(name, value);
        }
    }
    for name in &names {
        if let Ok(Some(value)) = matches.try_get_one::<String>(&format!("{PARAM}{name}"))
            && given.insert((*name).to_owned(), value.clone()).is_some()
        {
            return Err(Error::Usage(format!("parameter `{name}` is given twice")));
        }
    }
    let (mut params, mut missing) = (Params::new(), Vec::new());
    for p in pipeline.params {
        match given.get(p.name) {
            Some(text) => params.set(p.name, p.parse(text)?),
            None => missing.push(p.name),
        }
    }
    Ok((params, missing))
}

/// A job with placeholders for all parameters, if there are such that it can be built with.
pub(super) fn sample(pipeline: &PipelineEntry) -> Option<Job> {
    let mut params = Params::new();
    for p in pipeline.params {
        params.set(p.name, p.placeholder()?);
    }
    job(pipeline, params).ok()
}

/// The message about parameters that were not given.
pub(super) fn missing(pipeline: &PipelineEntry, names: &[&str]) -> Error {
    let list: Vec<String> =
        pipeline.params.iter().filter(|p| names.contains(&p.name)).map(|p| format!("--{} <{}>", p.name, p.type_name)).collect();
    Error::Usage(format!("pipeline `{}` needs {}", pipeline.name, list.join(" and ")))
}

/// The job; code that builds its graph may panic on a parameter.
pub(super) fn job(pipeline: &PipelineEntry, params: Params) -> Result<Job> {
    catch(|| Job::named(pipeline.name, params))
        .unwrap_or_else(|p| Err(Error::Usage(format!("pipeline `{}` cannot be built with these parameters: it {p}", pipeline.name))))
}

/// Binds the sources that `--source` names.
pub(super) fn some_sources(mut job: Job, pipeline: &PipelineEntry, matches: &ArgMatches) -> Result<Job> {
    let all = job.source_names();
    let names: Vec<&str> = all.iter().map(|(n, _)| n.as_str()).collect();
    for (name, uri) in pairs(matches, "source", &names)? {
        if !names.contains(&name.as_str()) {
            let refusal = format!("pipeline `{}` has no source", pipeline.name);
            return Err(Error::Usage(unknown(&refusal, &name, "its sources are", &names)));
        }
        job = job.bind_source(&name, SourceBinding::Spec(SourceSpec::from_uri(&uri)?));
    }
    Ok(job)
}

/// Binds the sources that `--source` names; all must be bound then.
pub(super) fn sources(job: Job, pipeline: &PipelineEntry, matches: &ArgMatches) -> Result<Job> {
    let job = some_sources(job, pipeline, matches)?;
    let open = job.open_sources();
    if !open.is_empty() {
        let list: Vec<String> = open.iter().map(|(n, record)| format!("`--source {n}=<file of {record} rows>`")).collect();
        return Err(Error::Usage(format!("pipeline `{}` needs {}", pipeline.name, list.join(" and "))));
    }
    Ok(job)
}

/// Binds the sinks that `--sink` names. The one sink to print, if there is one: bound to `-`, or the only open one.
pub(super) fn sinks(mut job: Job, pipeline: &PipelineEntry, matches: &ArgMatches) -> Result<(Job, Option<String>)> {
    let all = job.sink_names();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut printed: Option<String> = None;
    for (name, uri) in pairs(matches, "sink", &names)? {
        if !names.contains(&name.as_str()) {
            let refusal = format!("pipeline `{}` has no sink", pipeline.name);
            return Err(Error::Usage(unknown(&refusal, &name, "its sinks are", &names)));
        }
        if uri != "-" {
            job = job.sink(&name, SinkSpec::from_uri(&uri)?);
        } else if let Some(other) = printed.replace(name.clone()) {
            return Err(Error::Usage(format!(
                "sinks `{other}` and `{name}` cannot both be printed; write one to a file: `--sink {name}=out.csv`"
            )));
        }
    }
    let open: Vec<String> = job.open_sinks().into_iter().filter(|n| Some(n) != printed.as_ref()).collect();
    match (open.as_slice(), &printed) {
        ([], _) => {}
        ([one], None) => printed = Some(one.clone()),
        (several, _) => {
            let list: Vec<String> = several.iter().map(|n| format!("`--sink {n}=out.parquet`")).collect();
            let reason = if printed.is_some() { "" } else { "; one of them may be `-`, to be printed" };
            return Err(Error::Usage(format!("pipeline `{}` needs {}{reason}", pipeline.name, list.join(" and "))));
        }
    }
    Ok((job, printed))
}

/// The pipeline that a command line names, with its parameters and sources.
pub(super) fn chosen(matches: &ArgMatches) -> Result<(Job, &'static PipelineEntry, &ArgMatches)> {
    let (pipeline, sub) = show::chosen(matches)?;
    let (params, missing) = params(pipeline, sub)?;
    if !missing.is_empty() {
        return Err(self::missing(pipeline, &missing));
    }
    Ok((sources(job(pipeline, params)?, pipeline, sub)?, pipeline, sub))
}

/// Sets the options that a command line names, of a job that may run anywhere.
pub(super) fn options(job: Job, sub: &ArgMatches, savepoint: Option<&std::path::PathBuf>) -> Job {
    use std::path::PathBuf;
    use std::time::Duration;
    job.options(|o| {
        o.spill_dir = sub.get_one::<PathBuf>("spill-dir").cloned().or(o.spill_dir.take());
        o.state_dir = sub.get_one::<PathBuf>("state-dir").cloned().or(o.state_dir.take());
        o.state_memory = sub.get_one::<usize>("state-memory").copied().unwrap_or(o.state_memory);
        o.retries = sub.get_one::<u32>("retries").copied().unwrap_or(o.retries);
        o.retry_wait = sub.get_one::<Duration>("retry-wait").copied().unwrap_or(o.retry_wait);
        o.checkpoint_dir = sub.get_one::<PathBuf>("checkpoint-dir").cloned().or(o.checkpoint_dir.take());
        o.checkpoint_every = sub.get_one::<Duration>("checkpoint-every").copied().unwrap_or(o.checkpoint_every);
        o.checkpoint_keep = sub.get_one::<u16>("checkpoint-keep").map_or(o.checkpoint_keep, |n| usize::from(*n));
        o.from_savepoint = savepoint.cloned().or(o.from_savepoint.take());
        o.allow_dropped_state |= sub.get_flag("allow-dropped-state");
    })
}
