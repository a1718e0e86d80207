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
const BY_KEYS: &str = "`on = |l, r| condition`, and `ttl = 1.hour()` or `within = -5.minute()..=5.minute()`";

impl Kind {
    fn of(step: &str) -> Kind {
        let by_keys = |maybe, row| Kind { maybe, row, named: &["on", "ttl", "within"], usage: BY_KEYS };
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
    /// Whether it is a join by keys of rows that are near in time.
    fn near(&self, step: &Ident) -> bool {
        step != "interval_join" && (self.get("ttl").is_some() || self.get("within").is_some())
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
        let windowed = self.known.windowed && !name_is_timed(name);
        if let (true, Some((word, _))) = (windowed, args.named.iter().find(|(n, _)| *n == "ttl" || *n == "within")) {
            let message = format!("rows of the same window are joined here: leave out `{word}`, or the `window` steps");
            self.cx.error(word.span(), &message);
            return;
        }
        let method = match (windowed, args.near(name)) {
            (true, _) => Ident::new(&format!("{name}_window"), name.span()),
            (_, true) => Ident::new(&format!("{name}_within"), name.span()),
            _ => name.clone(),
        };
        self.out.extend(quote!(let #s = #on.#method(#right #how);));
        if !kind.row {
            return;
        }
        self.known = Known::default();
        match args.closure {
            Some(tokens) if windowed => self.row_of_window(name, &kind, tokens),
            Some(tokens) => self.joined_row(name, &kind, tokens, 2),
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
                let mut place = name.span();
                let direction = match args.get("direction") {
                    None => "backward".to_owned(),
                    Some([TokenTree::Ident(d)]) if DIRECTIONS.iter().any(|k| d == k) => {
                        place = d.span();
                        d.to_string()
                    }
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
                let negative = "a tolerance is a distance in time and cannot be negative: `tolerance = 5.sec()`";
                let tolerance = args.get("tolerance").and_then(|tokens| self.length(name, tokens, negative));
                let tolerance = tolerance.map(|value| quote!(.tolerance(#value)));
                let how = pointed(&id("__s"), &quote!(#p::AsOf::#direction()#tolerance), place);
                Some(quote!(, #how))
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
            _ => Some(match (args.get("ttl"), args.get("within")) {
                (None, None) => TokenStream::new(),
                (None, Some(within)) => {
                    let value = self.value(within);
                    quote!(, #value)
                }
                (Some(ttl), within) => {
                    if let Some(span) = within.and_then(<[TokenTree]>::first).map(TokenTree::span) {
                        let message =
                            "`ttl` and `within` both say which event times are near: `ttl = 1.hour()` is `within = -1.hour()..=1.hour()`";
                        self.cx.error(span, message);
                    }
                    let negative = "a time to live is a distance in time and cannot be negative: `ttl = 1.hour()`";
                    let value = self.length(name, ttl, negative).unwrap_or_else(|| quote!(#p::Duration::<#p::Micros>::new(0)));
                    quote!(, #p::ttl(#value))
                }
            }),
        }
    }

    /// A length of time. `None` if it is negative, which is said.
    fn length(&mut self, name: &Ident, tokens: &[TokenTree], negative: &str) -> Option<TokenStream> {
        if is_punct(tokens.first(), '-') {
            self.cx.error(tokens.first().map_or(name.span(), TokenTree::span), negative);
            return None;
        }
        Some(self.value(tokens))
    }

    /// An expression of the user's as an argument, with the parameters that it names; for rustc at its first token.
    fn value(&self, tokens: &[TokenTree]) -> TokenStream {
        let (value, clones) = (stream(tokens), self.cx.clones(tokens));
        let first = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        pointed(&id("__s"), &quote!(#clones #value), first)
    }

    /// The row of a join of windows: the bounds of the window come first, unless it is a named record; a third parameter of the closure has them.
    fn row_of_window(&mut self, name: &Ident, kind: &Kind, tokens: &[TokenTree]) {
        let named = closure(tokens).and_then(|c| row_of(&c.body)).is_none_or(|row| !row.name.is_empty());
        let Some(with) = with_bounds(tokens).filter(|_| !named) else {
            self.joined_row(name, kind, tokens, 3);
            return;
        };
        self.joined_row(name, kind, &with, 3);
        if self.known.open {
            let (s, c) = (id("__s"), id("__c"));
            let on = self.on();
            let end = Ident::new("window_end", Span::call_site());
            self.notes.extend(quote!(let #s = #on.in_window(|#c| #c.#end);));
        }
    }

    /// The row of a join, whose closure has two parameters, or up to `most`.
    fn joined_row(&mut self, name: &Ident, kind: &Kind, tokens: &[TokenTree], most: usize) {
        let Some(c) = closure(tokens) else { return };
        let first = tokens.first().map_or(name.span(), TokenTree::span);
        let mut wrong = (!(2..=most).contains(&c.params.len()))
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

/// Whether the step is one of the joins that compare event times whatever the window.
fn name_is_timed(name: &Ident) -> bool {
    name == "asof_join" || name == "interval_join"
}

/// `|l, r| row { .. }` as `|l, r, w| row { window_start: w.window_start, window_end: w.window_end, .. }`, but for bounds that the row names itself.
fn with_bounds(tokens: &[TokenTree]) -> Option<Vec<TokenTree>> {
    let c = closure(tokens)?;
    let row = row_of(&c.body)?;
    let window = c.names.get(2).cloned().flatten().unwrap_or_else(|| id("__w"));
    let mut params = c.params.clone();
    if params.len() == 2 {
        params.push(quote!(#window));
    }
    let (word, fields) = (&row.word, list(&group_of(c.body.last(), Delimiter::Brace)?.stream()));
    let mut bounds = TokenStream::new();
    for name in ["window_start", "window_end"] {
        if !row.fields.iter().any(|(field, _)| field == name) {
            let field = Ident::new(name, Span::call_site());
            bounds.extend(quote!(#field: #window.#field,));
        }
    }
    let (fields, place) = (stream(&fields), c.body.last().map_or_else(Span::call_site, TokenTree::span));
    let body = quote_spanned!(place=> { #bounds #fields });
    Some(list(&quote!(|#(#params),*| #word #body)))
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
