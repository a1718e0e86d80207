//! Exact decimals.

use std::fmt;
use std::ops::{Add, Neg, Sub};

/// A decimal number of at most `P` digits, `S` of them behind the point, in 128 bits.
///
/// `Decimal<10, 2>` holds cents. Addition and subtraction keep precision and scale and panic on overflow of 128 bits;
/// [`checked`](Self::checked) tests the precision.
///
/// ```
/// use sabot::prelude::Decimal;
///
/// let price = Decimal::<10, 2>::from_units(19_99);
/// let total = price + Decimal::from_units(1);
/// assert_eq!((total.to_string(), total.units(), total.to_f64()), ("20.00".to_owned(), 2000, 20.0));
/// assert!(Decimal::<3, 0>::from_units(1000).checked().is_none());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: i8>(i128);

impl<const P: u8, const S: i8> Decimal<P, S> {
    const CHECKED: () = assert!(P >= 1 && P <= 38 && S <= P as i8 && S >= 0, "a Decimal<P, S> needs 1 <= P <= 38 digits and 0 <= S <= P");

    /// From the number of smallest units: `Decimal::<10, 2>::from_units(1999)` is 19.99.
    #[inline(always)]
    pub const fn from_units(units: i128) -> Self {
        #[allow(clippy::let_unit_value)]
        let () = Self::CHECKED;
        Decimal(units)
    }
    /// The number of smallest units.
    #[inline(always)]
    pub const fn units(self) -> i128 {
        self.0
    }
    /// The value, if it has at most `P` digits.
    pub fn checked(self) -> Option<Self> {
        (self.0.unsigned_abs() < 10u128.pow(u32::from(P))).then_some(self)
    }
    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 10f64.powi(i32::from(S))
    }
}
impl<const P: u8, const S: i8> Add for Decimal<P, S> {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Decimal(self.0 + o.0)
    }
}
impl<const P: u8, const S: i8> Sub for Decimal<P, S> {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Decimal(self.0 - o.0)
    }
}
impl<const P: u8, const S: i8> Neg for Decimal<P, S> {
    type Output = Self;
    fn neg(self) -> Self {
        Decimal(-self.0)
    }
}
impl<const P: u8, const S: i8> fmt::Debug for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::try_from(S).unwrap_or(0);
        let one = 10u128.pow(scale as u32);
        let (sign, abs) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        if scale == 0 { write!(f, "{sign}{abs}") } else { write!(f, "{sign}{}.{:0scale$}", abs / one, abs % one) }
    }
}
impl<const P: u8, const S: i8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
