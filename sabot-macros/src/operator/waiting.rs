//! The options of an `async fn`: `max_in_flight = 64, timeout = "2s", unordered, retry = 3, retry_wait = "100ms"`.

use super::model::Waiting;
use crate::common::{Errors, Opt};

pub(super) const OPTIONS: &[&str] = &["max_in_flight", "timeout", "unordered", "retry", "retry_wait"];

/// Takes in one of [`OPTIONS`].
pub(super) fn read(option: &Opt, out: &mut Waiting, errors: &mut Errors) {
    let key = option.key();
    out.given.push((key.clone(), option.span()));
    match key.as_str() {
        "unordered" => {
            if option.value.is_some() {
                errors.at(option.span(), "`unordered` takes no value");
            }
            out.unordered = true;
        }
        "max_in_flight" => out.max_in_flight = number(option, "max_in_flight = 64", "at least one call must be allowed", errors),
        "retry" => out.retry = number(option, "retry = 3", "leave `retry` out to call once", errors),
        "timeout" => out.timeout = duration(option, "timeout = \"2s\"", errors),
        _ => out.retry_wait = duration(option, "retry_wait = \"100ms\"", errors),
    }
}

/// A whole number above zero, at most 2^31.
fn number(option: &Opt, example: &str, zero: &str, errors: &mut Errors) -> Option<u64> {
    let value = option.value.clone().and_then(|v| syn::parse2::<syn::LitInt>(v).ok());
    match value.map(|l| (l.base10_parse::<u32>(), l.span())) {
        Some((Ok(0), span)) => {
            errors.at(span, format!("`{} = 0`: {zero}", option.key()));
            None
        }
        Some((Ok(n), _)) if n <= 1 << 31 => Some(u64::from(n)),
        _ => {
            errors.at(option.span(), format!("`{}` needs a whole number: `{example}`", option.key()));
            None
        }
    }
}

fn duration(option: &Opt, example: &str, errors: &mut Errors) -> Option<u64> {
    let text = option.value.clone().and_then(|v| syn::parse2::<syn::LitStr>(v).ok());
    let span = text.as_ref().map_or_else(|| option.span(), syn::LitStr::span);
    let micros = text.and_then(|t| micros(&t.value()));
    match micros {
        Some(0) => errors.at(span, format!("`{}` must be longer than nothing: `{example}`", option.key())),
        None => errors.at(span, format!("`{}` is a number and a unit (`us`, `ms`, `s`, `min`, `h`): `{example}`", option.key())),
        Some(_) => {}
    }
    micros.filter(|m| *m > 0)
}

/// `1.5s`, `100 ms`, `2min` in microseconds.
fn micros(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "min" => 6e7,
        "h" => 3.6e9,
        _ => return None,
    };
    let micros = number.parse::<f64>().ok()? * unit;
    // a year is more than anybody waits
    (micros < 3.2e13).then_some(micros.round() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations() {
        for (text, micros) in [
            ("2s", Some(2_000_000)),
            ("100ms", Some(100_000)),
            ("1.5 s", Some(1_500_000)),
            ("7us", Some(7)),
            ("1min", Some(60_000_000)),
            ("1h", Some(3_600_000_000)),
            ("0s", Some(0)),
            ("2", None),
            ("s", None),
            ("2 weeks", None),
            ("", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("999999999h", None),
        ] {
            assert_eq!(super::micros(text), micros, "{text}");
        }
    }
}
