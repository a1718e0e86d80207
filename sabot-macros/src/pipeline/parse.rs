//! Tolerant parsing: every prefix of a block is a block. Problems are left to `check` and `expand`.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::quote;

use super::model::{Chain, Head, Param, Pipeline, Step, Stmt};
use super::tokens::{group_of, is_ident, is_punct, list, split, split_arrows, stream};

/// Reads a whole block.
pub(crate) fn parse(input: TokenStream) -> Pipeline {
    let tokens = list(&input);
    let mut pipeline = Pipeline::default();
    for (n, stmt) in split(&tokens, ';').into_iter().enumerate() {
        if stmt.is_empty() {
            continue;
        }
        if pipeline.name.is_none() && n == 0 && header(stmt, &mut pipeline) {
            continue;
        }
        pipeline.stmts.push(statement(stmt));
    }
    pipeline
}

/// `#[..] pub fn name(params)`.
fn header(tokens: &[TokenTree], out: &mut Pipeline) -> bool {
    let Some(at) = tokens.iter().position(|t| matches!(t, TokenTree::Ident(i) if i == "fn")) else { return false };
    let mut i = 0;
    while i < at && is_punct(tokens.get(i), '#') && group_of(tokens.get(i + 1), Delimiter::Bracket).is_some() {
        i += 2;
    }
    out.attrs = stream(&tokens[..i]);
    out.vis = stream(&tokens[i..at]);
    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1) {
        out.name = Some(name.clone());
    }
    if let Some(params) = group_of(tokens.get(at + 2), Delimiter::Parenthesis) {
        let inner = list(&params.stream());
        out.params = split_params(&inner).into_iter().filter_map(param).collect();
    }
    true
}

/// Splits parameters at commas outside of `<..>`.
fn split_params(tokens: &[TokenTree]) -> Vec<&[TokenTree]> {
    let (mut out, mut start, mut angle) = (Vec::new(), 0, 0i32);
    for (i, t) in tokens.iter().enumerate() {
        match t {
            TokenTree::Punct(p) if p.as_char() == '<' => angle += 1,
            TokenTree::Punct(p) if p.as_char() == '>' && !(i > 0 && is_punct(tokens.get(i - 1), '-')) => angle -= 1,
            TokenTree::Punct(p) if p.as_char() == ',' && angle <= 0 => {
                out.push(&tokens[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&tokens[start..]);
    out
}

fn param(tokens: &[TokenTree]) -> Option<Param> {
    let [TokenTree::Ident(name), colon, ty @ ..] = tokens else {
        return match tokens {
            [TokenTree::Ident(name)] => Some(Param { name: name.clone(), ty: quote!(()), source: None }),
            _ => None,
        };
    };
    if !is_punct(Some(colon), ':') {
        return None;
    }
    Some(Param { name: name.clone(), ty: stream(ty), source: source_type(ty) })
}

/// `Source<Record[, Bound]>`, with or without a path before it.
fn source_type(ty: &[TokenTree]) -> Option<(TokenStream, Option<TokenStream>)> {
    let open = ty.iter().position(|t| is_punct(Some(t), '<'))?;
    let word = ty.get(open.checked_sub(1)?)?;
    if !is_ident(Some(word), "Source") || !is_punct(ty.last(), '>') {
        return None;
    }
    let inner = &ty[open + 1..ty.len() - 1];
    let parts = split_params(inner);
    Some((stream(parts.first()?), parts.get(1).filter(|p| !p.is_empty()).map(|p| stream(p))))
}

fn statement(tokens: &[TokenTree]) -> Stmt {
    match tokens {
        [TokenTree::Ident(name), eq, rest @ ..] if is_punct(Some(eq), '=') => {
            Stmt { name: Some(name.clone()), chain: chain(rest, name.span()) }
        }
        _ => Stmt { name: None, chain: chain(tokens, tokens.first().map_or_else(Span::call_site, TokenTree::span)) },
    }
}

/// `head -> step(..) -> step(..)`.
pub(crate) fn chain(tokens: &[TokenTree], before: Span) -> Chain {
    let mut parts = split_arrows(tokens).into_iter();
    let head = match parts.next().map(|(t, _)| t) {
        None | Some([]) => Head::Missing(before),
        Some([TokenTree::Ident(name)]) => Head::Stream(name.clone()),
        Some([TokenTree::Ident(name), args]) if name == "source" && group_of(Some(args), Delimiter::Parenthesis).is_some() => {
            Head::Source(name.clone(), group_of(Some(args), Delimiter::Parenthesis).map(|g| g.stream()).unwrap_or_default())
        }
        Some(other) => Head::Other(stream(other)),
    };
    let steps = parts.map(|(tokens, arrow)| step(tokens, arrow.unwrap_or(before))).collect();
    Chain { head, steps }
}

fn step(tokens: &[TokenTree], arrow: Span) -> Step {
    match tokens {
        [TokenTree::Ident(name), rest @ ..] => {
            let args = group_of(rest.first(), Delimiter::Parenthesis).cloned();
            let rest = if args.is_some() { &rest[1..] } else { rest };
            Step { span: name.span(), name: Some(name.clone()), args, rest: stream(rest) }
        }
        [first, ..] => Step { name: None, args: None, rest: stream(tokens), span: first.span() },
        [] => Step { name: None, args: None, rest: TokenStream::new(), span: arrow },
    }
}

/// Names used as the head of a chain, also inside the arguments of joins and unions.
pub(crate) fn uses(chain: &Chain, out: &mut Vec<Ident>) {
    if let Head::Stream(name) = &chain.head {
        out.push(name.clone());
    }
    for step in &chain.steps {
        let Some(args) = &step.args else { continue };
        let nested = matches!(step.name.as_ref().map(ToString::to_string).as_deref(), Some("join" | "left_join" | "union"));
        if nested {
            for arg in split(&list(&args.stream()), ',') {
                if !arg.is_empty() && !is_punct(arg.first(), '|') {
                    uses(&self::chain(arg, step.span), out);
                }
            }
        }
    }
}
