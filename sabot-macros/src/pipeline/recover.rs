//! Slips of newcomers, recognised by their tokens: what they should have written.

use proc_macro2::{Delimiter, Ident, Span, TokenTree};

use super::meta::{RowParam, mentions, pass, text};
use super::tokens::{closure, group_of, is_ident, is_punct, list, split};
use crate::common::similar;

/// The aggregate functions of the library.
const AGGREGATES: &[&str] = &[
    "sum",
    "count",
    "min",
    "max",
    "mean",
    "var",
    "var_pop",
    "stddev",
    "stddev_pop",
    "first",
    "last",
    "collect",
    "count_distinct",
    "approx_count_distinct",
    "quantile",
    "median",
    "approx_quantile",
    "any",
    "all",
];

/// What other systems call them.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("avg", "mean"),
    ("average", "mean"),
    ("variance", "var"),
    ("var_samp", "var"),
    ("std", "stddev"),
    ("stdev", "stddev"),
    ("stddev_samp", "stddev"),
    ("distinct", "count_distinct"),
    ("nunique", "count_distinct"),
    ("n_unique", "count_distinct"),
    ("approx_distinct", "approx_count_distinct"),
    ("percentile", "quantile"),
    ("percentile_cont", "quantile"),
    ("quantile_cont", "quantile"),
    ("list", "collect"),
    ("array_agg", "collect"),
    ("bool_or", "any"),
    ("bool_and", "all"),
    ("first_value", "first"),
    ("last_value", "last"),
];

/// What other systems call steps, and how they are written here.
const OTHER_STEPS: &[(&str, &str)] = &[
    ("group_by", "`key_by(a, b)`"),
    ("groupby", "`key_by(a, b)`"),
    ("repartition", "`rebalance()`, or `partition_by(shard)`"),
    ("shuffle", "`rebalance()`"),
    ("round_robin", "`rebalance()`"),
    ("rescale", "`rebalance()`"),
    ("partition_custom", "`partition_by(shard)`"),
    ("keyby", "`key_by(a, b)`"),
    ("agg", "`aggregate(|t| row { .. })`"),
    ("fold", "`aggregate(|t| row { .. })` with an aggregate of your own, or `reduce(|a, b| ..)`"),
    ("order_by", "`sort(a, desc(b))`"),
    ("sort_by", "`sort(a, desc(b))`"),
    ("where_", "`filter(|t| ..)`"),
    ("with_column", "`with(|t| row { column: .. })`"),
    ("with_columns", "`with(|t| row { column: .. })`"),
    ("project", "`select(|t| row { .. })`"),
    ("rename", "`select(|t| row { new: t.old, .. })`"),
    ("head", "`limit(10)`"),
    ("take", "`limit(10)`"),
    ("unique", "`distinct()`"),
    ("dedup", "`distinct()`"),
    ("union_all", "`union(other)`"),
    ("inner_join", "`join(other -> key_by(..), |l, r| row { .. })`"),
    ("left_outer_join", "`left_join(other -> key_by(..), |l, r| row { .. })`"),
    ("outer_join", "`full_join(other -> key_by(..), |l, r| row { .. })`"),
    ("full_outer_join", "`full_join(other -> key_by(..), |l, r| row { .. })`"),
    ("tumbling", "`window(tumbling(1.hour()))`"),
    ("hop", "`window(hop(1.hour(), 15.minute()))`"),
    ("session", "`window(session(30.minute()))`"),
    ("global", "`window(global(on_update))`"),
    ("folded", "`sink(to(..).folded())`"),
];

/// Functions of a column and a fraction.
const OF_FRACTION: &[&str] = &["quantile", "approx_quantile"];

/// What to write instead of a step that has another name elsewhere.
pub(super) fn other_step(name: &str) -> Option<String> {
    let (_, ours) = OTHER_STEPS.iter().find(|(theirs, _)| *theirs == name)?;
    Some(format!("there is no step `{name}`; did you mean {ours}?"))
}

/// The columns and the constants among the arguments of a library function, and what is wrong with the constants.
pub(super) fn constants<'a>(
    function: &Ident,
    pieces: &[&'a [TokenTree]],
    rows: &[RowParam],
) -> (Vec<&'a [TokenTree]>, Vec<&'a [TokenTree]>, Option<(Span, String)>) {
    let name = function.to_string();
    if !OF_FRACTION.contains(&name.as_str()) {
        return (pieces.to_vec(), Vec::new(), None);
    }
    let (columns, constants) = pieces.split_at(pieces.len().min(1));
    let wrong = match constants.first() {
        None => Some((function.span(), format!("`{name}` takes a column and a fraction between 0 and 1: `{name}(t.x, 0.9)`"))),
        Some(tokens) => not_a_fraction(&name, tokens, rows),
    };
    (columns.to_vec(), constants.to_vec(), wrong)
}

/// What is wrong with a fraction, as far as its tokens tell.
fn not_a_fraction(name: &str, tokens: &[TokenTree], rows: &[RowParam]) -> Option<(Span, String)> {
    let first = tokens.first()?;
    if let Some(row) = rows.iter().find(|r| mentions(tokens, &r.name)) {
        let message = format!(
            "the fraction of `{name}` is one number for all rows: a constant or a parameter of the pipeline, not a column of `{}`",
            row.name
        );
        return Some((first.span(), message));
    }
    let (negative, literal) = match tokens {
        [TokenTree::Literal(l)] => (false, l),
        [minus, TokenTree::Literal(l)] if is_punct(Some(minus), '-') => (true, l),
        _ => return None,
    };
    let text = literal.to_string().replace('_', "");
    let value: f64 = text.trim_end_matches("f64").parse().ok()?;
    if (negative && value != 0.0) || value > 1.0 {
        let hint =
            if !negative && (1.0..=100.0).contains(&value) { format!(": {value} percent is {}", value / 100.0) } else { String::new() };
        return Some((literal.span(), format!("`{name}` takes a fraction between 0 and 1{hint}")));
    }
    None
}

/// `t.symbol`, `|t| t.symbol`, `|t| (t.symbol, t.venue)`: the columns that were meant.
pub(super) fn key_columns(tokens: &[TokenTree]) -> Vec<Ident> {
    if let Some(c) = closure(tokens) {
        let body = match c.body.as_slice() {
            [TokenTree::Group(g)] if g.delimiter() == Delimiter::Parenthesis => list(&g.stream()),
            other => other.to_vec(),
        };
        return split(&body, ',').into_iter().flat_map(key_columns).collect();
    }
    match if is_punct(tokens.first(), '&') { &tokens[1..] } else { tokens } {
        [TokenTree::Ident(_), dot, TokenTree::Ident(column), rest @ ..]
            if is_punct(Some(dot), '.') && matches!(rest, [] | [TokenTree::Punct(_), TokenTree::Ident(_), TokenTree::Group(_)]) =>
        {
            vec![column.clone()]
        }
        _ => Vec::new(),
    }
}

/// What to write instead of a closure body that is no row.
pub(super) fn row_for(body: &[TokenTree], rows: &[RowParam]) -> String {
    if let [path @ .., TokenTree::Group(g)] = body
        && g.delimiter() == Delimiter::Brace
        && !path.is_empty()
        && path.iter().all(|t| matches!(t, TokenTree::Ident(_)) || is_punct(Some(t), ':'))
        && !["match", "if", "loop", "while", "unsafe"].iter().any(|w| is_ident(path.first(), w))
    {
        return format!("row {} {{ .. }}", text(path));
    }
    let pieces = match body {
        [TokenTree::Group(g)] if g.delimiter() == Delimiter::Parenthesis => list(&g.stream()),
        other => other.to_vec(),
    };
    let columns: Vec<String> = split(&pieces, ',')
        .into_iter()
        .filter(|p| !p.is_empty())
        .map(|p| format!("{}: {}", pass(p, rows).unwrap_or_else(|| "column".into()), text(p)))
        .collect();
    format!("row {{ {} }}", columns.join(", "))
}

/// Whether tokens can be a function: a path, perhaps with generic arguments or a call that makes it.
pub(super) fn may_be_function(tokens: &[TokenTree]) -> bool {
    let path = match tokens {
        [path @ .., TokenTree::Group(g)] if g.delimiter() == Delimiter::Parenthesis => path,
        other => other,
    };
    !path.is_empty()
        && path.iter().all(|t| match t {
            TokenTree::Ident(_) => true,
            TokenTree::Punct(p) => p.as_char() == ':',
            _ => false,
        })
}

/// What is wrong with the expression of a column of `aggregate`, and at which token, if it is no call of an aggregate.
pub(super) fn not_an_aggregate(column: &Ident, expr: &[TokenTree]) -> Option<(Span, String)> {
    let call = expr.iter().position(|t| matches!(t, TokenTree::Group(g) if g.delimiter() == Delimiter::Parenthesis));
    let path = &expr[..call.unwrap_or(0)];
    let is_path = !path.is_empty() && path.iter().all(|t| matches!(t, TokenTree::Ident(_)) || is_punct(Some(t), ':'));
    let first = expr.first().map_or_else(|| column.span(), TokenTree::span);
    let known = "`sum(..)`, `count()`, `min(..)`, `max(..)`, `mean(..)` or an aggregate of your own";
    if !is_path {
        return Some((first, format!("`{column}` needs an aggregate function: {known}")));
    }
    if let Some(next) = call.and_then(|at| expr.get(at + 1)) {
        let message = format!(
            "an aggregate function stands alone in its column: compute with its result in a step behind, `with(|r| row {{ {column}: r.{column} .. }})`"
        );
        return Some((next.span(), message));
    }
    if let [TokenTree::Ident(function)] = path {
        let name = function.to_string();
        if !AGGREGATES.contains(&name.as_str()) && !name.starts_with(char::is_uppercase) {
            let other = OTHER_NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
            let message = match other.or_else(|| similar(&name, AGGREGATES.iter().copied())) {
                Some(near) => format!("there is no aggregate function `{name}`; did you mean `{near}`?"),
                None => format!("`{name}` is not an aggregate function: use {known}, an `impl` block with `#[operator]`"),
            };
            return Some((function.span(), message));
        }
    }
    None
}

/// A constant span of time, as far as tokens tell: `15.minute()` in microseconds, at its number.
pub(super) fn span_of_time(tokens: &[TokenTree]) -> Option<(i128, Span)> {
    let (sign, tokens) = if is_punct(tokens.first(), '-') { (-1, &tokens[1..]) } else { (1, tokens) };
    let [TokenTree::Literal(number), dot, TokenTree::Ident(unit), TokenTree::Group(_)] = tokens else { return None };
    let micros = match unit.to_string().as_str() {
        _ if !is_punct(Some(dot), '.') => return None,
        "ms" => 1_000,
        "sec" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => 86_400_000_000,
        _ => return None,
    };
    let text = number.to_string().replace('_', "");
    let value: i128 = text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    Some((sign * value * micros, number.span()))
}

/// What is wrong with the argument of `window`, as far as its tokens tell.
pub(super) fn wrong_window(step: Span, tokens: &[TokenTree]) -> Vec<(Span, String)> {
    if let [TokenTree::Ident(kind)] = tokens {
        let example = match kind.to_string().as_str() {
            "global" => "global(on_update)",
            "tumbling" => "tumbling(1.hour())",
            "hop" => "hop(1.hour(), 15.minute())",
            "session" => "session(30.minute())",
            _ => return Vec::new(),
        };
        return vec![(kind.span(), format!("`{kind}` is no window yet: write `window({example})`"))];
    }
    let [TokenTree::Ident(kind), TokenTree::Group(args)] = tokens else {
        return if tokens.is_empty() {
            vec![(
                step,
                "`window` needs windows: `tumbling(1.hour())`, `hop(1.hour(), 15.minute())`, `session(30.minute())` or `global(on_update)`"
                    .into(),
            )]
        } else {
            Vec::new()
        };
    };
    let inner = list(&args.stream());
    let pieces: Vec<&[TokenTree]> = split(&inner, ',').into_iter().filter(|x| !x.is_empty()).collect();
    let mut out = Vec::new();
    if kind == "global" {
        return wrong_global(kind, &pieces).into_iter().collect();
    }
    let spans: Vec<Option<(i128, Span)>> = pieces.iter().map(|piece| span_of_time(piece)).collect();
    let what: &[&str] = match kind.to_string().as_str() {
        "tumbling" => &["a window needs a size greater than zero"],
        "hop" => &[
            "a window needs a size greater than zero",
            "windows need a slide greater than zero, from the start of one to the start of the next",
        ],
        "session" => &["a session needs a gap greater than zero: how long nothing comes before it is over"],
        "sessions" | "session_window" => {
            return vec![(kind.span(), format!("there are no windows `{kind}`; did you mean `session`, as in `session(30.minute())`?"))];
        }
        "sliding" | "hopping" => {
            return vec![(kind.span(), format!("there are no windows `{kind}`; did you mean `hop`, as in `hop(1.hour(), 15.minute())`?"))];
        }
        _ => return out,
    };
    for (span, message) in spans.iter().zip(what) {
        out.extend(span.filter(|(micros, _)| *micros <= 0).map(|(_, at)| (at, (*message).to_owned())));
    }
    match (kind.to_string().as_str(), pieces.len(), spans.as_slice()) {
        ("session", 0 | 2.., _) => {
            out.push((kind.span(), "`session` takes one gap: `session(30.minute())` ends when nothing came for half an hour".into()))
        }
        ("hop", 1, _) => out.push((
            kind.span(),
            "`hop` takes a size and a slide: `hop(1.hour(), 15.minute())` is the last hour, every quarter of an hour".into(),
        )),
        ("hop", 2, [Some((size, _)), Some((slide, at))]) if *slide > *size && *size > 0 => {
            let message = "the slide is larger than the window: the rows between two windows would be lost; \
                           for windows that follow one another write `tumbling(..)`";
            out.push((*at, message.into()));
        }
        _ => {}
    }
    out
}

/// What is wrong with the arguments of `global`.
fn wrong_global(global: &Ident, pieces: &[&[TokenTree]]) -> Option<(Span, String)> {
    const EXAMPLE: &str = "`global(on_update)` sends results whenever they change";
    match pieces {
        [[TokenTree::Ident(word)]] if word == "on_update" => None,
        [[TokenTree::Ident(word)]] => {
            let near =
                similar(&word.to_string(), ["on_update"].into_iter()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = if word == "on_close" {
                format!("all rows of a key are never over, so there is no result to send on close; {EXAMPLE}")
            } else {
                format!("results are not sent `{word}`{near}{}", if near.is_empty() { format!("; {EXAMPLE}") } else { String::new() })
            };
            Some((word.span(), message))
        }
        [] => Some((global.span(), format!("`global` says when results are sent: {EXAMPLE}"))),
        [first, ..] => Some((first.first().map_or_else(|| global.span(), TokenTree::span), format!("`global` takes one word: {EXAMPLE}"))),
    }
}

/// The group of arguments of `path(..)`, with the path.
pub(super) fn call_of(expr: &[TokenTree]) -> Option<(&[TokenTree], &proc_macro2::Group)> {
    let (last, path) = expr.split_last()?;
    Some((path, group_of(Some(last), Delimiter::Parenthesis)?))
}
