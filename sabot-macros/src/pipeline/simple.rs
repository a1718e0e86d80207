//! Filters that can be read: comparisons of a column with a constant, under `&&` and `||`. What is read goes to the plan as
//! data, so that sources can leave rows out; what cannot be read is `Unknown`.

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::quote;

use super::meta::RowParam;
use super::tokens::{group_of, is_ident, is_punct, list};

/// A filter's body as tokens of an `Option<SimpleMeta>`. `params` are the parameters of primitive types.
pub(crate) fn simple(body: &[TokenTree], row: &RowParam, params: &[Ident], pipeline: &str) -> TokenStream {
    match either(body, row, &Params { names: params, pipeline }) {
        Some(tree) => quote!(::core::option::Option::Some(#tree)),
        None => quote!(::core::option::Option::None),
    }
}

/// The parameters that a filter may name.
struct Params<'a> {
    names: &'a [Ident],
    pipeline: &'a str,
}

/// The name of a parameter among those of all pipelines of a job.
pub(crate) fn constant_name(pipeline: &str, param: &Ident) -> String {
    format!("{pipeline}.{param}")
}

/// Whether parameters of this type are written to the plan as JSON numbers, text or truth values.
pub(crate) fn primitive(ty: &TokenStream) -> bool {
    let tokens = list(ty);
    let [TokenTree::Ident(name)] = tokens.as_slice() else { return false };
    matches!(name.to_string().as_str(), "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "f32" | "f64" | "bool" | "String")
}

fn either(tokens: &[TokenTree], row: &RowParam, params: &Params<'_>) -> Option<TokenStream> {
    let parts = split_double(tokens, '|');
    if let [one] = parts.as_slice() {
        return both(one, row, params);
    }
    // one part that cannot be read may always be true
    let all = parts.iter().map(|p| both(p, row, params)).collect::<Option<Vec<_>>>()?;
    Some(quote!(::sabot::__private::SimpleMeta::Or(&[#(#all),*])))
}

fn both(tokens: &[TokenTree], row: &RowParam, params: &Params<'_>) -> Option<TokenStream> {
    let parts = split_double(tokens, '&');
    if let [one] = parts.as_slice() {
        return single(one, row, params);
    }
    let all: Vec<_> = parts.iter().map(|p| single(p, row, params)).collect();
    if all.iter().all(Option::is_none) {
        return None;
    }
    let all = all.into_iter().map(|p| p.unwrap_or_else(|| quote!(::sabot::__private::SimpleMeta::Unknown)));
    Some(quote!(::sabot::__private::SimpleMeta::And(&[#(#all),*])))
}

fn single(tokens: &[TokenTree], row: &RowParam, params: &Params<'_>) -> Option<TokenStream> {
    if let [only] = tokens
        && let Some(group) = group_of(Some(only), Delimiter::Parenthesis)
    {
        return either(&list(&group.stream()), row, params);
    }
    if let Some((left, sign, right)) = comparison(tokens) {
        let (column, value, sign) = match (column(left, row), constant(right, params)) {
            (Some(c), Some(v)) => (c, v, sign),
            _ => (column(right, row)?, constant(left, params)?, flipped(sign)),
        };
        let how = Ident::new(sign, proc_macro2::Span::call_site());
        return Some(quote!(::sabot::__private::SimpleMeta::Compare(#column, ::sabot::__private::Comparison::#how, #value)));
    }
    let flag = |column: String, is: bool| {
        let p = quote!(::sabot::__private);
        quote!(#p::SimpleMeta::Compare(#column, #p::Comparison::Eq, #p::ConstantMeta::Bool(#is)))
    };
    if let [not, rest @ ..] = tokens
        && is_punct(Some(not), '!')
    {
        return column(rest, row).map(|c| flag(c, false));
    }
    if let [rest @ .., dot, TokenTree::Ident(method), args] = tokens
        && is_punct(Some(dot), '.')
        && group_of(Some(args), Delimiter::Parenthesis).is_some_and(|g| g.stream().is_empty())
        && (method == "is_none" || method == "is_some")
        && rest.len() == 3
    {
        let (column, is) = (column(rest, row)?, method == "is_none");
        return Some(quote!(::sabot::__private::SimpleMeta::Null(#column, #is)));
    }
    column(tokens, row).map(|c| flag(c, true))
}

/// `row.column` or `row.column?`.
fn column(tokens: &[TokenTree], row: &RowParam) -> Option<String> {
    let tokens = match tokens {
        [rest @ .., q] if is_punct(Some(q), '?') => rest,
        all => all,
    };
    match tokens {
        [first, dot, TokenTree::Ident(field)] if is_ident(Some(first), &row.name) && is_punct(Some(dot), '.') => {
            let field = field.to_string();
            Some(field.strip_prefix("r#").unwrap_or(&field).to_owned())
        }
        _ => None,
    }
}

/// A literal or a parameter of a primitive type.
fn constant(tokens: &[TokenTree], params: &Params<'_>) -> Option<TokenStream> {
    let p = quote!(::sabot::__private::ConstantMeta);
    let (minus, tokens) = match tokens {
        [sign, rest @ ..] if is_punct(Some(sign), '-') => (true, rest),
        all => (false, all),
    };
    match tokens {
        [TokenTree::Literal(literal)] => {
            let text = literal.to_string();
            if text.starts_with('"') {
                return (!minus).then(|| quote!(#p::Text(#literal)));
            }
            let digits: String = text.chars().filter(|c| *c != '_').collect();
            let end = digits.find(['i', 'u', 'f']).filter(|_| !digits.starts_with("0x")).unwrap_or(digits.len());
            let (number, suffix) = digits.split_at(end);
            let signed = format!("{}{number}", if minus { "-" } else { "" });
            if !suffix.starts_with('f')
                && let Ok(v) = signed.parse::<i64>()
            {
                return Some(quote!(#p::Int(#v)));
            }
            let v =
                signed.parse::<f64>().ok().filter(|v| v.is_finite() && (number.contains(['.', 'e', 'E']) || suffix.starts_with('f')))?;
            Some(quote!(#p::Float(#v)))
        }
        [TokenTree::Ident(word)] if !minus && (word == "true" || word == "false") => Some(quote!(#p::Bool(#word))),
        [TokenTree::Ident(word)] if !minus && params.names.iter().any(|q| q == word) => {
            let name = constant_name(params.pipeline, word);
            Some(quote!(#p::Param(#name)))
        }
        _ => None,
    }
}

/// The two sides of the only comparison outside of groups.
fn comparison(tokens: &[TokenTree]) -> Option<(&[TokenTree], &'static str, &[TokenTree])> {
    let mut found = None;
    let mut i = 0;
    while i < tokens.len() {
        if let Some(TokenTree::Punct(p)) = tokens.get(i) {
            let equals = p.spacing() == Spacing::Joint && is_punct(tokens.get(i + 1), '=');
            let sign = match (p.as_char(), equals) {
                ('=', true) => Some("Eq"),
                ('!', true) => Some("Ne"),
                ('<', true) => Some("Le"),
                ('>', true) => Some("Ge"),
                ('<', false) => Some("Lt"),
                ('>', false) => Some("Gt"),
                _ => None,
            };
            if let Some(sign) = sign {
                if found.is_some() {
                    return None;
                }
                let end = i + 1 + usize::from(equals);
                found = Some((&tokens[..i], sign, &tokens[end..]));
                i = end;
                continue;
            }
        }
        i += 1;
    }
    found
}

fn flipped(sign: &'static str) -> &'static str {
    match sign {
        "Lt" => "Gt",
        "Le" => "Ge",
        "Gt" => "Lt",
        "Ge" => "Le",
        same => same,
    }
}

/// Splits at `&&` or `||` outside of groups.
fn split_double(tokens: &[TokenTree], at: char) -> Vec<&[TokenTree]> {
    let (mut out, mut start, mut i) = (Vec::new(), 0, 0);
    while i < tokens.len() {
        let joint = matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.spacing() == Spacing::Joint);
        if joint && is_punct(tokens.get(i), at) && is_punct(tokens.get(i + 1), at) {
            out.push(&tokens[start..i]);
            start = i + 2;
            i += 1;
        }
        i += 1;
    }
    out.push(&tokens[start..]);
    out
}
