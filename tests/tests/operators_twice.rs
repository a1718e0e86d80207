//! Two operators of one name are refused, with both positions.
#![allow(clippy::unwrap_used, missing_docs)]

use sabot::prelude::*;

#[operator(name = "prices::notional")]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

mod other {
    #[sabot::operator(name = "prices::notional")]
    pub(crate) fn value(price: f64) -> f64 {
        price
    }
}

#[test]
fn refused() {
    assert_eq!(notional(1.5, 2) + other::value(1.0), 4.0);
    let error = sabot::operator::operators().unwrap_err().to_string();
    let file = file!();
    assert_eq!(
        error,
        format!("two operators are called `prices::notional`: {file}:7 and {file}:13; rename one, or give it `#[operator(name = \"..\")]`")
    );
}
