//! The command line: one subcommand per pipeline, one option per parameter, made from the registry.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::stream::PipelineEntry;
use crate::words::unknown;
use crate::{Error, Result};

/// Options of every pipeline that is run; a parameter of such a name is given by `--param`.
pub(super) const OWN: &[&str] = &[
    "param",
    "source",
    "sink",
    "threads",
    "memory",
    "spill-dir",
    "state-dir",
    "state-memory",
    "output",
    "all",
    "stats",
    "retries",
    "retry-wait",
    "checkpoint-dir",
    "checkpoint-every",
    "checkpoint-keep",
    "from-savepoint",
    "allow-dropped-state",
    "dry-run",
    "json",
    "format",
    "help",
];

/// The prefix of a parameter's argument, apart from the tool's own.
pub(super) const PARAM: &str = "parameter:";

/// The whole command line.
pub(super) fn command(args: &[OsString], pipelines: &[&'static PipelineEntry]) -> Command {
    let name = args.first().and_then(|a| Path::new(a).file_stem()).map_or("sabot".into(), |n| n.to_string_lossy().into_owned());
    let per = |verb: &'static str, about: &'static str, own: fn(Command) -> Command| {
        let subs = pipelines.iter().map(|p| own(parameters(Command::new(p.name).about(p.doc), p, own_names(verb))));
        Command::new(verb)
            .about(about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand_value_name("PIPELINE")
            .subcommand_help_heading("Pipelines")
            .disable_help_subcommand(true)
            .subcommands(subs)
    };
    let command = Command::new(name)
        .about("Runs and explains the pipelines of this program.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(per("run", "Run a pipeline", running))
        .subcommand(per("explain", "Show a pipeline's plan: what runs, how, and why so", |c| c.arg(source()).arg(json())))
        .subcommand(per("graph", "Draw a pipeline's plan", |c| c.arg(format())))
        .subcommand(savepoint())
        .subcommand(Command::new("ops").about("List the operators").arg(json()))
        .subcommand(Command::new("pipelines").about("List the pipelines").arg(json()))
        .subcommand(
            Command::new("schema")
                .about("Print the columns of a file or a record, for `#[record(schema = \"..\")]`")
                .arg(Arg::new("of").value_name("FILE|RECORD").required(true).help("file.parquet, file.csv, or the record of a source")),
        )
        .subcommand(
            Command::new("completions")
                .about("Print a script that completes pipelines, parameters and names in a shell")
                .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(clap::value_parser!(clap_complete::Shell))),
        );
    #[cfg(feature = "cluster")]
    let command =
        super::cluster::commands(command.subcommand(per("submit", "Run a pipeline on the agents of a server", super::cluster::submitting)));
    command
}

/// The options of a verb's pipelines that are no parameters.
pub(super) fn own_names(verb: &str) -> &'static [&'static str] {
    match verb {
        #[cfg(feature = "cluster")]
        "submit" => super::cluster::OWN,
        _ => OWN,
    }
}

/// The commands about savepoints.
fn savepoint() -> Command {
    let dir = || {
        Arg::new("checkpoint-dir")
            .long("checkpoint-dir")
            .value_name("DIR")
            .required(true)
            .value_parser(clap::value_parser!(std::path::PathBuf))
            .help("The directory, or address, of the job's checkpoints")
    };
    let name = || Arg::new("name").value_name("NAME").required(true).help("The savepoint's name: letters, digits, `-`, `_` and `.`");
    Command::new("savepoint")
        .about("Make, list and delete savepoints: checkpoints that have a name and stay")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("create")
                .about("Ask the process that runs a job for a savepoint, and wait for it")
                .arg(dir())
                .arg(name())
                .arg(Arg::new("stop").long("stop").action(ArgAction::SetTrue).help("End the job with it"))
                .arg(
                    Arg::new("wait")
                        .long("wait")
                        .value_name("TIME")
                        .value_parser(span)
                        .help("How long to wait for it: 30s, 10m (the default)"),
                ),
        )
        .subcommand(Command::new("list").about("List the savepoints of a job").arg(dir()).arg(json()))
        .subcommand(Command::new("delete").about("Delete a savepoint").arg(dir()).arg(name()))
}

fn source() -> Arg {
    Arg::new("source")
        .long("source")
        .value_name("NAME=URI")
        .help("Bind a source: file.parquet, dir/, 'data/*.csv', 'csv:x.txt?delimiter=;'")
        .action(ArgAction::Append)
}
fn format() -> Arg {
    Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .help("A mermaid flowchart (the default), or an SVG drawing")
        .value_parser(["mermaid", "svg"])
}
pub(super) fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON")
}

/// The values a pipeline takes.
fn parameters(mut command: Command, pipeline: &PipelineEntry, own: &[&str]) -> Command {
    let mut args = Vec::new();
    for p in pipeline.params.iter().filter(|p| !own.contains(&p.name.replace('_', "-").as_str())) {
        let arg = Arg::new(format!("{PARAM}{}", p.name)).long(p.name).value_name(p.type_name).help_heading("Parameters");
        let dashed = p.name.replace('_', "-");
        let arg = if dashed == p.name { arg } else { arg.alias(dashed) };
        args.push(arg.num_args(1).allow_hyphen_values(true).hide_possible_values(true));
    }
    let list = pipeline.params.iter().map(|p| format!("{}: {}", p.name, p.type_name)).collect::<Vec<_>>().join(", ");
    if !list.is_empty() {
        let help = format!("A parameter ({list})");
        let arg = Arg::new("param").long("param").value_name("NAME=VALUE").action(ArgAction::Append).help(help);
        args.push(arg.allow_hyphen_values(true).help_heading("Parameters"));
    }
    command = command.args(args);
    command
}

fn valued(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// What only `run` takes.
fn running(command: Command) -> Command {
    kept(command)
        .arg(
            valued(
                "sink",
                "NAME=URI",
                "Bind a sink: out.parquet, out.csv, out.jsonl, out.arrow, a directory (out/, csv:out/), blackhole:, or - to print",
            )
            .action(ArgAction::Append),
        )
        .arg(valued("threads", "N", "Worker threads; 0 for all cores").value_parser(clap::value_parser!(usize)))
        .arg(
            valued("memory", "BYTES", "About what the job may use: 500M, 8G; aggregates, joins and sorts spill to disk beyond it")
                .value_parser(bytes),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .requires("from-savepoint")
                .help("Only print what would be carried over from the savepoint, dropped or refused"),
        )
        .arg(
            valued("output", "FORMAT", "How to print rows; by default a table on a terminal, else CSV")
                .value_parser(["table", "csv", "json", "arrow"]),
        )
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Print all rows of a table, not only the first"))
        .arg(Arg::new("stats").long("stats").action(ArgAction::SetTrue).help("Print row counts per step and work per thread"))
}

/// What a job takes wherever it runs.
pub(super) fn kept(command: Command) -> Command {
    command
        .arg(source())
        .arg(
            valued("spill-dir", "DIR", "Where to spill; by default the system's directory for temporary files")
                .value_parser(clap::value_parser!(std::path::PathBuf)),
        )
        .arg(
            valued("state-dir", "DIR", "Keep the states of keyed steps on disk, in here; needs the feature `fjall`")
                .value_parser(clap::value_parser!(std::path::PathBuf)),
        )
        .arg(
            valued("state-memory", "BYTES", "What states on disk may use of memory, about: 64M, 1G; 256M by default")
                .value_parser(bytes)
                .requires("state-dir"),
        )
        .arg(
            valued("retries", "N", "How often to read or write again after a transient error (a lost connection, a timeout); 3 by default")
                .value_parser(clap::value_parser!(u32)),
        )
        .arg(valued("retry-wait", "TIME", "The wait before the first of these, doubled for each further one: 200ms, 5s").value_parser(span))
        .arg(
            valued(
                "checkpoint-dir",
                "DIR",
                "Keep checkpoints in this directory or object store (s3://bucket/path), and continue from the newest one: nothing is lost or repeated if the process dies",
            )
            .value_parser(clap::value_parser!(std::path::PathBuf)),
        )
        .arg(
            valued("checkpoint-every", "TIME", "The time between checkpoints: 500ms, 10s (the default), 5m")
                .value_parser(span)
                .requires("checkpoint-dir"),
        )
        .arg(
            valued("checkpoint-keep", "N", "How many checkpoints stay; 3 by default")
                .value_parser(clap::value_parser!(u16).range(1..))
                .requires("checkpoint-dir"),
        )
        .arg(
            valued(
                "from-savepoint",
                "NAME|FILE",
                "Begin with a savepoint, of this directory of checkpoints or a file; steps and parameters may differ from the savepoint's",
            )
            .requires("checkpoint-dir"),
        )
        .arg(
            Arg::new("allow-dropped-state")
                .long("allow-dropped-state")
                .action(ArgAction::SetTrue)
                .requires("from-savepoint")
                .help("Restore the savepoint although it holds state of steps that are gone"),
        )
}

/// `4096`, `500M`, `8G`: powers of 1024.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let upper = text.trim().to_ascii_uppercase();
    let upper = upper.trim_end_matches('B').trim_end_matches('I');
    let digits = upper.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match upper.get(digits.len()..) {
        Some("") => 0,
        Some("K") => 10,
        Some("M") => 20,
        Some("G") => 30,
        Some("T") => 40,
        _ => return Err("write a number of bytes, such as 500M or 8G".into()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| "write a number of bytes, such as 500M or 8G".to_owned())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes >= 1.0 && bytes < usize::MAX as f64 { Ok(bytes as usize) } else { Err("it must be at least 1 byte".into()) }
}

/// `200ms`, `5s`, `1m`.
pub(super) fn span(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "write a time such as 200ms, 5s or 1m".to_owned();
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let millis = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s") => 1000,
        Some("m" | "min") => 60_000,
        Some("h") => 3_600_000,
        Some("d") => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(millis).map(std::time::Duration::from_millis).ok_or_else(wrong)
}

/// What clap refused. Unknown pipelines and parameters get a message of our own, the rest is printed as clap says it.
pub(super) fn refuse(args: &[OsString], error: &clap::Error) -> Result<i32> {
    let verb = args.get(1).and_then(|a| a.to_str()).unwrap_or_default();
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(s)) => s.clone(),
        _ => String::new(),
    };
    if ["run", "explain", "graph"].contains(&verb) || (cfg!(feature = "cluster") && verb == "submit") {
        match error.kind() {
            ErrorKind::InvalidSubcommand => {
                return crate::stream::pipeline_named(&word(ContextKind::InvalidSubcommand)).map(|_| super::USAGE);
            }
            ErrorKind::UnknownArgument => {
                let given = word(ContextKind::InvalidArg);
                let pipeline = args.get(2).and_then(|a| a.to_str()).and_then(|n| crate::stream::pipeline_named(n).ok());
                let own: &[&str] = match verb {
                    "run" | "submit" => own_names(verb),
                    "explain" => &["param", "source", "json", "help"],
                    _ => &["param", "format", "help"],
                };
                if let (Some(pipeline), Some(name)) = (pipeline, given.strip_prefix("--")) {
                    let all: Vec<String> =
                        pipeline.params.iter().map(|p| p.name).chain(own.iter().copied()).map(|n| format!("--{n}")).collect();
                    let known: Vec<&str> = all.iter().map(String::as_str).collect();
                    let refusal = format!("`{verb} {}` has no option", pipeline.name);
                    return Err(Error::Usage(unknown(&refusal, &format!("--{name}"), "its options are", &known)));
                }
            }
            _ => {}
        }
    }
    // Nobody to tell if this fails.
    let _ = error.print();
    Ok(error.exit_code())
}
