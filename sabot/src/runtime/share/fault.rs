//! An error that crosses from one process to another.

use std::io;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An [`Error`] as data. What it is, and whether it may pass, is kept; what the operating system or Arrow said of it becomes text.
///
/// ```
/// use sabot::Error;
/// use sabot::runtime::share::Fault;
///
/// let lost = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the peer has gone");
/// let error = Error::io("10.0.0.7:7000", "cannot send rows", lost);
/// let text = serde_json::to_string(&Fault::from(&error)).unwrap();
/// let other: Fault = serde_json::from_str(&text).unwrap();
/// let there = Error::from(other);
/// assert!(there.is_transient());
/// assert_eq!(there.to_string(), error.to_string());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Fault {
    Schema { place: String, record: String, diff: String },
    Usage(String),
    Plan(String),
    Operator { operator: String, what: String, row: String },
    Io { path: String, what: String, kind: String, source: String },
    Data { place: String, what: String },
    Memory { operator: String, held: u64, budget: u64 },
    Checkpoint(String),
    Control(String),
    Arrow(String),
    Suspended(String),
    Cancelled,
    Internal(String),
}

/// The kinds of errors of input and output that someone acts on: those that may pass, and those with advice of their own.
const KINDS: &[io::ErrorKind] = &[
    io::ErrorKind::Interrupted,
    io::ErrorKind::TimedOut,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::StaleNetworkFileHandle,
    io::ErrorKind::ResourceBusy,
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::InvalidData,
    io::ErrorKind::InvalidInput,
];

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        match error {
            Error::Schema { place, record, diff } => Fault::Schema { place: place.clone(), record: record.clone(), diff: diff.clone() },
            Error::Usage(what) => Fault::Usage(what.clone()),
            Error::Plan(what) => Fault::Plan(what.clone()),
            Error::Operator { operator, what, row } => Fault::Operator { operator: operator.clone(), what: what.clone(), row: row.clone() },
            Error::Io { path, what, source } => Fault::Io {
                path: path.display().to_string(),
                what: what.clone(),
                kind: format!("{:?}", source.kind()),
                source: source.to_string(),
            },
            Error::Data { place, what } => Fault::Data { place: place.clone(), what: what.clone() },
            Error::Memory { operator, held, budget } => {
                Fault::Memory { operator: operator.clone(), held: *held as u64, budget: *budget as u64 }
            }
            Error::Checkpoint(what) => Fault::Checkpoint(what.clone()),
            Error::Control(what) => Fault::Control(what.clone()),
            Error::Arrow(error) => Fault::Arrow(error.to_string()),
            Error::Suspended(name) => Fault::Suspended(name.clone()),
            Error::Cancelled => Fault::Cancelled,
            Error::Internal(what) => Fault::Internal(what.clone()),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Schema { place, record, diff } => Error::Schema { place, record, diff },
            Fault::Usage(what) => Error::Usage(what),
            Fault::Plan(what) => Error::Plan(what),
            Fault::Operator { operator, what, row } => Error::Operator { operator, what, row },
            Fault::Io { path, what, kind, source } => {
                let kind = KINDS.iter().find(|k| format!("{k:?}") == kind).copied().unwrap_or(io::ErrorKind::Other);
                Error::io(path, what, io::Error::new(kind, source))
            }
            Fault::Data { place, what } => Error::Data { place, what },
            Fault::Memory { operator, held, budget } => {
                let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                Error::Memory { operator, held: size(held), budget: size(budget) }
            }
            Fault::Checkpoint(what) => Error::Checkpoint(what),
            Fault::Control(what) => Error::Control(what),
            Fault::Arrow(what) => Error::Arrow(arrow_schema::ArrowError::ExternalError(what.into())),
            Fault::Suspended(name) => Error::Suspended(name),
            Fault::Cancelled => Error::Cancelled,
            Fault::Internal(what) => Error::Internal(what),
        }
    }
}
