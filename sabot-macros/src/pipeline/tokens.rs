//! Token-level helpers. The user's expressions are never parsed.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
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
    let (mut fields, mut odd) = (Vec::new(), Vec::new());
    for piece in split(&inner, ',') {
        match piece {
            [] => {}
            [TokenTree::Ident(name), colon, rest @ ..] if is_punct(Some(colon), ':') => fields.push((name.clone(), rest.to_vec())),
            [TokenTree::Ident(name)] => fields.push((name.clone(), vec![TokenTree::Ident(name.clone())])),
            [first, ..] => odd.push(first.span()),
        }
    }
    Some(Row { word: word.clone(), name: name.to_vec(), fields, odd })
}

/// `compile_error!(message)` at a span, as a statement.
pub(crate) fn error(span: Span, message: &str) -> TokenStream {
    let call = error_expr(span, message);
    quote_spanned!(span=> #call;)
}
/// `compile_error!(message)` at a span, as an expression.
///
/// Its names do not carry the span: an editor that looks for the user's token in the expansion must not find them.
pub(crate) fn error_expr(span: Span, message: &str) -> TokenStream {
    let (core, compile_error) = (Ident::new("core", Span::call_site()), Ident::new("compile_error", Span::call_site()));
    let message = Literal::string(message);
    quote_spanned!(span=> ::#core::#compile_error!(#message))
}

/// The known name nearest to `name`, if it is near enough to be a typo.
pub(crate) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|k| (distance(name, k), k)).filter(|(d, k)| *d <= 1 + k.len().max(name.len()) / 4).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}
/// Edit distance with transpositions (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
