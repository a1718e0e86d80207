//! Messages as they came, until it is known whether they are rows.

use std::collections::VecDeque;
use std::ops::Range;

use crate::connect::Message;
use crate::operator::BadRow;

/// The messages of one batch: a format may say only at its end which of them are no rows.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// Offset, key and value, by offset.
    messages: VecDeque<(i64, Option<Range<usize>>, Option<Range<usize>>)>,
}

impl Kept {
    pub(super) fn push(&mut self, message: Message<'_>) {
        let mut keep = |part: Option<&[u8]>| {
            part.map(|part| {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(part);
                start..self.bytes.len()
            })
        };
        let (key, value) = (keep(message.key), keep(message.value));
        self.messages.push_back((message.offset, key, value));
    }
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
    /// A message that turned out to be no row.
    pub(super) fn bad(&self, topic: &str, partition: i32, offset: i64, why: &str) -> BadRow {
        let found = self.messages.binary_search_by_key(&offset, |m| m.0).ok().and_then(|at| self.messages.get(at));
        let part = |range: &Option<Range<usize>>| range.clone().and_then(|r| self.bytes.get(r));
        let (key, value) = found.map_or((None, None), |(_, key, value)| (part(key), part(value)));
        let row = BadRow::new(topic, u64::try_from(offset).unwrap_or_default(), why, value);
        BadRow { partition: u32::try_from(partition).unwrap_or_default(), key: key.map(Into::into), ..row }
    }
}
