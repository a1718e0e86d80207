//! Token-level helpers. The user's expressions are never parsed.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote_spanned;

/// Whether a token is this punctuation.
pub(crate) fn is_punct(t: Option<&TokenTree>, c: char) -> bool {
    matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == c)
}
/// Whether a token is this identifier.
pub(crate) fn is_ident(t: Option<&TokenTree>, name: &str) -> bool {
    matches!(t, Some(TokenTree::Ident(i)) if i == name)
}
/// Whether a token is a group with this delimiter.
pub(crate) fn group_of(t: Option<&TokenTree>, d: Delimiter) -> Option<&Group> {
    match t {
        Some(TokenTree::Group(g)) if g.delimiter() == d => Some(g),
        _ => None,
    }
}
/// `x` of `x.await`.
pub(crate) fn awaited(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let (word, rest) = tokens.split_last()?;
    let (dot, rest) = rest.split_last()?;
    (is_ident(Some(word), "await") && is_punct(Some(dot), '.')).then_some(rest)
}
/// The first `.await` anywhere in the tokens: where its word is.
pub(crate) fn await_in(tokens: &[TokenTree]) -> Option<Span> {
    tokens.iter().enumerate().find_map(|(i, t)| match t {
        TokenTree::Group(g) => await_in(&list(&g.stream())),
        TokenTree::Ident(word) if word == "await" && i > 0 && is_punct(tokens.get(i - 1), '.') => Some(word.span()),
        _ => None,
    })
}
/// The tokens as a stream.
pub(crate) fn stream(tokens: &[TokenTree]) -> TokenStream {
    tokens.iter().cloned().collect()
}
/// The tokens of a stream.
pub(crate) fn list(tokens: &TokenStream) -> Vec<TokenTree> {
    tokens.clone().into_iter().collect()
}

/// Splits at a punctuation character outside of groups and of closure parameter lists.
pub(crate) fn split(tokens: &[TokenTree], at: char) -> Vec<&[TokenTree]> {
    let mut out = Vec::new();
    let (mut start, mut i, mut angle) = (0, 0, 0i32);
    while i < tokens.len() {
        if let Some(skip) = closure_params(tokens, i) {
            i = skip;
            continue;
        }
        // generic arguments after `::` hold commas too
        if is_punct(tokens.get(i), '<') && (angle > 0 || (i >= 1 && is_punct(tokens.get(i - 1), ':'))) {
            angle += 1;
        } else if angle > 0 && is_punct(tokens.get(i), '>') && !(i >= 1 && is_punct(tokens.get(i - 1), '-')) {
            angle -= 1;
        }
        if angle == 0 && is_punct(tokens.get(i), at) {
            out.push(&tokens[start..i]);
            start = i + 1;
        }
        i += 1;
    }
    out.push(&tokens[start..]);
    out
}

/// Splits at `->` outside of groups.
pub(crate) fn split_arrows(tokens: &[TokenTree]) -> Vec<(&[TokenTree], Option<Span>)> {
    let mut out = Vec::new();
    let (mut start, mut i, mut arrow) = (0, 0, None);
    while i < tokens.len() {
        if is_punct(tokens.get(i), '-') && is_punct(tokens.get(i + 1), '>') {
            out.push((&tokens[start..i], arrow));
            arrow = Some(tokens[i].span());
            start = i + 2;
            i += 2;
        } else {
            i += 1;
        }
    }
    out.push((&tokens[start..], arrow));
    out
}

/// If a closure's parameter list starts at `i`, the index after its closing bar.
fn closure_params(tokens: &[TokenTree], i: usize) -> Option<usize> {
    if !is_punct(tokens.get(i), '|') || !starts_closure(tokens, i) {
        return None;
    }
    let end = (i + 1..tokens.len()).find(|j| is_punct(tokens.get(*j), '|'))?;
    Some(end + 1)
}

/// Whether the bar at `i` starts a closure rather than being an operator.
pub(crate) fn starts_closure(tokens: &[TokenTree], i: usize) -> bool {
    match i.checked_sub(1).and_then(|p| tokens.get(p)) {
        None => true,
        Some(TokenTree::Punct(p)) => matches!(p.as_char(), ',' | '=' | '>' | ':'),
        Some(TokenTree::Ident(id)) => id == "move" || id == "return",
        _ => false,
    }
}

/// A closure argument, taken apart: `|t| body`.
#[derive(Debug)]
pub(crate) struct Closure {
    /// Parameter tokens, one list per parameter.
    pub(crate) params: Vec<TokenStream>,
    /// Parameter names, where a parameter is a plain name.
    pub(crate) names: Vec<Option<Ident>>,
    /// The body.
    pub(crate) body: Vec<TokenTree>,
}

/// Takes `[move] |a, b| body` apart.
pub(crate) fn closure(tokens: &[TokenTree]) -> Option<Closure> {
    let tokens = if is_ident(tokens.first(), "move") { &tokens[1..] } else { tokens };
    if !is_punct(tokens.first(), '|') {
        return None;
    }
    let end = (1..tokens.len()).find(|j| is_punct(tokens.get(*j), '|'))?;
    let parts: Vec<&[TokenTree]> = if end == 1 { Vec::new() } else { split(&tokens[1..end], ',') };
    let parts: Vec<&[TokenTree]> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    let names = parts.iter().map(|p| if let [TokenTree::Ident(i)] = p { Some(i.clone()) } else { None }).collect();
    Some(Closure { params: parts.iter().map(|p| stream(p)).collect(), names, body: tokens[end + 1..].to_vec() })
}

/// `row { .. }` or `row Name { .. }`.
#[derive(Debug)]
pub(crate) struct Row {
    /// The word `row`.
    pub(crate) word: Ident,
    /// The named record, if any.
    pub(crate) name: Vec<TokenTree>,
    /// The columns: name and expression.
    pub(crate) fields: Vec<(Ident, Vec<TokenTree>)>,
    /// Pieces that are not `name: expression`.
    pub(crate) odd: Vec<Span>,
    /// Column names without a comma before them.
    pub(crate) joined: Vec<Span>,
}

/// Takes a row literal apart, if the tokens are one.
pub(crate) fn row(tokens: &[TokenTree]) -> Option<Row> {
    let Some(TokenTree::Ident(word)) = tokens.first() else { return None };
    if word != "row" {
        return None;
    }
    let (last, name) = tokens.get(1..)?.split_last()?;
    let group = group_of(Some(last), Delimiter::Brace)?;
    if !name.iter().all(|t| matches!(t, TokenTree::Ident(_)) || is_punct(Some(t), ':')) {
        return None;
    }
    let inner = list(&group.stream());
    let (mut fields, mut odd, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for piece in split(&inner, ',').into_iter().flat_map(|piece| split_columns(piece, &mut joined)) {
        match piece {
            [] => {}
            [TokenTree::Ident(name), colon, rest @ ..] if is_punct(Some(colon), ':') => fields.push((name.clone(), rest.to_vec())),
            [TokenTree::Ident(name)] => fields.push((name.clone(), vec![TokenTree::Ident(name.clone())])),
            [first, ..] => odd.push(first.span()),
        }
    }
    Some(Row { word: word.clone(), name: name.to_vec(), fields, odd, joined })
}

/// Splits `a: x b: y`, where a comma is missing: a name with a colon behind a complete expression.
fn split_columns<'a>(piece: &'a [TokenTree], joined: &mut Vec<Span>) -> Vec<&'a [TokenTree]> {
    let (mut out, mut start) = (Vec::new(), 0);
    for i in 3..piece.len() {
        let name = matches!(piece.get(i), Some(TokenTree::Ident(_)));
        let colon = is_punct(piece.get(i + 1), ':') && !is_punct(piece.get(i + 2), ':');
        let complete = match piece.get(i - 1) {
            Some(TokenTree::Punct(p)) => p.as_char() == '?',
            Some(TokenTree::Ident(word)) => !matches!(word.to_string().as_str(), "as" | "else" | "in" | "move" | "mut" | "ref"),
            _ => true,
        };
        if name && colon && complete {
            out.push(&piece[start..i]);
            joined.extend(piece.get(i).map(TokenTree::span));
            start = i;
        }
    }
    out.push(&piece[start..]);
    out
}

/// `compile_error!(message)` at a span, as a statement.
pub(crate) fn error(span: Span, message: &str) -> TokenStream {
    let call = error_expr(span, message);
    quote_spanned!(span=> #call;)
}
/// `compile_error!(message)` at a span, as an expression. All of its tokens are there: rustc points at the whole call.
pub(crate) fn error_expr(span: Span, message: &str) -> TokenStream {
    quote_spanned!(span=> ::core::compile_error!(#message))
}
