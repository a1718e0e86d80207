//! What becomes of errors: `on_error(..)`, `dead_letter()`.

use super::*;

/// What `on_error` takes, and what the library calls it.
const POLICIES: &[(&str, &str)] = &[("fail", "Fail"), ("null", "Null"), ("skip", "Skip")];

const NOTHING: &str = "nothing can fail here: no function in the steps before this one returns a `Result`";
const TWICE: &str = "errors of the steps before it are dealt with already";

impl Build<'_> {
    pub(super) fn on_error(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let policy = match tokens {
            [TokenTree::Ident(word)] => POLICIES.iter().find(|(n, _)| word == n).map(|(_, p)| Ident::new(p, Span::mixed_site())),
            _ => None,
        };
        if policy.is_none() {
            let span = tokens.first().map_or(name.span(), TokenTree::span);
            let near = similar(&text(tokens), POLICIES.iter().map(|(n, _)| *n));
            let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
            self.cx.error(span, &format!("`on_error` takes `fail`, `null` or `skip`{near}"));
        }
        let policy = policy.unwrap_or_else(|| Ident::new("Skip", Span::mixed_site()));
        if !self.may_handle(name) {
            return;
        }
        let (s, e, on) = (id("__s"), id("__e"), self.on());
        let at = pointed(&e, &quote!(#e), tokens.first().map_or(name.span(), TokenTree::span));
        let part = (!self.known.waits).then(|| self.part()).into_iter();
        self.out.extend(quote!(let #s = { let #e = ::sabot::__private::#policy; #on.#name(#(#part,)* #at) };));
        self.dealt_with();
    }

    pub(super) fn dead_letter(&mut self, name: &Ident, tokens: &[TokenTree]) {
        if let Some(first) = tokens.first() {
            self.cx.error(first.span(), "`dead_letter` takes nothing: write `dead_letter()`");
        }
        if !self.pair {
            self.cx.error(name.span(), "`dead_letter()` makes two streams: write `(good, bad) = .. -> dead_letter();`");
        }
        let (s, b) = (id("__s"), id("__b"));
        if !self.may_handle(name) {
            let e = error_expr(name.span(), NOTHING);
            self.out.extend(quote!(let #b = #e;));
        } else {
            let (on, part) = (self.on(), (!self.known.waits).then(|| self.part()).into_iter());
            self.out.extend(quote!(let (#s, #b) = #on.#name(#(#part)*);));
        }
        self.dealt_with();
        self.ended = Some("dead_letter");
    }

    fn dealt_with(&mut self) {
        (self.known.open, self.known.waits) = (false, false);
    }

    /// Whether there is a run whose errors may be dealt with; else it says so.
    fn may_handle(&mut self, name: &Ident) -> bool {
        let message = if self.handled { TWICE } else { NOTHING };
        if !self.known.open {
            self.cx.error(name.span(), message);
        }
        self.handled = true;
        self.known.open
    }

    /// Says, once, that a step follows one that makes two streams.
    pub(super) fn behind_two(&mut self, step: &Step) {
        if let Some(name) = self.ended.take() {
            self.cx.error(step.span, &format!("`{name}()` ends its statement: go on with each of its two streams by name"));
        }
    }

    /// The run so far as an argument, for rustc at the step's name.
    pub(super) fn part(&self) -> TokenStream {
        let p = id("__p");
        pointed(&p, &quote!(#p), self.here)
    }
}
