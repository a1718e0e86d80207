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
    /// The whole, for messages: without passwords.
    pub(crate) shown: String,
}

/// What follows the scheme of a server's URI: `//user:password@host:port,host:port/path`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Servers, and their ports if given.
    pub(crate) hosts: Vec<(String, Option<u16>)>,
    /// What follows the first `/` behind them.
    pub(crate) path: String,
}

impl Address {
    /// Takes an address apart; `shown` is the URI that messages name.
    pub(crate) fn parse(path: &str, shown: &str) -> Result<Self> {
        let refused = |what: &str| Error::usage(format!("`{shown}`: {what}"));
        let rest = path.strip_prefix("//").ok_or_else(|| refused("the servers are written behind `//`"))?;
        let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, servers) = servers.rsplit_once('@').map_or((None, servers), |(login, servers)| (Some(login), servers));
        let (user, password) = match login.map(|l| l.split_once(':').map_or((l, None), |(u, p)| (u, Some(p)))) {
            Some((user, password)) => {
                (Some(unescape(user, shown)?).filter(|u| !u.is_empty()), password.map(|p| unescape(p, shown)).transpose()?)
            }
            None => (None, None),
        };
        let mut hosts = Vec::new();
        for server in servers.split(',') {
            // the colons of an address in brackets are its own
            let at = server.rfind(':').filter(|at| !server.get(*at..).is_some_and(|rest| rest.contains(']')));
            let (host, port) = at.and_then(|at| server.split_at_checked(at)).unwrap_or((server, ""));
            let port = match port.strip_prefix(':') {
                Some(port) => Some(port.parse().map_err(|_| refused(&format!("`{port}` is not a port")))?),
                None => None,
            };
            let host = host.trim_matches(['[', ']']);
            if host.is_empty() {
                return Err(refused("it names no server"));
            }
            hosts.push((host.to_owned(), port));
        }
        Ok(Address { user, password, hosts, path: path.to_owned() })
    }
}

/// A URI as messages may show it: `***` for the password in it, and for options that hold one.
fn without_secrets(uri: &str) -> String {
    let (head, options) = match uri.rsplit_once('?') {
        Some((head, options)) if is_options(options) => (head, Some(options)),
        _ => (uri, None),
    };
    let mut shown = String::from(head);
    if let Some((scheme, rest)) = head.split_once("://") {
        let servers = rest.split('/').next().unwrap_or_default();
        if let Some((login, _)) = servers.rsplit_once('@')
            && let Some((user, _)) = login.split_once(':')
        {
            shown = format!("{scheme}://{user}:***{}", rest.get(login.len()..).unwrap_or_default());
        }
    }
    for (i, option) in options.into_iter().flat_map(|o| o.split('&')).enumerate() {
        shown.push(if i == 0 { '?' } else { '&' });
        match option.split_once('=') {
            Some((key, _)) if secret(key) => {
                shown.push_str(key);
                shown.push_str("=***");
            }
            _ => shown.push_str(option),
        }
    }
    shown
}

/// Whether the value of an option must not be shown.
pub(crate) fn secret(key: &str) -> bool {
    key.contains("password") || key.contains("secret") || key.contains("token") || key.ends_with("config")
}

/// The `key=value` options of a URI. Each is taken by the connector that knows it; the rest is an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options(Vec<(String, String)>);

impl<'a> Uri<'a> {
    /// Takes a URI apart. A `?` begins the options only if `key=` follows it, since it is also a wildcard.
    pub(crate) fn parse(uri: &'a str) -> Result<Self> {
        let shown = without_secrets(uri);
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
                .ok_or_else(|| Error::usage(format!("`{shown}`: the option `{pair}` has no value (write `{pair}=..`)")))?;
            pairs.push((key.to_string(), unescape(value, &shown)?));
        }
        Ok(Uri { scheme, path, options: Options(pairs), shown })
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
    text.split_once('=').is_some_and(|(key, _)| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.'))
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

    /// Takes the names of an option, separated by commas.
    pub(crate) fn take_list(&mut self, key: &str) -> Result<Vec<String>> {
        let value = self.take(key)?.unwrap_or_default();
        Ok(value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// Takes all options whose names begin so; the rest of their names, and their values.
    pub(crate) fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(k, _)| k.starts_with(prefix));
        self.0 = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(k, v)| (k.trim_start_matches(prefix).to_owned(), v)).collect()
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
