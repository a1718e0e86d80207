//! Slips of newcomers, recognised by their tokens: what they should have written.

use proc_macro2::{Delimiter, Ident, TokenTree};

use super::meta::{RowParam, pass, text};
use super::tokens::{closure, group_of, is_ident, is_punct, list, split};
use crate::common::similar;

/// The aggregate functions of the library.
const AGGREGATES: &[&str] = &["sum", "count", "min", "max", "mean"];

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
pub(super) fn not_an_aggregate(column: &Ident, expr: &[TokenTree]) -> Option<(proc_macro2::Span, String)> {
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
            let message = match similar(&name, AGGREGATES.iter().copied()) {
                Some(near) => format!("there is no aggregate function `{name}`; did you mean `{near}`?"),
                None => format!("`{name}` is not an aggregate function: use {known}, an `impl` block with `#[operator]`"),
            };
            return Some((function.span(), message));
        }
    }
    None
}

/// The group of arguments of `path(..)`, with the path.
pub(super) fn call_of(expr: &[TokenTree]) -> Option<(&[TokenTree], &proc_macro2::Group)> {
    let (last, path) = expr.split_last()?;
    Some((path, group_of(Some(last), Delimiter::Parenthesis)?))
}
