//! The command lines.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::cli::args::{bytes, json, kept, span};

/// Options of every pipeline that is submitted; a parameter of such a name is given by `--param`.
pub(in crate::cli) const OWN: &[&str] = &[
    "param",
    "source",
    "sink",
    "parallelism",
    "name",
    "server",
    "token-file",
    "tls-ca",
    "tls-cert",
    "tls-key",
    "restarts",
    "wait",
    "memory",
    "spill-dir",
    "state-dir",
    "state-memory",
    "retries",
    "retry-wait",
    "checkpoint-dir",
    "checkpoint-every",
    "checkpoint-keep",
    "from-savepoint",
    "allow-dropped-state",
    "json",
    "help",
];

fn valued(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}
fn file(name: &'static str, help: &'static str) -> Arg {
    valued(name, "FILE", help).value_parser(value_parser!(PathBuf))
}
fn token() -> Arg {
    valued("token-file", "FILE", "A file whose first line is the cluster's token; else the variable SABOT_TOKEN")
        .value_parser(value_parser!(PathBuf))
}
fn asking(command: Command) -> Command {
    let help = "The server: host:port, or several with commas; else the variable SABOT_SERVER, else 127.0.0.1:7480";
    command
        .arg(valued("server", "ADDRESS", help))
        .arg(token())
        .arg(file("tls-ca", "Ask over TLS, and trust this authority's certificate, in PEM; else the variable SABOT_TLS_CA"))
        .arg(file("tls-cert", "A certificate to show, in PEM, where the server has no token").requires("tls-key"))
        .arg(file("tls-key", "The key of that certificate, in PEM").requires("tls-cert"))
}

/// What `submit` takes of a pipeline, beside its parameters.
pub(in crate::cli) fn submitting(command: Command) -> Command {
    asking(kept(command))
        .arg(
            valued("sink", "NAME=URI", "Bind a sink: out.parquet, out.csv, out.jsonl, out.arrow, a directory (out/, csv:out/), blackhole:")
                .action(ArgAction::Append),
        )
        .arg(
            valued("parallelism", "N", "Instances of each parallel step, and slots of the job; by default all free slots")
                .value_parser(value_parser!(u16).range(1..)),
        )
        .arg(valued("name", "NAME", "A name for the job; by default the pipeline's"))
        .arg(valued("memory", "BYTES", "About what the job may use on each agent: 500M, 8G; it spills beyond it").value_parser(bytes))
        .arg(
            valued("restarts", "N", "How often it is started again after something failed, until it fails; 10 by default")
                .value_parser(value_parser!(u32)),
        )
        .arg(Arg::new("wait").long("wait").action(ArgAction::SetTrue).help("Wait until the job is over; the exit code says how it ended"))
        .arg(json())
}

/// Adds the commands of a cluster.
pub(in crate::cli) fn commands(command: Command) -> Command {
    let group = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true)
    };
    let id = || Arg::new("job").value_name("JOB").required(true).help("The job's id, the beginning of it, or its name");
    let on_job = |name: &'static str, about: &'static str| asking(Command::new(name).about(about)).arg(id()).arg(json());
    let listing = |name: &'static str, about: &'static str| asking(Command::new(name).about(about)).arg(json());
    command
        .subcommand(server())
        .subcommand(agent())
        .subcommand(
            listing("jobs", "List the jobs of a server")
                .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Those that are over too")),
        )
        .subcommand(
            group("job", "Show, read, cancel, save, rescale or upgrade a job of a server")
                .subcommand(on_job("show", "Show a job: state, tasks and why they are where they are, steps, checkpoints, history"))
                .subcommand(output(on_job("output", "Print the rows that a sink of a job has committed to files, or a ticket for them")))
                .subcommand(on_job("cancel", "End a job; what its sinks have published stays"))
                .subcommand(
                    on_job("savepoint", "Make a savepoint of a job")
                        .arg(Arg::new("name").value_name("NAME").required(true).help("The savepoint's name"))
                        .arg(Arg::new("stop").long("stop").action(ArgAction::SetTrue).help("End the job with it")),
                )
                .subcommand(
                    asking(
                        Command::new("upgrade").about(
                            "Let a job go on with another build of the program: stop it with a savepoint, for a server of that build",
                        ),
                    )
                    .arg(id().required(false).required_unless_present("all"))
                    .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("job").help("All jobs that are not over"))
                    .arg(valued("savepoint", "NAME", "The savepoint's name; by default `upgrade-` and the time"))
                    .arg(
                        Arg::new("allow-dropped-state")
                            .long("allow-dropped-state")
                            .action(ArgAction::SetTrue)
                            .help("Lose state for which the other build has no place"),
                    )
                    .arg(json()),
                )
                .subcommand(
                    on_job("rescale", "Let a job go on with another number of instances").arg(
                        valued("parallelism", "N", "Instances of each parallel step")
                            .required(true)
                            .value_parser(value_parser!(u16).range(1..)),
                    ),
                ),
        )
        .subcommand(listing("agents", "List the agents of a server").arg(valued(
            "drain",
            "AGENT",
            "Let this agent's tasks move to others, and the agent leave",
        )))
        .subcommand(
            listing("logs", "Show what happened on a cluster")
                .arg(valued("job", "JOB", "To this job"))
                .arg(valued("agent", "AGENT", "To this agent"))
                .arg(valued("last", "N", "The newest so many; 100 by default").value_parser(value_parser!(u32).range(1..)))
                .arg(Arg::new("follow").long("follow").action(ArgAction::SetTrue).help("And what happens from now on, until Ctrl-C")),
        )
        .subcommand(listing("metrics", "Print a server's metrics, as Prometheus reads them"))
}

/// What `job output` takes beside the job.
fn output(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let formats = "How to print rows; by default a table on a terminal, else CSV; `--json` is the same as json: one object per line";
    command
        .mut_arg("json", |arg| arg.help("One JSON object per line"))
        .mut_arg("tls-cert", |arg| arg.help("The certificate to show to agents, in PEM, if they talk over TLS"))
        .arg(Arg::new("output").value_name("NAME").help("The sink's name; needless if the job has one only"))
        .arg(valued("format", "FORMAT", formats).long("output").value_parser(["table", "csv", "json", "arrow"]))
        .arg(flag("all", "Print all rows of a table, not only the first"))
        .arg(flag("ticket", "Print a ticket, with which any Arrow Flight client reads the rows, and where, as JSON"))
        .arg(valued("lasts", "TIME", "How long the ticket lasts: 90s, 30m; an hour by default, a day at most").value_parser(span))
}

/// What processes that serve show, and to whom.
fn serving(command: Command) -> Command {
    command
        .arg(valued("advertise", "ADDRESS", "How others reach it, if that is not where it listens: host, or host:port"))
        .arg(token())
        .arg(
            file("tls-cert", "Its certificate, in PEM: all then talk over TLS, and agents and server show one")
                .requires("tls-key")
                .requires("tls-ca"),
        )
        .arg(file("tls-key", "The key of its certificate, in PEM").requires("tls-cert"))
        .arg(file("tls-ca", "The certificate of the authority that signed those of the others, in PEM").requires("tls-cert"))
        .arg(
            Arg::new("insecure")
                .long("insecure")
                .action(ArgAction::SetTrue)
                .help("Listen beyond this machine without token or certificates, in a network that is trusted"),
        )
}

fn server() -> Command {
    serving(Command::new("server").about("Serve as job manager: agents join it, jobs are submitted to it"))
        .arg(valued("listen", "ADDRESS", "Where the API is served: host:port; 127.0.0.1:7480 by default"))
        .arg(valued("control", "ADDRESS", "Where agents connect; by default the next port of the same host"))
        .arg(valued("dir", "DIR", "Where jobs and operations are kept; sabot-server by default").value_parser(value_parser!(PathBuf)))
        .arg(
            valued("keep-jobs", "N", "Jobs that are over which it remembers: the newest; 1000 by default").value_parser(value_parser!(u32)),
        )
        .arg(valued("keep-for", "TIME", "How long it remembers a job that is over: 12h, 30d (the default)").value_parser(span))
        .arg(valued("store", "URL", "Keep them in Postgres instead, where further servers stand by: postgres://user@host/database"))
}

fn agent() -> Command {
    serving(
        Command::new("agent").about("Serve as agent: run tasks of a server's jobs until it is ended; SIGTERM lets its tasks move first"),
    )
    .arg(valued("join", "ADDRESS", "The server's API: host:port, or several with commas, of which one leads").required(true))
    .arg(valued("listen", "ADDRESS", "Where other agents connect; by default a free port of 127.0.0.1"))
    .arg(
        valued("slots", "N", "Instances of each step of a job that it runs at most; by default its cores")
            .value_parser(value_parser!(u16).range(1..)),
    )
    .arg(valued("memory", "BYTES", "About what its jobs may use together, shared by slots: 500M, 8G").value_parser(bytes))
    .arg(valued("name", "NAME", "Its name, unique in the cluster; by default the machine's and its port"))
}
