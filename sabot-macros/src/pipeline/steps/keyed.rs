//! The step with state per key: `keyed(..)`.

use super::*;
use crate::pipeline::recover::span_of_time;

/// What stands behind the closure.
const SETTINGS: &[&str] = &["ttl", "clock_ttl"];
const USAGE: &str = "`keyed` takes a closure that calls a keyed operator: `keyed(|t| bursts(t.ts))`";

impl Build<'_> {
    pub(super) fn keyed(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (body, settings) = self.settings(tokens);
        let Some(c) = closure(body) else {
            return self.not_called(name, tokens.first().map_or(name.span(), TokenTree::span), USAGE);
        };
        self.check_panics(&c.body);
        let (column, call) = match row_of(&c.body) {
            Some(row) => match row.fields.as_slice() {
                [(n, e)] => (n.clone(), e.clone()),
                _ => {
                    return self.not_called(name, row.word.span(), "`keyed` makes one column: `keyed(|t| row { ema: ema(t.price) })`");
                }
            },
            None => (Ident::new("value", Span::call_site()), c.body.clone()),
        };
        let Some((path, args)) = call.split_last().and_then(|(g, path)| group_of(Some(g), Delimiter::Parenthesis).map(|g| (path, g)))
        else {
            let at = call.first().map_or(name.span(), TokenTree::span);
            return self.not_called(name, at, "`keyed` calls a keyed operator: `keyed(|t| bursts(t.ts))`");
        };
        let inner = list(&args.stream());
        let facts = Facts::of(&inner, &row_params(&c, &[""]));
        let pieces: Vec<TokenStream> = split(&inner, ',').into_iter().filter(|x| !x.is_empty()).map(stream).collect();
        let (reading, clones) = (self.reading(&facts.reads()), self.cx.clones(&[inner.as_slice(), tokens].concat()));
        let called = Called {
            column: &column,
            path: stream(path),
            operator: text(path),
            args: quote_spanned!(args.span()=> (#(#pieces),*)),
            settings,
            question: facts.question,
            on: reading,
            clones,
            params: c.params.clone(),
        };
        let own = matches!(path.last(), Some(TokenTree::Ident(i)) if i.to_string().starts_with(char::is_uppercase));
        if own {
            self.rows_of_own(name, &called)
        } else {
            self.added_column(name, &called)
        }
        if self.pair && self.last {
            self.ended = Some("keyed");
        }
        self.known = Known { anonymous: true, ..Known::default() };
    }

    /// Says that nothing is called; nothing further is said about the second stream, if there is one.
    fn not_called(&mut self, _name: &Ident, span: Span, message: &str) {
        if self.pair && self.last {
            let (b, e) = (id("__b"), error_expr(span, message));
            self.out.extend(quote!(let #b = #e;));
        } else {
            self.cx.error(span, message);
        }
    }

    /// The settings behind the closure, and what is before them.
    fn settings<'t>(&mut self, tokens: &'t [TokenTree]) -> (&'t [TokenTree], TokenStream) {
        let (mut rest, mut settings, mut seen) = (tokens, TokenStream::new(), Vec::new());
        if is_punct(rest.last(), ',') {
            rest = &rest[..rest.len() - 1];
        }
        while let Some(comma) = rest.iter().rposition(|t| is_punct(Some(t), ',')) {
            let [TokenTree::Ident(word), eq, value @ ..] = &rest[comma + 1..] else { break };
            let named = is_punct(Some(eq), '=') && !is_punct(value.first(), '=');
            if !named || comma == 0 {
                break;
            }
            rest = &rest[..comma];
            let known = SETTINGS.iter().any(|s| word == s);
            if !known {
                let message = match similar(&word.to_string(), SETTINGS.iter().copied()) {
                    Some(near) => format!("`keyed` has no argument `{word}`; did you mean `{near}`?"),
                    None => {
                        format!("`keyed` has no argument `{word}`: behind the closure it takes `ttl = 1.hour()` or `clock_ttl = 1.hour()`")
                    }
                };
                self.cx.error(word.span(), &message);
            } else if value.is_empty() {
                self.cx.error(word.span(), &format!("`{word}` needs a span of time: `{word} = 1.hour()`"));
            } else if seen.contains(&word.to_string()) {
                self.cx.error(word.span(), &format!("`{word}` is given twice"));
            } else {
                if let Some((_, at)) = span_of_time(value).filter(|(micros, _)| *micros <= 0) {
                    self.cx
                        .error(at, "state needs some time to live: write a span greater than zero, or leave it out to keep state for ever");
                }
                if !seen.is_empty() {
                    self.cx.error(word.span(), "state expires in event time or by the clock: write `ttl` or `clock_ttl`, not both");
                }
                seen.push(word.to_string());
                let value = stream(value);
                settings.extend(quote!(.#word(#value)));
            }
        }
        (rest, settings)
    }

    /// A function: rows keep their columns and get one more.
    fn added_column(&mut self, name: &Ident, c: &Called<'_>) {
        let (s, m, state, ctx) = (id("__s"), id("__m"), id("__state"), id("__ctx"));
        let p = quote!(::sabot::__private);
        let row_name = self.cx.row_name(&self.label.clone());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(c.column), computed: &[true], named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let Called { path, operator, args, settings, clones, params, on, .. } = c;
        let given = given(args, &[&state, &ctx]);
        let called = quote!(#path::__keyed #given);
        let called = if c.question { quote!((|| ::core::option::Option::Some(#called))().flatten()) } else { called };
        let (marker, column) = (&types.marker, row::column_name(c.column));
        let kinds = quote!(#marker<_>, <#path as #p::KeyedItem>::State, <#path as #p::KeyedItem>::Side);
        let options = quote!(<#p::KeyedOptions as ::core::default::Default>::default() #settings);
        let code = quote!(move |#state, #ctx, #(#params,)* #m| { #called.map(|v| #p::sure(#m, v)) });
        if self.pair && self.last {
            let (b, side) = (id("__b"), self.own_row(&Ident::new("value", Span::call_site())));
            let method = Ident::new("keyed_and_side", name.span());
            self.out
                .extend(quote!(let (#s, #b) = { #clones #on.#method::<#kinds, _, _, _, _>(#operator, #column, #options, #side, #code) };));
        } else {
            let method = Ident::new("keyed", name.span());
            self.out.extend(quote!(let #s = { #clones #on.#method::<#kinds, _, _>(#operator, #column, #options, #code) };));
        }
    }

    /// A type: rows of its own, of keys and value.
    fn rows_of_own(&mut self, name: &Ident, c: &Called<'_>) {
        let (s, out, state, ctx) = (id("__s"), id("__out"), id("__state"), id("__ctx"));
        let p = quote!(::sabot::__private);
        let row = self.own_row(c.column);
        let Called { path, operator, args, settings, clones, params, on, .. } = c;
        let given = given(args, &[&state, &ctx, &out]);
        let called = quote!(#path::__keyed #given);
        let called = if c.question { quote!((|| ::core::option::Option::Some(#called))().is_some()) } else { quote!(#called; true) };
        let column = row::column_name(c.column);
        let options = quote!(<#p::KeyedOptions as ::core::default::Default>::default() #settings);
        let code = quote!(move |#state, #ctx, #out, #(#params),*| { #called });
        if self.pair && self.last {
            let (b, side) = (id("__b"), self.own_row(&Ident::new("value", Span::call_site())));
            let method = Ident::new("keyed_rows_and_side", name.span());
            self.out.extend(quote! {
                let (#s, #b) = { #clones #on.#method::<#path, _, _, _, _>(#operator, #column, #options, #row, #side, #code) };
            });
        } else {
            let method = Ident::new("keyed_rows", name.span());
            self.out.extend(quote!(let #s = { #clones #on.#method::<#path, _, _, _>(#operator, #column, #options, #row, #code) };));
        }
    }

    /// The row of keys and a value, as a closure over their columns.
    fn own_row(&mut self, value: &Ident) -> TokenStream {
        let (k, v) = (id("__k"), id("__v"));
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for (i, key) in self.known.keys.iter().enumerate() {
            let i = syn::Index::from(i);
            fields.push(Ident::new(&key.to_string(), Span::call_site()));
            values.push(quote!(#k.#i));
        }
        for taken in ["time".to_owned(), value.to_string()] {
            if let Some(key) = self.known.keys.iter().find(|f| **f == taken) {
                self.cx.error(
                    key.span(),
                    &format!("column `{taken}` appears twice in the rows of this operator: rename the key before `key_by`"),
                );
            }
        }
        if value == "time" {
            self.cx.error(value.span(), "`time` is the event time of these rows: give the value another name");
        }
        if !fields.contains(value) {
            fields.push(value.clone());
            values.push(quote!(#v));
        }
        let row_name = self.cx.row_name(&self.label.clone());
        let computed = vec![true; fields.len()];
        let shape = Shape { name: &row_name, fields: &fields, computed: &computed, named_columns: self.cx.maps };
        let (items, types) = row::record(&shape);
        self.cx.items.extend(items);
        self.cx.items.extend(row::own_row(&shape));
        let literal = &types.literal;
        quote!(|#k, #v| { let _ = (&#k, &#v); #literal { #(#fields: #values),* } })
    }
}

/// A call of a keyed operator, taken apart.
struct Called<'c> {
    column: &'c Ident,
    path: TokenStream,
    operator: String,
    /// In parentheses.
    args: TokenStream,
    settings: TokenStream,
    /// Whether there is a `?` in the arguments.
    question: bool,
    /// The stream.
    on: TokenStream,
    clones: TokenStream,
    params: Vec<TokenStream>,
}

/// The arguments with these before them, at the place of the user's.
fn given(args: &TokenStream, first: &[&Ident]) -> TokenStream {
    let Some(TokenTree::Group(group)) = args.clone().into_iter().next() else { return args.clone() };
    let inner = group.stream();
    quote_spanned!(group.span()=> (#(#first,)* #inner))
}
