//! Streams whose rows are taken back: `changelog`.

use super::*;

/// The column that `changelog` adds.
const WEIGHT: &str = "weight";

impl Build<'_> {
    /// `changelog()`.
    pub(super) fn changelog(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        if let Some(first) = tokens.first() {
            self.cx.error(first.span(), "`changelog` takes nothing: it adds the column `weight`, 1 or -1");
        }
        let (s, on) = (id("__s"), self.on());
        let row_name = self.cx.row_name(&self.label.clone());
        let column = Ident::new(WEIGHT, Span::call_site());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(&column), computed: &[true], named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let marker = &types.marker;
        self.out.extend(quote!(let #s = #on.#name::<#marker<_>>();));
        self.known = Known { anonymous: true, ..Known::default() };
    }
}
