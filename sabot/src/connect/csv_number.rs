//! Numbers in their usual form, eight digits at a time.
//!
//! `None` says that a cell has another form, not that it is bad: arrow's parsers decide about the rest. Digits become numbers within
//! a word as described by D. Lemire, "Quickly parsing eight digits" (2018); floats of few digits are one exact division, as W. Clinger showed
//! ("How to read floating point numbers accurately", 1990).

/// Powers of ten that a 64-bit integer holds.
const POWERS: [u64; 19] = {
    let mut powers = [1; 19];
    let mut i = 1;
    #[allow(clippy::indexing_slicing)] // checked when it is compiled
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// `10^n`, for `n` up to 18.
pub(crate) fn power(n: usize) -> Option<u64> {
    POWERS.get(n).copied()
}

/// A word of up to eight bytes, the last one highest, with zeros (the character) below.
#[inline(always)]
fn word(digits: &[u8]) -> u64 {
    let len = digits.len();
    let bytes = match (digits.first_chunk::<4>(), digits.last_chunk::<4>()) {
        (Some(a), Some(b)) => u64::from(u32::from_le_bytes(*b)) << 32 | u64::from(u32::from_le_bytes(*a)) << (8 * (8 - len)),
        _ => digits.iter().fold(0, |w, b| w >> 8 | u64::from(*b) << 56),
    };
    bytes | 0x3030_3030_3030_3030_u64.checked_shr(8 * len as u32).unwrap_or(0)
}

/// The number of a word of eight digits, the first one lowest.
#[inline(always)]
pub(crate) fn eight(word: u64) -> Option<u64> {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    if word & HIGH != ZEROS || word.wrapping_add(0x0606_0606_0606_0606) & HIGH != ZEROS {
        return None;
    }
    let pairs = (word & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(10 << 8 | 1) >> 8;
    let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_mul(100 << 16 | 1) >> 16;
    Some((fours & 0x0000_FFFF_0000_FFFF).wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// One to 16 digits.
#[inline(always)]
pub(crate) fn natural(digits: &[u8]) -> Option<u64> {
    match digits.len() {
        1..=8 => eight(word(digits)),
        9..=16 => {
            let (head, tail) = digits.split_at_checked(digits.len() - 8)?;
            Some(eight(word(head))? * 100_000_000 + eight(word(tail))?)
        }
        _ => None,
    }
}

/// One to 16 digits with or without a minus.
#[inline(always)]
pub(crate) fn integer(cell: &[u8]) -> Option<i64> {
    match cell {
        [b'-', digits @ ..] => Some(-(natural(digits)? as i64)),
        digits => Some(natural(digits)? as i64),
    }
}

/// A number with or without a point, of at most 18 digits.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) negative: bool,
    /// All digits.
    pub(crate) digits: u64,
    /// How many of them are after the point.
    pub(crate) after: usize,
}

/// The digits of a word of `len` characters, and how many are after the point: a point within is taken out.
#[inline(always)]
fn short(word: u64, len: usize) -> Option<(u64, usize)> {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let differs = word ^ 0x2E2E_2E2E_2E2E_2E2E;
    let points = !(((differs & LOW) + LOW) | differs | LOW);
    if points == 0 {
        return Some((eight(word)?, 0));
    }
    let at = points.trailing_zeros() as usize / 8;
    if at + len <= 8 || at == 7 {
        return None;
    }
    let (below, above) = ((1 << (8 * at)) - 1, u64::MAX << (8 * at + 8));
    Some((eight(word & above | (word & below) << 8 | 0x30)?, 7 - at))
}

#[inline(always)]
pub(crate) fn point(cell: &[u8]) -> Option<Point> {
    let (negative, rest) = match cell {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    match rest.len() {
        1..=8 => {
            let (digits, after) = short(word(rest), rest.len())?;
            return Some(Point { negative, digits, after });
        }
        9..=19 => {}
        _ => return None,
    }
    let Some(at) = rest.iter().position(|b| *b == b'.') else {
        return Some(Point { negative, digits: natural(rest)?, after: 0 });
    };
    let (before, after) = (rest.get(..at)?, rest.get(at + 1..)?);
    let digits = natural(before)? * power(after.len())? + natural(after)?;
    Some(Point { negative, digits, after: after.len() })
}

/// A float whose digits and power of ten are both exact, so that their quotient is the nearest one.
#[inline(always)]
pub(crate) fn double(cell: &[u8]) -> Option<f64> {
    let p = point(cell)?;
    let value = (p.digits <= 1 << 53).then_some(p.digits as f64)? / power(p.after)? as f64;
    Some(if p.negative { -value } else { value })
}

/// The same in 32 bits.
#[inline(always)]
pub(crate) fn single(cell: &[u8]) -> Option<f32> {
    let p = point(cell)?;
    let value = (p.digits <= 1 << 24 && p.after <= 10).then_some(p.digits as f32)? / power(p.after)? as f32;
    Some(if p.negative { -value } else { value })
}
