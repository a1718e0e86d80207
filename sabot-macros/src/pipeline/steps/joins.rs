//! The joins: `join`, `left_join`, `right_join`, `full_join`, `semi_join`, `anti_join`, `asof_join`, `interval_join`.

use super::*;
use crate::pipeline::tokens::is_ident;

/// What one of the joins takes.
struct Kind {
    /// Whether the left and the right row of its closure may be missing.
    maybe: [bool; 2],
    /// Whether it makes a row; else it keeps left rows.
    row: bool,
    /// Its named arguments.
    named: &'static [&'static str],
    /// How they are written.
    usage: &'static str,
}

const ON: &str = "`on = |l, r| condition`";

impl Kind {
    fn of(step: &str) -> Kind {
        let by_keys = |maybe, row| Kind { maybe, row, named: &["on"], usage: ON };
        match step {
            "left_join" => by_keys([false, true], true),
            "right_join" => by_keys([true, false], true),
            "full_join" => by_keys([true, true], true),
            "semi_join" | "anti_join" => by_keys([false, false], false),
            "asof_join" => Kind {
                maybe: [false, true],
                row: true,
                named: &["direction", "tolerance"],
                usage: "`direction = nearest` (or `backward`, `forward`) and `tolerance = 5.sec()`",
            },
            "interval_join" => Kind {
                maybe: [false, false],
                row: true,
                named: &["within", "on"],
                usage: "`within = -5.minute()..=5.minute()` and `on = |l, r| condition`",
            },
            _ => by_keys([false, false], true),
        }
    }
}

/// The arguments of a join, taken apart.
#[derive(Default)]
struct Args<'t> {
    closure: Option<&'t [TokenTree]>,
    named: Vec<(&'t Ident, &'t [TokenTree])>,
}

impl<'t> Args<'t> {
    fn get(&self, name: &str) -> Option<&'t [TokenTree]> {
        self.named.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }
}

impl Build<'_> {
    pub(super) fn join(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let kind = Kind::of(&name.to_string());
        let mut pieces = split(tokens, ',').into_iter().filter(|p| !p.is_empty());
        let side = pieces.next().filter(|p| closure(p).is_none() && argument(p).is_none());
        let Some(side) = side else {
            let message = if kind.row {
                format!("`{name}` takes a keyed stream and a closure: `{name}(listed -> key_by(symbol), |l, r| row {{ .. }})`")
            } else {
                format!("`{name}` takes a keyed stream: `{name}(listed -> key_by(symbol))`")
            };
            self.cx.error(tokens.first().map_or(name.span(), TokenTree::span), &message);
            return;
        };
        let args = self.join_args(name, &kind, pieces);
        let first = side.first().map_or(name.span(), TokenTree::span);
        let right = self.nested(side, name.span());
        let right = match args.get("on").map(|on| self.condition(name, on)) {
            None => right,
            Some(None) => return,
            Some(Some((clones, on))) => {
                let (s, r) = (id("__s"), id("__r"));
                quote!(let #r = { #right }; #clones #r.on_with(#s, #on))
            }
        };
        let right = quote_spanned!(first=> { #right });
        let Some(how) = self.how(name, &args) else { return };
        let (s, on) = (id("__s"), self.on());
        self.out.extend(quote!(let #s = #on.#name(#right #how);));
        if !kind.row {
            return;
        }
        self.known = Known::default();
        match args.closure {
            Some(tokens) => self.joined_row(name, &kind, tokens),
            None => {
                let message = format!("`{name}` needs a closure that makes the joined row: `{name}(.., |l, r| row {{ .. }})`");
                self.cx.error(name.span(), &message);
            }
        }
    }

    /// Sorts the arguments behind the stream.
    fn join_args<'t>(&mut self, name: &Ident, kind: &Kind, pieces: impl Iterator<Item = &'t [TokenTree]>) -> Args<'t> {
        let mut args = Args::default();
        for piece in pieces {
            let Some(first) = piece.first() else { continue };
            if let Some((word, value)) = argument(piece) {
                let text = word.to_string();
                if !kind.named.contains(&text.as_str()) {
                    let message = match similar(&text, kind.named.iter().copied()) {
                        Some(near) => format!("`{name}` has no argument `{word}`; did you mean `{near}`?"),
                        None => format!("`{name}` has no argument `{word}`: it takes {}", kind.usage),
                    };
                    self.cx.error(word.span(), &message);
                } else if args.get(&text).is_some() {
                    self.cx.error(word.span(), &format!("`{word}` is given twice"));
                } else if value.is_empty() {
                    self.cx.error(word.span(), &format!("`{word}` needs a value: {}", kind.usage));
                } else {
                    args.named.push((word, value));
                }
            } else if closure(piece).is_some() {
                if !kind.row {
                    let message =
                        format!("`{name}` keeps left rows as they are and takes no closure; a condition on the pair is written {ON}");
                    self.cx.error(first.span(), &message);
                } else {
                    let makes_row = |tokens: &[TokenTree]| closure(tokens).is_some_and(|c| row_of(&c.body).is_some());
                    let (kept, other) = match args.closure {
                        Some(before) if makes_row(piece) && !makes_row(before) => (piece, Some(before)),
                        Some(before) => (before, Some(piece)),
                        None => (piece, None),
                    };
                    args.closure = Some(kept);
                    if let Some(span) = other.and_then(<[TokenTree]>::first).map(TokenTree::span) {
                        self.cx.error(span, &format!("`{name}` makes one row; a condition on the pair is written {ON}"));
                    }
                }
            } else {
                let message = if kind.row && args.closure.is_none() {
                    format!("`{name}` needs a closure that makes the joined row: `{name}(.., |l, r| row {{ .. }})`")
                } else {
                    format!("`{name}` does not take this argument; behind the stream it takes {}", kind.usage)
                };
                self.cx.error(first.span(), &message);
                // said: what is missing is not said again
                args.closure = args.closure.or(Some(piece)).filter(|_| kind.row);
            }
        }
        args
    }

    /// `on = |l, r| condition`: parameters that it names, and what is known of it with the closure. `None` if it was refused.
    fn condition(&mut self, name: &Ident, tokens: &[TokenTree]) -> Option<(TokenStream, TokenStream)> {
        let first = tokens.first().map_or(name.span(), TokenTree::span);
        let inner = stream(tokens);
        let Some(c) = closure(tokens).filter(|c| c.params.len() == 2) else {
            self.broken(
                first,
                "`on` is a condition on a pair of rows: write `on = |l, r| l.price <= r.limit`",
                &quote!(let _ = { #inner };),
            );
            return None;
        };
        self.check_panics(&c.body);
        let rows = row_params(&c, &["left.", "right."]);
        let facts = Facts::of(&c.body, &rows);
        let (params, body, clones) = (&c.params, stream(&c.body), self.cx.clones(&c.body));
        let body = condition_body(quote!(::sabot::__private::decided(#body)), &facts);
        let meta = self.meta("on", name, &[facts.meta("", &text(&c.body), None)]);
        Some((clones, quote!(::core::option::Option::Some(#meta), move |#(#params),*| #body)))
    }

    /// The argument that says how rows are matched in time. `None` if it was refused.
    fn how(&mut self, name: &Ident, args: &Args<'_>) -> Option<TokenStream> {
        let p = quote!(::sabot::__private);
        match name.to_string().as_str() {
            "asof_join" => {
                let direction = match args.get("direction") {
                    None => "backward".to_owned(),
                    Some([TokenTree::Ident(d)]) if DIRECTIONS.iter().any(|k| d == k) => d.to_string(),
                    Some(other) => {
                        let shown = text(other);
                        let message = match similar(&shown, DIRECTIONS.iter().copied()) {
                            Some(near) => format!("there is no direction `{shown}`; did you mean `{near}`?"),
                            None => format!("there is no direction `{shown}`: it is `backward`, `forward` or `nearest`"),
                        };
                        self.cx.error(other.first().map_or(name.span(), TokenTree::span), &message);
                        "backward".to_owned()
                    }
                };
                let direction = id(&direction);
                let tolerance = match args.get("tolerance") {
                    None => TokenStream::new(),
                    Some(tokens) if is_punct(tokens.first(), '-') => {
                        let span = tokens.first().map_or(name.span(), TokenTree::span);
                        self.cx.error(span, "a tolerance is a distance in time and cannot be negative: `tolerance = 5.sec()`");
                        TokenStream::new()
                    }
                    Some(tokens) => {
                        let value = self.value(tokens);
                        quote!(.tolerance(#value))
                    }
                };
                Some(quote!(, #p::AsOf::#direction()#tolerance))
            }
            "interval_join" => {
                let Some(tokens) = args.get("within") else {
                    let message = "`interval_join` needs the range of right time less left time: `within = -5.minute()..=5.minute()`";
                    self.broken(name.span(), message, &quote!());
                    return None;
                };
                let value = self.value(tokens);
                Some(quote!(, #value))
            }
            _ => Some(TokenStream::new()),
        }
    }

    /// An expression of the user's as an argument, with the parameters that it names; for rustc at its first token.
    fn value(&self, tokens: &[TokenTree]) -> TokenStream {
        let (value, clones) = (stream(tokens), self.cx.clones(tokens));
        let first = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        pointed(&id("__s"), &quote!(#clones #value), first)
    }

    /// The row of a join.
    fn joined_row(&mut self, name: &Ident, kind: &Kind, tokens: &[TokenTree]) {
        let Some(c) = closure(tokens) else { return };
        let first = tokens.first().map_or(name.span(), TokenTree::span);
        let mut wrong = (c.params.len() != 2)
            .then(|| (first, format!("`{name}` gives its closure two rows, the left and the right one: write `|l, r| row {{ .. }}`")));
        for (param, _) in c.names.iter().zip(kind.maybe).filter(|(_, maybe)| *maybe) {
            let Some(param) = param.as_ref().filter(|p| wrong.is_none() && !rebound(&c.body, p)) else { continue };
            wrong = bare_field(&c.body, param)
                .map(|(span, field)| (span, format!("`{param}` is `None` where `{name}` finds no partner: write `{param}?.{field}`")));
        }
        let Some((span, message)) = wrong else {
            self.columns(name, "select", tokens, Some(&Joined));
            return;
        };
        let (s, prelude, body, clones) = (id("__s"), Joined.prelude(&c), stream(&c.body), self.cx.clones(tokens));
        self.broken(span, &message, &quote!(#clones #s.filter(move |__pair| { #prelude let _ = { #body }; true })));
    }
}

const DIRECTIONS: &[&str] = &["backward", "forward", "nearest"];

/// `name = value`.
fn argument(tokens: &[TokenTree]) -> Option<(&Ident, &[TokenTree])> {
    match tokens {
        [TokenTree::Ident(name), eq, rest @ ..]
            if is_punct(Some(eq), '=') && !is_punct(rest.first(), '=') && !is_punct(rest.first(), '>') =>
        {
            Some((name, rest))
        }
        _ => None,
    }
}

/// Whether the tokens may give the name another meaning: `Some(r)`, `|r|`, `let r`.
fn rebound(tokens: &[TokenTree], name: &Ident) -> bool {
    tokens.iter().enumerate().any(|(i, t)| match t {
        TokenTree::Group(g) => {
            let inner = list(&g.stream());
            let bound = matches!(inner.as_slice(), [TokenTree::Ident(only)] if only == name);
            (bound && is_ident(tokens.get(i.wrapping_sub(1)), "Some")) || rebound(&inner, name)
        }
        TokenTree::Ident(word) => {
            let before = i.checked_sub(1).and_then(|b| tokens.get(b));
            word == name && (is_punct(before, '|') || is_ident(before, "let") || is_ident(before, "ref") || is_ident(before, "mut"))
        }
        _ => false,
    })
}

/// The first `name.field` without a `?`.
fn bare_field(tokens: &[TokenTree], name: &Ident) -> Option<(Span, Ident)> {
    for (i, t) in tokens.iter().enumerate() {
        match t {
            TokenTree::Group(g) => {
                if let Some(found) = bare_field(&list(&g.stream()), name) {
                    return Some(found);
                }
            }
            TokenTree::Ident(word) if word == name && !is_punct(i.checked_sub(1).and_then(|b| tokens.get(b)), '.') => {
                let called = group_of(tokens.get(i + 3), Delimiter::Parenthesis).is_some();
                if let (true, Some(TokenTree::Ident(field)), false) = (is_punct(tokens.get(i + 1), '.'), tokens.get(i + 2), called) {
                    return Some((word.span(), field.clone()));
                }
            }
            _ => {}
        }
    }
    None
}
