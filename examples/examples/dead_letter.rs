//! Orders that name an unknown currency go to a stream of their own; the others are joined with the rates and summed up.

use sabot::prelude::*;

/// An order as it was sent.
#[derive(Record, Clone, Debug)]
struct Order {
    shop: Str,
    price: Str,
    qty: i64,
}

/// What a currency is worth.
#[derive(Record, Clone, Debug)]
struct Rate {
    currency: Str,
    rate: f64,
}

/// `12.50 EUR` is 12.5; anything else is an error.
#[operator]
fn amount(price: &str) -> Result<f64, String> {
    let number = price.split(' ').next().unwrap_or_default();
    number.parse().map_err(|_| format!("`{price}` does not begin with a number"))
}

/// The part behind the space.
#[operator]
fn currency(price: &str) -> Result<String, String> {
    price.split_once(' ').map(|(_, c)| c.to_owned()).ok_or_else(|| format!("`{price}` has no currency"))
}

/// The price of a piece, on average over pieces.
#[derive(State, Default)]
struct PerPiece {
    value: f64,
    pieces: i64,
}

#[operator]
impl PerPiece {
    fn update(&mut self, price: f64, qty: i64) {
        self.value += price * qty as f64;
        self.pieces += qty;
    }
    fn merge(&mut self, other: Self) {
        self.value += other.value;
        self.pieces += other.pieces;
    }
    fn finish(&self) -> Option<f64> {
        (self.pieces > 0).then(|| self.value / self.pieces as f64)
    }
}

/// The result.
#[derive(Record, Clone, Debug, PartialEq)]
struct Turnover {
    shop: Str,
    orders: u64,
    per_piece: Option<f64>,
}

/// An order that could not be read: some of its columns, and what was wrong where.
#[derive(Record, Clone, Debug, PartialEq)]
struct Refused {
    shop: Str,
    error: Str,
    operator: Str,
    row: u64,
}

pipeline! {
    /// Average price per shop, in one currency; and the orders that cannot be read.
    pub fn turnover(orders: Source<Order, Bounded>, rates: Source<Rate, Bounded>);

    (read, bad) = orders -> with(|o| row { amount: amount(o.price), currency: currency(o.price) }) -> dead_letter();
    turnover = read -> key_by(currency)
                    -> join(rates -> key_by(currency), |o, r| row { shop: o.shop, price: o.amount * r.rate, qty: o.qty })
                    -> key_by(shop)
                    -> aggregate(|o| row { orders: count(), per_piece: PerPiece(o.price, o.qty) })
                    -> sort(shop);
    refused = bad -> select(|b| row Refused { shop: b.shop, error: b.error, operator: b.operator, row: b.row });
    turnover -> sink;
    refused -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let order = |shop: &str, price: &str, qty| Order { shop: shop.into(), price: price.into(), qty };
    let orders = vec![order("north", "2.00 EUR", 1), order("south", "free", 9), order("north", "4.00 USD", 3), order("south", "10", 1)];
    let rates = vec![Rate { currency: "EUR".into(), rate: 1.0 }, Rate { currency: "USD".into(), rate: 0.5 }];
    let file = std::env::temp_dir().join(format!("refused-{}.csv", std::process::id()));
    let good: Vec<Turnover> = turnover(orders, rates).sink("refused", to(&file.to_string_lossy())).collect()?;
    let bad = std::fs::read_to_string(&file).map_err(|e| Error::io(&file, "cannot read", e))?;
    println!("{good:?}\n{bad}");
    assert_eq!(good, [Turnover { shop: "north".into(), orders: 2, per_piece: Some(2.0) }]);
    assert_eq!(bad.lines().count(), 3, "a header and two orders");
    assert!(bad.contains("`free` does not begin with a number") && bad.contains("`10` has no currency"));
    std::fs::remove_file(&file).map_err(|e| Error::io(&file, "cannot remove", e))
}
