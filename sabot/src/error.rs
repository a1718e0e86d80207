//! The one error type of the crate. A message says what failed, where, and what to do about it.

use std::path::PathBuf;

/// The result type of Sabot.
///
/// ```
/// fn limit(text: &str) -> sabot::Result<i64> {
///     text.parse().map_err(|e| sabot::Error::usage(format!("the limit `{text}` is no number: {e}")))
/// }
/// assert!(limit("5").is_ok() && limit("five").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, from a wrong column to a full disk.
///
/// Variants name the subject that failed; `Display` is a complete sentence for a user, without a backtrace.
///
/// ```
/// use sabot::Error;
///
/// let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
/// let error = Error::io("flights.csv", "cannot open", missing);
/// assert!(matches!(error, Error::Io { .. }) && !error.is_transient());
/// assert!(error.to_string().starts_with("flights.csv: cannot open"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The columns of a batch, a file or a stream do not fit the record that reads them.
    #[error("{place}: the columns do not fit record `{record}`\n{diff}")]
    Schema {
        /// Where the columns come from: a file, a source, a step.
        place: String,
        /// The record that was expected.
        record: String,
        /// One line per column: name, expected, found.
        diff: String,
    },
    /// A pipeline, a parameter, a source or a sink was named or bound wrongly.
    #[error("{0}")]
    Usage(String),
    /// The plan is inconsistent: it was edited by hand, or built by another binary.
    #[error("the plan does not fit this program: {0}")]
    Plan(String),
    /// A user operator returned an error or panicked.
    #[error("operator `{operator}` {what} at {row}")]
    Operator {
        /// Stable id of the step, and the functions it calls.
        operator: String,
        /// `failed: ...` or `panicked: ...`, with the message and, for a panic, its source position.
        what: String,
        /// Source, partition and row number.
        row: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {what}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: `cannot open`, `cannot write`, ...
        what: String,
        /// The operating system's own error.
        source: std::io::Error,
    },
    /// A file was read, but its contents are broken.
    #[error("{place}: {what}")]
    Data {
        /// File, and where known line and column (`flights.csv:17:4`).
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Operators hold more than the memory budget allows, and cannot spill it.
    #[error(
        "operator `{operator}` holds {held} bytes that it cannot spill, and the budget is {budget} bytes; raise `--memory`, use fewer `--threads`, or reduce the keys it keeps"
    )]
    Memory {
        /// Stable id of the operator.
        operator: String,
        /// Bytes held by it.
        held: usize,
        /// The budget in bytes.
        budget: usize,
    },
    /// A checkpoint could not be written, read, or does not belong to this program.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// The control store refused, or does not answer; or a workflow in it failed.
    #[error("{0}")]
    Control(String),
    /// An Arrow kernel refused its input.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The job ended with a savepoint, as it was asked to: it can go on from there.
    #[error("the job was stopped with savepoint `{0}`, from which it can go on")]
    Suspended(String),
    /// The job was cancelled before it finished.
    #[error("the job was cancelled")]
    Cancelled,
    /// An invariant of the engine does not hold. This is a bug in Sabot; please report it.
    #[error("internal error (a bug in Sabot, please report it): {0}")]
    Internal(String),
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl Into<PathBuf>, what: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), what: what.into(), source }
    }
    /// Whether it may go away by itself, so that reading or writing is tried again: an [`Error::Io`] that was interrupted,
    /// timed out, or lost or did not get a connection. Missing files, permissions, full disks and broken data are not.
    pub fn is_transient(&self) -> bool {
        use std::io::ErrorKind as Kind;
        let Error::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            Kind::Interrupted
                | Kind::TimedOut
                | Kind::WouldBlock
                | Kind::ConnectionRefused
                | Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::NotConnected
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::NetworkDown
                | Kind::StaleNetworkFileHandle
                | Kind::ResourceBusy
        )
    }
    /// An [`Error::Usage`] with this sentence.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Error::Usage(sentence.into())
    }
    /// An [`Error::Internal`] with this sentence.
    pub fn internal(sentence: impl Into<String>) -> Self {
        Error::Internal(sentence.into())
    }
}
