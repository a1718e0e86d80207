//! An async operator whose result borrows.

use sabot::prelude::*;

#[operator]
async fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or("")
}

fn main() {}

//~ ERROR 6:36 | &str | an async operator returns an owned value, since its row is gone by then: write `Str` or `String`
