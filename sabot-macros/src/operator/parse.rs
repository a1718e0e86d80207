//! From tokens to the model. Bodies are not parsed: they may be half typed.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Generics, Signature, Token, Type, Visibility};

use super::model::{About, Aggregate, Function, Item, Options};
use crate::common::{Errors, Place, doc_of, fnv, options, text_of};

/// `None` if the item is neither a function nor an `impl` block.
pub(super) fn parse(attr: TokenStream, item: TokenStream, errors: &mut Errors) -> Option<Item> {
    let mut hashed = attr.clone();
    hashed.extend(item.clone());
    let options = read_options(attr, errors);
    let parsed = (|input: ParseStream<'_>| {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        let about = |first| About { options, doc: doc_of(&attrs), place: Place::of(first, &item), hash: fnv(&hashed) };
        if input.peek(Token![impl]) || (input.peek(Token![unsafe]) && input.peek2(Token![impl])) {
            return block(input, about).map(|a| Some(Item::Aggregate(Box::new(a))));
        }
        let ahead = input.fork();
        if ahead.parse::<Signature>().is_err()
            && !input.cursor().token_stream().into_iter().any(|t| matches!(t, TokenTree::Ident(i) if i == "fn"))
        {
            let rest: TokenStream = input.parse()?;
            return Err(syn::Error::new(
                rest.span(),
                "`#[operator]` goes on a function, or on an `impl` block with `update`, `merge` and `finish`, or with `row`",
            ));
        }
        let sig: Signature = input.parse()?;
        let body: TokenStream = input.parse()?;
        let inline = attrs.iter().any(|a| a.path().is_ident("inline"));
        Ok(Some(Item::Function(Box::new(Function::new(about(sig.fn_token.span), vis, sig, body, inline)))))
    })
    .parse2(item.clone());
    match parsed {
        Ok(item) => item,
        Err(error) => {
            errors.syn(&error);
            None
        }
    }
}

fn read_options(attr: TokenStream, errors: &mut Errors) -> Options {
    let mut out = Options::default();
    for option in options(attr, errors) {
        let span = option.span();
        let key = option.key();
        match key.as_str() {
            "total" | "volatile" | "batch" => {
                if option.value.is_some() {
                    errors.at(span, format!("`{key}` takes no value"));
                }
                match key.as_str() {
                    "total" => out.total = Some(span),
                    "volatile" => out.volatile = Some(span),
                    _ => out.batch = Some(span),
                }
            }
            key if super::waiting::OPTIONS.contains(&key) => super::waiting::read(&option, &mut out.waiting, errors),
            "name" => out.name = text_of(&option, "name = \"prices::notional\"", errors),
            _ => match option.list() {
                Some(types) if types.is_empty() => errors.at(span, format!("list at least one type: `{key} = [i32, f64]`")),
                Some(types) => out.instances.push((option.name.clone(), types)),
                None if key.chars().next().is_some_and(char::is_uppercase) => {
                    errors.at(span, format!("list the types: `{key} = [i32, f64]`"))
                }
                None => errors.at(
                    span,
                    format!(
                        "unknown option `{key}`; known are `total`, `volatile`, `batch`, `name = \"..\"` and `T = [i32, f64]`, and for an `async fn` also `max_in_flight = 64`, `timeout = \"2s\"`, `unordered`, `retry = 3` and `retry_wait = \"100ms\"`"
                    ),
                ),
            },
        }
    }
    out
}

fn block(input: ParseStream<'_>, about: impl FnOnce(proc_macro2::Span) -> About) -> syn::Result<Aggregate> {
    let _: Option<Token![unsafe]> = input.parse()?;
    let token: Token![impl] = input.parse()?;
    let mut generics: Generics = if input.peek(Token![<]) { input.parse()? } else { Generics::default() };
    let _: Option<Token![!]> = input.parse()?;
    let mut ty: Type = input.parse()?;
    let mut of_trait = None;
    if input.peek(Token![for]) {
        let _: Token![for] = input.parse()?;
        of_trait = Some(ty.span());
        ty = input.parse()?;
    }
    generics.where_clause = input.parse()?;
    let content;
    syn::braced!(content in input);
    let body: TokenStream = content.cursor().token_stream();
    let methods = methods(&content)?;
    let ident = crate::common::last_segment(&ty)
        .map(|s| s.ident.clone())
        .ok_or_else(|| syn::Error::new(ty.span(), "an aggregate is a named type: `impl Vwap { .. }`"))?;
    Ok(Aggregate { about: about(token.span), ty, ident, generics, of_trait, methods, body })
}

/// The signatures of the functions in a block; whatever else is there is passed over.
fn methods(input: ParseStream<'_>) -> syn::Result<Vec<Signature>> {
    let mut out = Vec::new();
    while !input.is_empty() {
        input.call(Attribute::parse_outer)?;
        let _: Visibility = input.parse()?;
        if let Ok(sig) = input.fork().parse::<Signature>() {
            let _: Signature = input.parse()?;
            out.push(sig);
        }
        while !input.is_empty() {
            let end = match input.parse::<TokenTree>()? {
                TokenTree::Group(g) => g.delimiter() == Delimiter::Brace,
                TokenTree::Punct(p) => p.as_char() == ';',
                _ => false,
            };
            if end {
                break;
            }
        }
    }
    Ok(out)
}

/// The first token of something, for messages.
pub(super) fn at(tokens: &impl ToTokens) -> proc_macro2::Span {
    crate::common::span_of(tokens)
}
