//! An owned string as a parameter.

use sabot::prelude::*;

#[operator]
fn shout(word: String) -> bool {
    word.ends_with('!')
}

fn main() {}

//~ ERROR 6:16 | String | operators borrow text: write `&str` instead of `String`
