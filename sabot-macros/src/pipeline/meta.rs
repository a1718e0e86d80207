//! What can be told of an expression from its tokens: columns read, `?`, lineage, calls, whether it can panic.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::quote;

use super::tokens::{is_punct, list, starts_closure};

/// A row parameter of a closure and the prefix of its columns (`left.`, `right.` after a join).
#[derive(Clone, Debug)]
pub(crate) struct RowParam {
    /// Its name.
    pub(crate) name: String,
    /// Prefix of its columns in the kernel's input.
    pub(crate) prefix: &'static str,
}

/// The findings.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Columns read, unless `all`.
    pub(crate) reads: BTreeSet<String>,
    /// A row parameter was used as a whole.
    pub(crate) all: bool,
    /// Columns followed by `?`.
    pub(crate) strict: BTreeSet<String>,
    /// Functions called, by last path segment.
    pub(crate) calls: BTreeSet<String>,
    /// Whether there is a `?` outside of nested closures.
    pub(crate) question: bool,
    plain: bool,
    hoist: bool,
    /// The tokens of an `Option<SimpleMeta>`, for a filter.
    pub(crate) simple: Option<TokenStream>,
}

/// Functions and methods of the standard library that cannot panic.
const PLAIN: &[&str] = &[
    "Some",
    "from",
    "abs",
    "min",
    "max",
    "clamp",
    "sqrt",
    "floor",
    "ceil",
    "round",
    "trunc",
    "signum",
    "powi",
    "powf",
    "exp",
    "ln",
    "log10",
    "log2",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "to_radians",
    "to_degrees",
    "hypot",
    "is_nan",
    "is_some",
    "is_none",
    "is_some_and",
    "is_none_or",
    "unwrap_or",
    "unwrap_or_default",
    "and_then",
    "map",
    "or",
    "zip",
    "wrapping_add",
    "wrapping_sub",
    "wrapping_mul",
    "saturating_add",
    "saturating_sub",
    "saturating_mul",
    "is_empty",
    "starts_with",
    "ends_with",
    "contains",
    "eq",
    "ne",
    "lt",
    "gt",
    "le",
    "ge",
    "trim",
    "len",
    "value",
    "micros",
    "hour",
    "date",
    "mul_add",
];

impl Facts {
    /// Looks at an expression. `rows` are the row parameters in scope.
    pub(crate) fn of(tokens: &[TokenTree], rows: &[RowParam]) -> Self {
        let mut facts = Facts { plain: true, hoist: true, ..Facts::default() };
        facts.walk(tokens, rows, false);
        facts
    }

    fn walk(&mut self, tokens: &[TokenTree], rows: &[RowParam], in_closure: bool) {
        let mut in_closure = in_closure;
        let mut i = 0;
        while i < tokens.len() {
            match &tokens[i] {
                TokenTree::Punct(p) => match p.as_char() {
                    '?' => {
                        if in_closure {
                            self.plain = false;
                        } else {
                            self.question = true;
                            // only `row.column?` (handled below) is known to be a null test
                            self.hoist = false;
                        }
                    }
                    '|' if starts_closure(tokens, i) => {
                        in_closure = true;
                        self.hoist = false;
                        i = (i + 1..tokens.len()).find(|j| is_punct(tokens.get(*j), '|')).unwrap_or(tokens.len());
                    }
                    '|' if is_punct(tokens.get(i + 1), '|') => self.hoist = false,
                    '&' if is_punct(tokens.get(i + 1), '&') => self.hoist = false,
                    ',' if in_closure => in_closure = false,
                    _ => {}
                },
                TokenTree::Group(g) => {
                    if g.delimiter() == Delimiter::Brace {
                        // what is inside is looked at like all else: `let`, loops and the like are not plain
                        self.hoist = false;
                    }
                    if g.delimiter() == Delimiter::Bracket {
                        self.plain = false;
                    }
                    self.walk(&list(&g.stream()), rows, in_closure);
                }
                TokenTree::Literal(l) => {
                    let text = l.to_string();
                    if text.starts_with('"') && rows.iter().any(|r| text.contains(&format!("{{{}", r.name))) {
                        self.all = true;
                    }
                }
                TokenTree::Ident(id) => i = self.ident(id, tokens, i, rows, in_closure),
            }
            i += 1;
        }
    }

    /// Handles the identifier at `i`; returns the index of the last token used up.
    fn ident(&mut self, id: &Ident, tokens: &[TokenTree], i: usize, rows: &[RowParam], in_closure: bool) -> usize {
        let name = id.to_string();
        let after_dot = i > 0 && is_punct(tokens.get(i - 1), '.');
        if matches!(name.as_str(), "if" | "else") && !after_dot {
            self.hoist = false;
            return i;
        }
        if matches!(name.as_str(), "match" | "for" | "while" | "loop" | "return" | "unsafe" | "let" | "break") {
            self.plain = false;
            self.hoist = false;
            return i;
        }
        if !after_dot && let Some(row) = rows.iter().find(|r| r.name == name) {
            let optional = is_punct(tokens.get(i + 1), '?');
            let dot = i + 1 + usize::from(optional);
            if is_punct(tokens.get(dot), '.')
                && let Some(TokenTree::Ident(field)) = tokens.get(dot + 1)
                && !matches!(tokens.get(dot + 2), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis)
            {
                let column = format!("{}{field}", row.prefix);
                self.reads.insert(column.clone());
                if optional {
                    self.reads.insert(format!("__has_{}", row.prefix.trim_end_matches('.')));
                    self.question = true;
                    self.hoist = false;
                }
                if is_punct(tokens.get(dot + 2), '?') && !in_closure {
                    self.question = true;
                    self.strict.insert(column);
                    return dot + 2;
                }
                return dot + 1;
            }
            self.all = true;
            return i;
        }
        if is_punct(tokens.get(i + 1), '!') && !is_punct(tokens.get(i + 2), '=') {
            // a macro call
            self.plain = false;
            self.hoist = false;
        } else if matches!(tokens.get(i + 1), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis) {
            if after_dot {
                if !PLAIN.contains(&name.as_str()) {
                    self.plain = false;
                }
            } else if !PLAIN.contains(&name.as_str()) {
                self.calls.insert(name);
            }
        }
        i
    }

    /// The fields read as an `Option<&[&str]>`: `None` is all.
    pub(crate) fn reads(&self) -> TokenStream {
        if self.all {
            quote!(::core::option::Option::None)
        } else {
            let reads = &self.reads;
            quote!(::core::option::Option::Some(&[#(#reads),*]))
        }
    }

    /// The tokens of an `ExprMeta`.
    pub(crate) fn meta(&self, name: &str, text: &str, pass: Option<&str>) -> TokenStream {
        let reads = self.reads();
        let (strict, calls) = (&self.strict, &self.calls);
        let pass = match pass {
            Some(p) => quote!(::core::option::Option::Some(#p)),
            None => quote!(::core::option::Option::None),
        };
        let (plain, hoist) = (self.plain, self.hoist);
        let simple = self.simple.clone().unwrap_or_else(|| quote!(::core::option::Option::None));
        quote!(::sabot::__private::ExprMeta { name: #name, text: #text, reads: #reads, strict: &[#(#strict),*], pass: #pass, calls: &[#(#calls),*], plain: #plain, hoist: #hoist, simple: #simple })
    }
}

/// If the expression is exactly `row.column` (or `row?.column`), the column.
pub(crate) fn pass(tokens: &[TokenTree], rows: &[RowParam]) -> Option<String> {
    let (first, rest) = tokens.split_first()?;
    let TokenTree::Ident(id) = first else { return None };
    let row = rows.iter().find(|r| id == &r.name)?;
    let rest = if is_punct(rest.first(), '?') { &rest[1..] } else { rest };
    match rest {
        [dot, TokenTree::Ident(field)] if is_punct(Some(dot), '.') => Some(format!("{}{field}", row.prefix)),
        // a name that is not there yet: the editor compares the expansion with the one that has it
        [dot] if is_punct(Some(dot), '.') => Some(row.prefix.to_owned()),
        _ => None,
    }
}

/// The expression as text for `explain`.
pub(crate) fn text(tokens: &[TokenTree]) -> String {
    let mut out = String::new();
    write(tokens, &mut out);
    out
}
fn write(tokens: &[TokenTree], out: &mut String) {
    for (i, t) in tokens.iter().enumerate() {
        match t {
            TokenTree::Group(g) => {
                let (open, close) = match g.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => (" { ", " }"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push_str(open);
                write(&list(&g.stream()), out);
                out.push_str(close);
            }
            TokenTree::Punct(p) => {
                let c = p.as_char();
                let joint = p.spacing() == proc_macro2::Spacing::Joint;
                let second = i > 0 && matches!(tokens.get(i - 1), Some(TokenTree::Punct(q)) if q.spacing() == proc_macro2::Spacing::Joint);
                let tight =
                    matches!(c, '.' | '?' | ':' | '!' | '\'') || (!second && matches!(c, '&' | '|' | '*' | '-') && unary(tokens, i));
                if !tight && c != ',' && !second && !out.ends_with([' ', '(']) && !out.is_empty() {
                    out.push(' ');
                }
                out.push(c);
                if (!tight && !joint) || c == ',' {
                    out.push(' ');
                }
            }
            other => {
                if out.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"') {
                    out.push(' ');
                }
                out.push_str(&other.to_string());
            }
        }
    }
    while out.ends_with(' ') {
        out.pop();
    }
}
fn unary(tokens: &[TokenTree], i: usize) -> bool {
    i == 0 || matches!(tokens.get(i - 1), Some(TokenTree::Punct(p)) if !matches!(p.as_char(), '?' | '.'))
}

/// Whether an identifier with this name occurs anywhere, also as `{name}` in a string literal.
pub(crate) fn mentions(tokens: &[TokenTree], name: &str) -> bool {
    tokens.iter().any(|t| match t {
        TokenTree::Ident(id) => id == name,
        TokenTree::Group(g) => mentions(&list(&g.stream()), name),
        TokenTree::Literal(l) => l.to_string().contains(&format!("{{{name}")),
        TokenTree::Punct(_) => false,
    })
}
