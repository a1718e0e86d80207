//! Names: without `r#`, in another case, as a type.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

/// An identifier's text, without `r#`.
pub(crate) fn bare(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}

/// A name as a type, the same in every crate: the list of its bytes, `((H7, H1), ((H7, H4), ((H7, H9), ())))` for `qty`.
pub(crate) fn name_type(name: &str, span: Span) -> TokenStream {
    let digit = |d: u8| Ident::new(&format!("H{d:X}"), span);
    name.bytes().rev().fold(quote_spanned!(span=> ()), |rest, byte| {
        let (high, low) = (digit(byte >> 4), digit(byte & 15));
        quote_spanned!(span=> ((::sabot::__private::#high, ::sabot::__private::#low), #rest))
    })
}

/// The conventions of `rename_all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    /// Their names, as in serde.
    pub(crate) const ALL: [(&'static str, Case); 8] = [
        ("lowercase", Case::Lower),
        ("UPPERCASE", Case::Upper),
        ("PascalCase", Case::Pascal),
        ("camelCase", Case::Camel),
        ("snake_case", Case::Snake),
        ("SCREAMING_SNAKE_CASE", Case::ScreamingSnake),
        ("kebab-case", Case::Kebab),
        ("SCREAMING-KEBAB-CASE", Case::ScreamingKebab),
    ];
    pub(crate) fn parse(name: &str) -> Option<Case> {
        Case::ALL.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
    }
    /// A snake_case field name in this convention.
    pub(crate) fn apply(self, field: &str) -> String {
        let capital = |word: &str| {
            let mut chars = word.chars();
            chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
        };
        let pascal = || field.split('_').map(capital).collect::<String>();
        match self {
            Case::Lower => field.to_lowercase().replace('_', ""),
            Case::Upper => field.to_uppercase().replace('_', ""),
            Case::Pascal => pascal(),
            Case::Camel => {
                let pascal = pascal();
                let mut chars = pascal.chars();
                chars.next().map_or(String::new(), |c| c.to_lowercase().chain(chars).collect())
            }
            Case::Snake => field.to_owned(),
            Case::ScreamingSnake => field.to_uppercase(),
            Case::Kebab => field.replace('_', "-"),
            Case::ScreamingKebab => field.to_uppercase().replace('_', "-"),
        }
    }
}

/// The known name nearest to `name`, if it is near enough to be a typo.
pub(crate) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|k| (distance(name, k), k)).filter(|(d, k)| *d <= 1 + k.len().max(name.len()) / 4).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}
/// Edit distance with transpositions (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
