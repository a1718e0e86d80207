//! Doc comments, and options such as `(total, name = "..", T = [i32, f64])`.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use syn::Attribute;

use super::Errors;

/// One option of an attribute.
#[derive(Clone, Debug)]
pub(crate) struct Opt {
    /// Its name.
    pub(crate) name: Ident,
    /// What follows `=`.
    pub(crate) value: Option<TokenStream>,
}

impl Opt {
    /// Its name as text.
    pub(crate) fn key(&self) -> String {
        super::bare(&self.name)
    }
    /// Where it is.
    pub(crate) fn span(&self) -> Span {
        self.name.span()
    }
    /// The list in `name = [a, b]`.
    pub(crate) fn list(&self) -> Option<Vec<TokenStream>> {
        let mut tokens = self.value.clone()?.into_iter();
        match (tokens.next(), tokens.next()) {
            (Some(TokenTree::Group(g)), None) if g.delimiter() == Delimiter::Bracket => Some(split(g.stream(), ',')),
            _ => None,
        }
    }
}

/// Splits at a punctuation mark that is not within `<..>` or a group; empty pieces are dropped.
fn split(tokens: TokenStream, at: char) -> Vec<TokenStream> {
    let mut out = vec![Vec::new()];
    let mut depth = 0i32;
    let mut previous = ' ';
    for token in tokens {
        if let TokenTree::Punct(p) = &token {
            match p.as_char() {
                '<' => depth += 1,
                '>' if previous != '-' => depth -= 1,
                c if c == at && depth == 0 => {
                    out.push(Vec::new());
                    previous = c;
                    continue;
                }
                _ => {}
            }
            previous = p.as_char();
        } else {
            previous = ' ';
        }
        if let Some(last) = out.last_mut() {
            last.push(token);
        }
    }
    out.into_iter().filter(|p| !p.is_empty()).map(|p| p.into_iter().collect()).collect()
}

/// Reads `name`, `name = value`, .. and reports what is neither.
pub(crate) fn options(tokens: TokenStream, errors: &mut Errors) -> Vec<Opt> {
    let mut out: Vec<Opt> = Vec::new();
    for piece in split(tokens, ',') {
        let mut tokens = piece.into_iter();
        let name = match tokens.next() {
            Some(TokenTree::Ident(name)) => name,
            Some(other) => {
                errors.at(other.span(), "expected an option, `name` or `name = value`");
                continue;
            }
            None => continue,
        };
        let value = match tokens.next() {
            None => None,
            Some(TokenTree::Punct(p)) if p.as_char() == '=' => {
                let value: TokenStream = tokens.collect();
                if value.is_empty() {
                    errors.at(p.span(), format!("expected a value after `{name} =`"));
                    continue;
                }
                Some(value)
            }
            Some(other) => {
                errors.at(other.span(), format!("expected `=` or `,` after `{name}`"));
                continue;
            }
        };
        if out.iter().any(|o| o.name == name) {
            errors.at(name.span(), format!("option `{name}` is given twice"));
            continue;
        }
        out.push(Opt { name, value });
    }
    out
}

/// The string literal of an option.
pub(crate) fn text_of(option: &Opt, example: &str, errors: &mut Errors) -> Option<String> {
    let lit = option.value.clone().and_then(|v| syn::parse2::<syn::LitStr>(v).ok()).map(|l| l.value());
    match lit {
        Some(text) if !text.is_empty() => Some(text),
        _ => {
            errors.at(option.span(), format!("`{}` needs a text: `{example}`", option.key()));
            None
        }
    }
}

/// The doc comment, one leading space of each line removed, trimmed.
pub(crate) fn doc_of(attrs: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attrs.iter().filter(|a| a.path().is_ident("doc")) {
        if let syn::Meta::NameValue(syn::MetaNameValue { value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(s), .. }), .. }) =
            &attr.meta
        {
            let text = s.value();
            lines.push(text.strip_prefix(' ').unwrap_or(&text).trim_end().to_owned());
        }
    }
    lines.join("\n").trim().to_owned()
}

/// The doc comment, or a sentence where there is none.
pub(crate) fn doc_or(attrs: &[Attribute], otherwise: String) -> String {
    let doc = doc_of(attrs);
    if doc.is_empty() { otherwise } else { doc }
}
