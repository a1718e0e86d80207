//! How a CSV file is written: delimiter, quotes, header, nulls, and what to do about a bad line.

use serde::{Deserialize, Serialize};

use super::uri::Options;
use crate::{Error, Result};

/// What happens on a line that cannot be read.
///
/// Example: [`CsvOptions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadLine {
    /// The job ends with an error that names file, line and column.
    #[default]
    Fail,
    /// The line is dropped and counted as failed. Only lines whose *projected* columns cannot be read are noticed. A
    /// quote that is never closed still ends the job, because it would swallow the rest of the file.
    Skip,
}

impl OnBadLine {
    /// Refuses to drop what someone reads.
    pub(crate) fn give(self, place: &str) -> Result<()> {
        match self {
            OnBadLine::Fail => Ok(()),
            OnBadLine::Skip => {
                Err(Error::Usage(format!("{place}: the pipeline reads bad lines (`bad_rows()`): leave out `on_bad_line=skip`")))
            }
        }
    }
    /// The option of a URI.
    pub(crate) fn take(options: &mut Options) -> Result<Option<Self>> {
        match options.take("on_bad_line")?.as_deref() {
            None => Ok(None),
            Some("fail") => Ok(Some(OnBadLine::Fail)),
            Some("skip") => Ok(Some(OnBadLine::Skip)),
            Some(other) => Err(Error::usage(format!("the option `on_bad_line` is `fail` or `skip`, not `{other}`"))),
        }
    }
}

/// The dialect of CSV files.
///
/// ```
/// use sabot::connect::CsvOptions;
/// let german = CsvOptions { delimiter: ';', ..CsvOptions::default() };
/// assert_eq!(german.nulls, ["", "NA"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// Between fields; an ASCII character. Default `,` (a tabulator for `*.tsv`).
    pub delimiter: char,
    /// Around fields that hold delimiters or newlines; doubled to stand for itself. `None` gives quotes no meaning.
    /// Default `"`.
    pub quote: Option<char>,
    /// Whether the first line of each file names the columns. Without it, columns are taken in the record's order.
    /// Default true.
    pub header: bool,
    /// Unquoted fields with one of these texts are null. Default: empty, and `NA`.
    ///
    /// A record's non-nullable string columns know no null: the text is taken as it stands.
    pub nulls: Vec<String>,
    /// What happens on a line that cannot be read. Default: fail.
    pub on_bad_line: OnBadLine,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions { delimiter: ',', quote: Some('"'), header: true, nulls: vec![String::new(), "NA".into()], on_bad_line: OnBadLine::Fail }
    }
}

impl CsvOptions {
    /// The options of a URI, over these defaults.
    pub(crate) fn with_uri(mut self, options: &mut Options) -> Result<Self> {
        if let Some(delimiter) = options.take_char("delimiter")? {
            self.delimiter = delimiter;
        }
        match options.take("quote")? {
            None => {}
            Some(none) if none.is_empty() => self.quote = None,
            Some(text) => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => self.quote = Some(c),
                    _ => return Err(Error::usage(format!("the option `quote` is one character, or empty for none, not `{text}`"))),
                }
            }
        }
        if let Some(header) = options.take_bool("header")? {
            self.header = header;
        }
        let nulls = options.take_all("null");
        if !nulls.is_empty() {
            self.nulls = nulls;
        }
        if let Some(on_bad_line) = OnBadLine::take(options)? {
            self.on_bad_line = on_bad_line;
        }
        Ok(self)
    }

    /// Delimiter and quote as bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] if they are not ASCII, or the same, or a line end.
    pub(crate) fn dialect(&self) -> Result<Dialect> {
        let byte = |name: &str, c: char| match u8::try_from(c) {
            Ok(b) if c.is_ascii() && b != b'\n' && b != b'\r' => Ok(b),
            _ => Err(Error::usage(format!("the CSV {name} {c:?} is not an ASCII character within a line"))),
        };
        let dialect = Dialect { delimiter: byte("delimiter", self.delimiter)?, quote: self.quote.map(|q| byte("quote", q)).transpose()? };
        if dialect.quote == Some(dialect.delimiter) {
            return Err(Error::usage(format!("{:?} cannot be both the CSV delimiter and the CSV quote", self.delimiter)));
        }
        Ok(dialect)
    }
}

/// Delimiter and quote as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
}

impl Dialect {
    /// A tokeniser over `input`, with these characters.
    pub(crate) fn reader<R: std::io::Read>(self, input: R) -> csv::Reader<R> {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(self.delimiter).buffer_capacity(1 << 16);
        match self.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        builder.from_reader(input)
    }
}
