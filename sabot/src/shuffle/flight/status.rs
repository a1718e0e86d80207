//! What a call that failed says, as an error of the job.

use std::io::{Error as IoError, ErrorKind};

use tonic::{Code, Status};

use crate::Error;

/// The error of a call to `place` (agent and address) that did not do `what`.
pub(super) fn from_status(place: &str, what: &str, status: &Status) -> Error {
    let kind = match status.code() {
        Code::Unavailable => ErrorKind::ConnectionRefused,
        Code::DeadlineExceeded => ErrorKind::TimedOut,
        Code::Unauthenticated | Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::NotFound => ErrorKind::NotFound,
        Code::Cancelled | Code::Aborted => ErrorKind::ConnectionAborted,
        Code::InvalidArgument | Code::FailedPrecondition => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    };
    let mut text = reason(status);
    if CERTIFICATES.iter().any(|words| text.contains(words)) {
        text.push_str("; both ends must show certificates of one authority (`--tls-cert`, `--tls-ca`)");
        return Error::io(place, what, IoError::new(ErrorKind::PermissionDenied, text));
    }
    Error::io(place, what, IoError::new(kind, text))
}

/// What TLS says if it takes a certificate for none, or the other end does. It comes as text.
const CERTIFICATES: [&str; 2] = ["invalid peer certificate", "received fatal alert"];

/// The reason with those behind it: tonic's own messages only say that something failed.
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&next);
        }
        source = error.source();
    }
    if text.is_empty() { status.code().to_string() } else { text }
}

/// Whether the same call may succeed later: the peer is not there, or not there yet.
pub(super) fn may_pass(status: &Status) -> bool {
    !matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument)
}
