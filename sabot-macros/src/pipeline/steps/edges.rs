//! Edges that the user places: `partition_by`, `rebalance`.

use super::*;

impl Build<'_> {
    /// `partition_by(shard)`.
    pub(super) fn partition_by(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (s, c, on) = (id("__s"), id("__c"), self.on());
        let pieces: Vec<&[TokenTree]> = split(tokens, ',').into_iter().filter(|p| !p.is_empty()).collect();
        let (column, wrong) = match pieces.as_slice() {
            [[TokenTree::Ident(column)]] => (Some(column.clone()), None),
            [[TokenTree::Ident(column)], [second, ..], ..] => (
                Some(column.clone()),
                Some((
                    second.span(),
                    "`partition_by` takes one column: make one number of several with `with(|t| row { shard: .. })` before; to bring equal values of several columns together, `key_by(a, b)`"
                        .to_owned(),
                )),
            ),
            [piece, ..] => {
                let meant = key_columns(piece);
                let message = match meant.as_slice() {
                    [one] => format!(
                        "`partition_by` takes the name of a column: write `partition_by({one})`, or compute one before: `with(|t| row {{ shard: .. }}) -> partition_by(shard)`"
                    ),
                    _ => "`partition_by` takes the name of a column: compute it before, `with(|t| row { shard: .. }) -> partition_by(shard)`"
                        .to_owned(),
                };
                (None, Some((piece.first().map_or(name.span(), TokenTree::span), message)))
            }
            [] => (
                None,
                Some((
                    name.span(),
                    "`partition_by` takes a column of integers, the number of each row's instance: `partition_by(shard)`; to deal rows out evenly, `rebalance()`"
                        .to_owned(),
                )),
            ),
        };
        if let Some((span, message)) = wrong {
            self.cx.error(span, &message);
        }
        let Some(column) = column else { return };
        let value = pointed(&c, &quote!(#c.#column), column.span());
        self.out.extend(quote!(let #s = #on.#name(|#c| ::sabot::__private::numbers(#value));));
    }

    /// `rebalance()`.
    pub(super) fn rebalance(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (s, on) = (id("__s"), self.on());
        if let Some(first) = tokens.first() {
            let message = "`rebalance` takes nothing: it deals rows out evenly; to say which go together, `partition_by(shard)`";
            self.cx.error(first.span(), message);
        }
        self.out.extend(quote!(let #s = #on.#name();));
    }
}
