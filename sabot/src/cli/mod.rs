//! The user's binary becomes the tool: `run`, `explain`, `graph`, `savepoint`, `schema`, `ops`, `pipelines`, `completions`.
//!
//! Everything is read from the registries: each pipeline is a subcommand with its parameters as options. What went
//! wrong is one message on standard error, and an exit code: 0 ok, 1 the job failed, 2 wrong usage, 130 interrupted.

mod args;
mod bind;
#[cfg(feature = "cluster")]
mod cluster;
mod completions;
mod interrupt;
mod meter;
mod run;
mod savepoint;
mod schema;
mod show;
mod stats;
mod stdout;
mod table;

use std::ffi::OsString;
use std::io::Write;

use crate::{Error, Result};

/// Exit code: the job failed.
const FAILED: i32 = 1;
/// Exit code: the command line makes no sense.
const USAGE: i32 = 2;
/// Exit code: ended by Ctrl-C before the end.
const INTERRUPTED: i32 = 130;

/// The program as a tool: `fn main() -> sabot::Result<()> { sabot::main() }`.
///
/// Runs the subcommand that the command line names. On failure it prints one message on standard error and ends the
/// process with exit code 1 (the job failed), 2 (wrong usage) or 130 (interrupted); it returns only on success.
///
/// # Errors
/// None: see above. The result type is that of a `main` function.
///
/// ```no_run
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// Large trades.
///     pub fn large(trades: Source<Trade>, least: i64);
///     large = trades -> filter(|t| t.qty >= least);
///     large -> sink;
/// }
///
/// // my_program run large --least 100 --source trades=trades.csv --sink large=large.parquet
/// fn main() -> Result<()> { sabot::main() }
/// ```
pub fn main() -> Result<()> {
    let code = run_from(std::env::args_os());
    if code != 0 {
        std::process::exit(code);
    }
    Ok(())
}

/// As [`main`], with these arguments (the first is the program's name); returns the exit code.
///
/// ```standalone_crate
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// Large trades.
///     pub fn large(trades: Source<Trade>, least: i64);
///     large = trades -> filter(|t| t.qty >= least);
///     large -> sink;
/// }
///
/// fn main() {
///     assert_eq!(sabot::cli::run_from(["my_program", "pipelines"]), 0);
///     assert_eq!(sabot::cli::run_from(["my_program", "run", "larg"]), 2); // and says on standard error what is wrong
/// }
/// ```
pub fn run_from(args: impl IntoIterator<Item = impl Into<OsString>>) -> i32 {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn dispatch(args: &[OsString]) -> Result<i32> {
    let pipelines = crate::stream::pipelines()?;
    let matches = match args::command(args, &pipelines).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(e) => return args::refuse(args, &e),
    };
    match matches.subcommand() {
        Some(("run", sub)) => run::run(sub),
        Some(("explain", sub)) => show::explain(sub),
        Some(("graph", sub)) => show::graph(sub),
        Some(("savepoint", sub)) => savepoint::savepoint(sub),
        Some(("schema", sub)) => schema::schema(sub),
        Some(("completions", sub)) => completions::completions(args, sub),
        Some(("ops", sub)) => show::operators(sub.get_flag("json")),
        Some(("pipelines", sub)) => show::pipelines(sub.get_flag("json")),
        #[cfg(feature = "cluster")]
        Some((verb, sub)) => cluster::run(verb, sub),
        _ => Err(Error::usage(
            "which command? `run`, `explain`, `graph`, `savepoint`, `schema`, `ops`, `pipelines` or `completions`; `--help` explains them",
        )),
    }
}

/// Prints an error; its exit code.
fn report(error: &Error) -> i32 {
    let code = match error {
        Error::Usage(_) => USAGE,
        Error::Cancelled => INTERRUPTED,
        _ => FAILED,
    };
    say(&format!("error: {error}"));
    code
}

/// A line on standard error. If that is closed there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints text on standard output; a reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<i32> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", "cannot write", e)),
        _ => Ok(0),
    }
}

/// Batches of the same columns as an aligned table, at most `limit` rows, for a program that prints its result.
///
/// # Errors
/// If a value has no form as text.
///
/// ```
/// # fn main() -> sabot::Result<()> {
/// let numbers: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Int64Array::from(vec![17, 4]));
/// let batch = arrow_array::RecordBatch::try_from_iter([("number", numbers)])?;
/// let text = sabot::cli::table(&[batch], None)?;
/// assert!(text.contains("number") && text.contains("17"));
/// # Ok(()) }
/// ```
pub fn table(batches: &[arrow_array::RecordBatch], limit: Option<u64>) -> Result<String> {
    let Some(first) = batches.first() else { return Ok("no rows\n".into()) };
    let mut table = table::Table::new(&first.schema(), limit, false);
    let mut out = String::new();
    for batch in batches {
        out.push_str(&table.add(batch)?);
    }
    out.push_str(&table.finish()?);
    Ok(out)
}
