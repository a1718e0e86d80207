//! `scheme:path,path?key=value&key=value`, the text form of sources and sinks.

use crate::{Error, Result};

/// A source or sink as the user wrote it, in parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uri<'a> {
    /// The word before the first colon, if it looks like one (`csv`, `s3`), in lower case.
    pub(crate) scheme: Option<String>,
    /// What follows it, up to the options.
    pub(crate) path: &'a str,
    /// The options after `?`.
    pub(crate) options: Options,
}

/// The `key=value` options of a URI. Each is taken by the connector that knows it; the rest is an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options(Vec<(String, String)>);

impl<'a> Uri<'a> {
    /// Takes a URI apart. A `?` begins the options only if `key=` follows it, since it is also a wildcard.
    pub(crate) fn parse(uri: &'a str) -> Result<Self> {
        let (scheme, rest) = match uri.split_once(':') {
            Some((word, rest)) if word.len() > 1 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '-') => {
                (Some(word.to_ascii_lowercase()), rest)
            }
            _ => (None, uri),
        };
        let (path, options) = match rest.rsplit_once('?') {
            Some((path, options)) if is_options(options) => (path, options),
            _ => (rest, ""),
        };
        let mut pairs = Vec::new();
        for pair in options.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::usage(format!("`{uri}`: the option `{pair}` has no value (write `{pair}=..`)")))?;
            pairs.push((key.to_string(), unescape(value, uri)?));
        }
        Ok(Uri { scheme, path, options: Options(pairs) })
    }

    /// The comma-separated paths; a file whose own name holds commas is one path.
    pub(crate) fn paths(&self) -> Vec<String> {
        if std::path::Path::new(self.path).exists() {
            return vec![self.path.to_string()];
        }
        self.path.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_string).collect()
    }
}

fn is_options(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, _)| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

/// Resolves `%3B` in an option's value.
fn unescape(value: &str, uri: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let code = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let code = code.ok_or_else(|| {
            Error::usage(format!("`{uri}`: `%` in an option must be followed by two hexadecimal digits (`%25` for itself)"))
        })?;
        bytes.push(code);
        bytes.extend(part.get(2..).unwrap_or_default().bytes());
    }
    String::from_utf8(bytes).map_err(|_| Error::usage(format!("`{uri}`: an option is not valid UTF-8")))
}

impl Options {
    /// Takes all values of an option, in order.
    pub(crate) fn take_all(&mut self, key: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(k, _)| k == key);
        self.0 = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, v)| v).collect()
    }

    /// Takes an option that may be given once.
    pub(crate) fn take(&mut self, key: &str) -> Result<Option<String>> {
        let mut values = self.take_all(key);
        if values.len() > 1 {
            return Err(Error::usage(format!("the option `{key}` is given {} times", values.len())));
        }
        Ok(values.pop())
    }

    /// Takes `true` or `false`.
    pub(crate) fn take_bool(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Error::usage(format!("the option `{key}` is `true` or `false`, not `{other}`"))),
        }
    }

    /// Takes a single ASCII character; `tab` and `\t` stand for a tabulator.
    pub(crate) fn take_char(&mut self, key: &str) -> Result<Option<char>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        let mut chars = value.chars();
        match (value.as_str(), chars.next(), chars.next()) {
            ("tab" | "\\t", _, _) => Ok(Some('\t')),
            (_, Some(c), None) if c.is_ascii() => Ok(Some(c)),
            _ => Err(Error::usage(format!("the option `{key}` is a single ASCII character (or `tab`), not `{value}`"))),
        }
    }

    /// Refuses options that nobody took.
    pub(crate) fn finish(self, what: &str, known: &[&str]) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) if known.is_empty() => Err(Error::usage(format!("{what} has no option `{key}`; it takes none"))),
            Some((key, _)) => Err(Error::usage(format!("{what} has no option `{key}`; it takes {}", known.join(", ")))),
        }
    }
}
