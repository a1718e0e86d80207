//! Which bytes of CSV text separate fields and records, 64 bytes at a time.
//!
//! Separators and quotes are found as bit masks, and what lies between quotes by an exclusive or over the quotes before it,
//! as in Langdale and Lemire, "Parsing gigabytes of JSON per second" (2019). A quote has meaning at the start of a field only; after a closing
//! quote the field goes on without quotes. A block with a quote elsewhere is read byte by byte.

use super::csv_options::Dialect;
use crate::kernel::{BLOCK, equal};

/// The separators of a block: bit `i` is byte `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Separators {
    /// The bytes that end a field.
    pub(crate) fields: u64,
    /// Those among them that end a line.
    pub(crate) lines: u64,
}

/// Where the scanner is between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the start of a field, or after a quote that closes it or is the first of a doubled one: a quote opens.
    Start,
    /// In a field, outside quotes.
    Plain,
    /// Between quotes.
    Quoted,
}

/// Scans text from a point where a record begins.
pub(crate) struct Scanner {
    dialect: Dialect,
    at: At,
}

impl Scanner {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Scanner { dialect, at: At::Start }
    }

    /// Whether the text so far ends between quotes.
    pub(crate) fn quoted(&self) -> bool {
        self.at == At::Quoted
    }

    /// The separators of the next 64 bytes.
    #[inline(always)]
    pub(crate) fn block(&mut self, block: &[u8; BLOCK]) -> Separators {
        self.step(block, BLOCK)
    }

    /// The separators of up to 64 bytes.
    pub(crate) fn part(&mut self, part: &[u8]) -> Separators {
        let mut block = [0; BLOCK];
        let len = part.len().min(BLOCK);
        block.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        if len == 0 { Separators { fields: 0, lines: 0 } } else { self.step(&block, len) }
    }

    /// The separators of the first `len` bytes of a block, at least one.
    #[inline(always)]
    fn step(&mut self, block: &[u8; BLOCK], len: usize) -> Separators {
        let last = len - 1;
        let known = u64::MAX >> (BLOCK - 1 - last);
        let [delimiter, newline, carriage, quote] =
            equal(block, [self.dialect.delimiter, b'\n', b'\r', self.dialect.quote.unwrap_or(self.dialect.delimiter)]);
        let lines = (newline | carriage) & known;
        let separators = lines | delimiter & known;
        let quotes = if self.dialect.quote.is_some() { quote & known } else { 0 };
        if quotes == 0 && self.at != At::Quoted {
            self.at = if separators >> last & 1 == 1 { At::Start } else { At::Plain };
            return Separators { fields: separators, lines };
        }
        // From each opening quote to before the one that closes.
        let inside = prefix_xor(quotes) ^ if self.at == At::Quoted { u64::MAX } else { 0 };
        let fields = separators & !inside;
        let may_open = (fields | quotes) << 1 | u64::from(self.at == At::Start);
        if quotes & inside & !may_open != 0 {
            return self.bytes(block, len);
        }
        self.at = match (inside >> last & 1, (fields | quotes) >> last & 1) {
            (1, _) => At::Quoted,
            (_, 1) => At::Start,
            _ => At::Plain,
        };
        Separators { fields, lines: lines & fields }
    }

    /// The same byte by byte.
    #[cold]
    fn bytes(&mut self, block: &[u8; BLOCK], len: usize) -> Separators {
        let mut found = Separators { fields: 0, lines: 0 };
        for (i, &byte) in block.iter().take(len).enumerate() {
            let is_quote = self.dialect.quote == Some(byte);
            let is_line = byte == b'\n' || byte == b'\r';
            self.at = match self.at {
                At::Start if is_quote => At::Quoted,
                At::Quoted if is_quote => At::Start,
                At::Quoted => At::Quoted,
                At::Start | At::Plain if is_line || byte == self.dialect.delimiter => {
                    found.fields |= 1 << i;
                    found.lines |= u64::from(is_line) << i;
                    At::Start
                }
                At::Start | At::Plain => At::Plain,
            };
        }
        found
    }
}

/// Bit `i` is the exclusive or of the bits up to `i`.
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Adds to `out` the text of a field that begins with a quote.
pub(crate) fn unquote(cell: &[u8], quote: u8, out: &mut Vec<u8>) {
    let mut at = At::Quoted;
    for &byte in cell.iter().skip(1) {
        let is_quote = byte == quote;
        at = match at {
            At::Quoted if is_quote => At::Start,
            At::Start if is_quote => {
                out.push(byte);
                At::Quoted
            }
            before => {
                out.push(byte);
                if before == At::Start { At::Plain } else { before }
            }
        };
    }
}
