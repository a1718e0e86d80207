//! Tolerant parsing: every prefix of a block is a block. Problems are left to `check` and `expand`.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::quote;

use super::meta::text;
use super::model::{Chain, Head, Pair, Param, Pipeline, Step, Stmt};
use super::steps::JOINS;
use super::tokens::{group_of, is_ident, is_punct, list, split, split_arrows, stream};

/// Reads a whole block.
pub(crate) fn parse(input: TokenStream) -> Pipeline {
    let tokens = list(&input);
    let mut pipeline = Pipeline { first: tokens.first().map(TokenTree::span), ..Pipeline::default() };
    for (n, stmt) in split(&tokens, ';').into_iter().enumerate() {
        if stmt.is_empty() {
            continue;
        }
        if pipeline.name.is_none() && n == 0 && header(stmt, &mut pipeline) {
            continue;
        }
        pipeline.stmts.push(statement(stmt));
    }
    header_slips(&mut pipeline);
    pipeline
}

/// Reads `trades: Trade` as a source if it is used as one, and `config: &Config` as a `Config`; says so.
fn header_slips(pipeline: &mut Pipeline) {
    let mut used = Vec::new();
    pipeline.stmts.iter().for_each(|s| heads(&s.chain, &mut used));
    for p in pipeline.params.iter_mut().filter(|p| p.source.is_none()) {
        let (ty, name) = (list(&p.ty), p.name.to_string());
        let at = ty.first().map_or_else(|| p.name.span(), TokenTree::span);
        let record = matches!(ty.first(), Some(TokenTree::Ident(i)) if i.to_string().starts_with(char::is_uppercase));
        if record && used.iter().any(|u| *u == name) {
            let shown = text(&ty);
            pipeline.mistakes.push((at, format!("`{name}` is used as a stream of rows: write `{name}: Source<{shown}>`")));
            p.source = Some((p.ty.clone(), None));
        } else if is_punct(ty.first(), '&') {
            let owned =
                ty.iter().skip(1).skip_while(|t| is_punct(Some(t), '\'') || is_ident(Some(t), "static") || is_ident(Some(t), "mut"));
            let owned: Vec<TokenTree> = owned.cloned().collect();
            let owned = if matches!(owned.as_slice(), [TokenTree::Ident(i)] if i == "str") { list(&quote!(String)) } else { owned };
            let shown = text(&owned);
            let message = format!("parameters go to other threads and processes, so they own their values: write `{name}: {shown}`");
            pipeline.mistakes.push((at, message));
            p.ty = stream(&owned);
        }
    }
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
    if let Some([arrow, _, record @ ..]) = tokens.get(at + 3..)
        && is_punct(Some(arrow), '-')
    {
        if record.is_empty() {
            let message = "expected the record that the pipeline returns after `->`, such as `-> Clean`";
            out.mistakes.push((arrow.span(), message.to_owned()));
        } else {
            out.output = Some(stream(record));
        }
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
            Stmt { name: Some(name.clone()), pair: None, chain: chain(rest, name.span()) }
        }
        [TokenTree::Group(g), eq, rest @ ..] if g.delimiter() == Delimiter::Parenthesis && is_punct(Some(eq), '=') => {
            let inner = list(&g.stream());
            let mut names =
                split(&inner, ',').into_iter().map(|piece| if let [TokenTree::Ident(i)] = piece { Some(i.clone()) } else { None });
            let (name, bad) = (names.next().flatten(), names.next().flatten());
            let odd = name.is_none() || bad.is_none() || names.next().is_some();
            Stmt { name, pair: Some(Pair { bad, odd, span: g.span() }), chain: chain(rest, g.span()) }
        }
        _ => Stmt { name: None, pair: None, chain: chain(tokens, tokens.first().map_or_else(Span::call_site, TokenTree::span)) },
    }
}

/// `head -> step(..) -> step(..)`.
pub(crate) fn chain(tokens: &[TokenTree], before: Span) -> Chain {
    let mut parts = split_arrows(tokens).into_iter();
    let mut dotted = Vec::new();
    let head = match parts.next().map(|(t, _)| t) {
        None | Some([]) => Head::Missing(before),
        Some([TokenTree::Ident(name)]) => Head::Stream(name.clone()),
        Some([TokenTree::Ident(name), dot, rest @ ..]) if is_punct(Some(dot), '.') => {
            dotted = steps(rest, dot.span(), Some(dot.span()));
            Head::Stream(name.clone())
        }
        Some([TokenTree::Ident(name), args]) if name == "source" && group_of(Some(args), Delimiter::Parenthesis).is_some() => {
            Head::Source(name.clone(), group_of(Some(args), Delimiter::Parenthesis).map(|g| g.stream()).unwrap_or_default())
        }
        Some([path @ .., TokenTree::Group(args)]) if args.delimiter() == Delimiter::Parenthesis && is_path(path) => {
            Head::Call(path.to_vec(), args.clone())
        }
        Some(other) => Head::Other(stream(other)),
    };
    let steps = dotted.into_iter().chain(parts.flat_map(|(tokens, arrow)| steps(tokens, arrow.unwrap_or(before), None))).collect();
    Chain { head, steps }
}

/// The step behind an arrow, and those that are joined to it by dots.
fn steps(mut tokens: &[TokenTree], mut before: Span, mut dot: Option<Span>) -> Vec<Step> {
    let mut out = Vec::new();
    loop {
        let (mut step, rest) = step(tokens, before);
        step.dot = dot;
        let next = match rest {
            [next, ..] if step.args.is_some() && is_punct(Some(next), '.') => Some(next.span()),
            _ => None,
        };
        if next.is_none() {
            step.rest = stream(rest);
        }
        out.push(step);
        let Some(span) = next else { return out };
        (tokens, before, dot) = (&rest[1..], span, Some(span));
    }
}

/// A step, and what follows it.
fn step(tokens: &[TokenTree], before: Span) -> (Step, &[TokenTree]) {
    let none = |span| Step { name: None, args: None, dot: None, rest: TokenStream::new(), span };
    match tokens {
        [TokenTree::Ident(name), rest @ ..] => {
            let args = group_of(rest.first(), Delimiter::Parenthesis).cloned();
            let rest = if args.is_some() { &rest[1..] } else { rest };
            (Step { name: Some(name.clone()), args, ..none(name.span()) }, rest)
        }
        [first, ..] => (none(first.span()), tokens),
        [] => (none(before), tokens),
    }
}

/// `clean`, `mylib::clean`, `mylib::top::<3>`.
fn is_path(tokens: &[TokenTree]) -> bool {
    let plain = |t: &TokenTree| match t {
        TokenTree::Punct(p) => matches!(p.as_char(), ':' | '<' | '>' | ',' | '_'),
        other => matches!(other, TokenTree::Ident(_) | TokenTree::Literal(_)),
    };
    matches!(tokens.first(), Some(TokenTree::Ident(_))) && tokens.iter().all(plain) && (tokens.len() == 1 || is_punct(tokens.get(1), ':'))
}

/// An argument of a call that is a chain of its own: `clean(raw -> filter(..), 10)`.
pub(crate) fn is_chain(arg: &[TokenTree]) -> bool {
    matches!(arg.first(), Some(TokenTree::Ident(i)) if i != "move") && split_arrows(arg).len() > 1
}

/// Names used as streams: heads of chains, and what is given to other pipelines and functions. Parameters may be among the
/// latter.
pub(crate) fn uses(chain: &Chain, out: &mut Vec<Ident>) {
    heads(chain, out);
    if let Head::Call(_, args) = &chain.head {
        for arg in split(&list(&args.stream()), ',').into_iter().filter(|a| !is_chain(a)) {
            names(arg, out);
        }
    }
    for step in chain.steps.iter().filter(|s| s.name.as_ref().is_some_and(|n| n == "apply")) {
        step.args.iter().for_each(|args| names(&list(&args.stream()), out));
    }
}

/// All names, but those of fields, methods and functions.
fn names(tokens: &[TokenTree], out: &mut Vec<Ident>) {
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) => {
                let called = matches!(tokens.get(i + 1), Some(TokenTree::Group(_)));
                let field = i > 0 && is_punct(tokens.get(i - 1), '.');
                if !called && !field {
                    out.push(name.clone());
                }
            }
            TokenTree::Group(g) => names(&list(&g.stream()), out),
            _ => {}
        }
    }
}

/// Names used as the head of a chain, also inside the arguments of joins, unions and other pipelines.
fn heads(chain: &Chain, out: &mut Vec<Ident>) {
    match &chain.head {
        Head::Stream(name) => out.push(name.clone()),
        Head::Call(_, args) => {
            for arg in split(&list(&args.stream()), ',').into_iter().filter(|a| is_chain(a)) {
                uses(&self::chain(arg, args.span()), out);
            }
        }
        _ => {}
    }
    for step in &chain.steps {
        let Some(args) = &step.args else { continue };
        let Some(name) = step.name.as_ref().map(ToString::to_string) else { continue };
        // a join's one stream comes first, before what else it takes
        let streams = if JOINS.contains(&name.as_str()) { 1 } else { usize::MAX };
        if streams == 1 || matches!(name.as_str(), "union" | "intersect" | "except") {
            for arg in split(&list(&args.stream()), ',').into_iter().take(streams) {
                if !arg.is_empty() && !is_punct(arg.first(), '|') {
                    uses(&self::chain(arg, step.span), out);
                }
            }
        }
    }
}
