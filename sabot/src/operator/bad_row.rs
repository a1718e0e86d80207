//! What is not a row: a line of a file, or a message, that a source cannot read.

use crate::Record;
use crate::record::{Bytes, Str};

/// A line of a file, or a message, that is not a row: a row of the second stream of `bad_rows()`.
///
/// Example: [`Stream::bad_rows`](crate::stream::Stream::bad_rows).
#[derive(Record, Clone, Debug, PartialEq)]
pub struct BadRow {
    /// Why it is none.
    pub error: Str,
    /// The file's path, or the topic's name.
    pub place: Str,
    /// The partition of a topic; 0 of a file.
    pub partition: u32,
    /// The line of a file on which it begins, from 1; the offset of a message.
    pub position: u64,
    /// What it says, as text: bytes that are no UTF-8 are replaced by `\u{FFFD}`.
    pub text: Str,
    /// What it says, as it is: a line without its end, the value of a message; null for a message without one.
    pub value: Option<Bytes>,
    /// The key of a message, if it has one.
    pub key: Option<Bytes>,
}

impl BadRow {
    /// One of partition 0, without a key.
    pub fn new(place: &str, position: u64, error: &str, value: Option<&[u8]>) -> Self {
        let text = String::from_utf8_lossy(value.unwrap_or_default());
        let (error, place, text) = (error.into(), place.into(), text.as_ref().into());
        BadRow { error, place, partition: 0, position, text, value: value.map(Bytes::from), key: None }
    }
}
