//! Types as tokens. The macros know types only by how they are written; whatever they do not know they pass on to rustc.

use proc_macro2::{Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{GenericArgument, PathArguments, Type};

/// The last segment of a path type without `Self::`-like qualification: `Option<f64>` of `std::option::Option<f64>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    match ty {
        Type::Path(p) if p.qself.is_none() => p.path.segments.last(),
        Type::Paren(p) => last_segment(&p.elem),
        Type::Group(g) => last_segment(&g.elem),
        _ => None,
    }
}

/// The type arguments of a path segment.
pub(crate) fn generic_args(segment: &syn::PathSegment) -> Vec<&Type> {
    match &segment.arguments {
        PathArguments::AngleBracketed(a) => a
            .args
            .iter()
            .filter_map(|a| match a {
                GenericArgument::Type(t) => Some(t),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A type that the macros know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Float,
    Int,
    Bool,
    /// Dates, times, decimals: fixed width, no arithmetic that we know to be total.
    Fixed,
    Text,
    Bytes,
    Dict,
    List,
    Option,
}

impl Known {
    /// By the last segment of its path.
    pub(crate) fn of(ty: &Type) -> Option<Known> {
        let segment = last_segment(ty)?;
        let args = generic_args(segment).len();
        Some(match segment.ident.to_string().as_str() {
            "f16" | "f32" | "f64" => Known::Float,
            "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => Known::Int,
            "bool" => Known::Bool,
            "Date" | "Decimal" | "Timestamp" | "Duration" | "Time" => Known::Fixed,
            "Str" => Known::Text,
            "Bytes" => Known::Bytes,
            "Dict" if args == 1 => Known::Dict,
            "List" if args == 1 => Known::List,
            "Option" if args == 1 => Known::Option,
            _ => return None,
        })
    }
    /// Whether a column of this type is plain fixed-width memory; `None` if the macro cannot know.
    pub(crate) fn fixed(ty: &Type) -> bool {
        match Known::of(ty) {
            Some(Known::Option) => last_segment(ty).is_some_and(|s| generic_args(s).first().is_some_and(|t| Known::fixed(t))),
            Some(Known::Float | Known::Int | Known::Bool | Known::Fixed) => true,
            _ => false,
        }
    }
}

/// The column type of a parameter or result that is written as `ty`: `Str` for `&str`, `Option<Str>` for `Option<&str>`.
/// `None` if it mentions a lifetime that no column type has.
pub(crate) fn value_type(ty: &Type) -> Option<TokenStream> {
    let span = Span::mixed_site().located_at(span_of(ty));
    match ty {
        Type::Reference(r) if r.mutability.is_none() => match &*r.elem {
            Type::Path(p) if p.path.is_ident("str") => Some(quote_spanned!(span=> ::sabot::__private::Str)),
            Type::Slice(s) if matches!(&*s.elem, Type::Path(p) if p.path.is_ident("u8")) => {
                Some(quote_spanned!(span=> ::sabot::__private::Bytes))
            }
            _ => None,
        },
        Type::Paren(p) => value_type(&p.elem),
        Type::Group(g) => value_type(&g.elem),
        Type::Path(p) if p.qself.is_none() => {
            let segment = p.path.segments.last()?;
            let args = generic_args(segment);
            match (segment.ident.to_string().as_str(), args.as_slice()) {
                ("Option", [inner]) => {
                    let inner = value_type(inner)?;
                    // `Option<Option<T>>` flattens, as in `Cell`
                    if inner.to_string().starts_with(":: core :: option :: Option <") {
                        Some(inner)
                    } else {
                        Some(quote_spanned!(span=> ::core::option::Option<#inner>))
                    }
                }
                ("Result", [inner, ..]) => value_type(inner),
                ("String", []) => Some(quote_spanned!(span=> ::sabot::__private::Str)),
                ("Cow", [Type::Path(inner)]) if inner.path.is_ident("str") => Some(quote_spanned!(span=> ::sabot::__private::Str)),
                ("Vec", [Type::Path(inner)]) if inner.path.is_ident("u8") => Some(quote_spanned!(span=> ::sabot::__private::Bytes)),
                ("ListRef", [inner]) => Some(quote_spanned!(span=> ::sabot::__private::List<#inner>)),
                _ if has_lifetime(ty.to_token_stream()) => None,
                _ => Some(ty.to_token_stream()),
            }
        }
        _ => None,
    }
}

/// Where a type begins.
pub(crate) fn span_of(tokens: &impl ToTokens) -> Span {
    tokens.to_token_stream().into_iter().next().map_or_else(Span::call_site, |t| t.span())
}

fn has_lifetime(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|t| match t {
        TokenTree::Punct(p) => matches!(p.as_char(), '&' | '\''),
        TokenTree::Group(g) => has_lifetime(g.stream()),
        _ => false,
    })
}

/// Whether a type leaves a lifetime out: `&str`, `ListRef<'_, T>`.
pub(crate) fn elided(ty: &impl ToTokens) -> bool {
    let before = ty.to_token_stream();
    name_lifetimes(before.clone(), "'__").to_string() != before.to_string()
}

/// Names the lifetimes that are left out, so that the type can be written in another place.
pub(crate) fn name_lifetimes(tokens: TokenStream, lifetime: &str) -> TokenStream {
    let named = |span: Span| {
        let mut l = syn::Lifetime::new(lifetime, Span::mixed_site().located_at(span));
        l.apostrophe = l.ident.span();
        l.to_token_stream()
    };
    let mut out = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(g) => {
                let mut group = Group::new(g.delimiter(), name_lifetimes(g.stream(), lifetime));
                group.set_span(g.span());
                out.extend([TokenTree::Group(group)]);
            }
            TokenTree::Punct(p) if p.as_char() == '&' => {
                let span = p.span();
                let own = matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '\'');
                out.extend([TokenTree::Punct(p)]);
                if !own {
                    out.extend(named(span));
                }
            }
            TokenTree::Punct(p) if p.as_char() == '\'' && p.spacing() == Spacing::Joint => match tokens.next() {
                Some(TokenTree::Ident(i)) if i == "_" => out.extend(named(i.span())),
                other => {
                    out.extend([TokenTree::Punct(p)]);
                    out.extend(other);
                }
            },
            other => out.extend([other]),
        }
    }
    out
}

/// The tokens with each generic parameter replaced by its instance.
pub(crate) fn substitute(tokens: TokenStream, instance: &[(Ident, TokenStream)]) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|t| match t {
            TokenTree::Ident(i) => match instance.iter().find(|(name, _)| *name == i) {
                Some((_, ty)) => ty.clone(),
                None => quote!(#i),
            },
            TokenTree::Group(g) => {
                let mut group = Group::new(g.delimiter(), substitute(g.stream(), instance));
                group.set_span(g.span());
                TokenTree::Group(group).into()
            }
            other => other.into(),
        })
        .collect()
}

/// A type as a user would write it: `Option<&str>`, not `Option < & str >`.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
    let mut out = String::new();
    let mut previous = ' ';
    for token in tokens.to_token_stream().to_string().split_whitespace() {
        let first = token.chars().next().unwrap_or(' ');
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
        let space = (word(previous) && (word(first) || first == '=' || first == '-' || first == '+'))
            || matches!(previous, ',' | ';' | '=' | '+' | ':') && !(previous == ':' && out.ends_with("::"))
            || token.starts_with("->")
            || (previous == '>' && out.ends_with("->"))
            || (previous == '>' && (first == '+' || word(first)));
        if space {
            out.push(' ');
        }
        out.push_str(token);
        previous = token.chars().last().unwrap_or(' ');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ty: &str) -> Option<String> {
        value_type(&syn::parse_str(ty).unwrap()).map(|t| text(&t).replace("::sabot::__private::", "").replace("::core::option::", ""))
    }

    #[test]
    fn types_of_columns() {
        for (written, column) in [
            ("f64", "f64"),
            ("&str", "Str"),
            ("&'a str", "Str"),
            ("&[u8]", "Bytes"),
            ("String", "Str"),
            ("Cow<'_, str>", "Str"),
            ("Option<&str>", "Option<Str>"),
            ("Option<Option<f64>>", "Option<f64>"),
            ("Result<i8, BadSide>", "i8"),
            ("std::result::Result<Option<String>, E>", "Option<Str>"),
            ("ListRef<'_, i64>", "List<i64>"),
            ("Timestamp<Micros>", "Timestamp<Micros>"),
            ("Decimal<10, 2>", "Decimal<10, 2>"),
        ] {
            assert_eq!(value(written).as_deref(), Some(column), "{written}");
        }
        for none in ["TradeRow<'_>", "&Config", "(i64, &str)", "&mut str"] {
            assert_eq!(value(none), None, "{none}");
        }
    }

    #[test]
    fn types_print_as_written() {
        for ty in [
            "Option<&str>",
            "Result<i8, BadSide>",
            "Decimal<10, 2>",
            "&'a str",
            "impl Iterator<Item = Leg> + 'a",
            "std::io::Result<f64>",
            "fn(i64) -> f64",
            "[u8; 4]",
            "(i64, f64)",
        ] {
            let parsed: Type = syn::parse_str(ty).unwrap();
            assert_eq!(text(&parsed), ty);
        }
    }

    #[test]
    fn left_out_lifetimes() {
        let named = |ty: &str| name_lifetimes(ty.parse().unwrap(), "'x").to_string().replace(' ', "");
        assert_eq!(named("Option<&str>"), "Option<&'xstr>");
        assert_eq!(named("(&'a str, ListRef<'_, i64>)"), "(&'astr,ListRef<'x,i64>)");
        assert!(elided(&quote!(&str)) && !elided(&quote!(&'a str)) && !elided(&quote!(f64)));
    }
}
