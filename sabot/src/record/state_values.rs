//! State of plain values: numbers, text, times, and collections of them.
//!
//! Little-endian words; a collection is its length (64 bits) and its items. Maps are written in key order where they
//! have one; a `HashMap` is written in its own order, which is not stable.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use super::{Bytes, Date, Decimal, Dict, Duration, List, State, Str, Time, Timestamp, Unit, Zone, take};
use crate::{Error, Result};

fn malformed(what: &str) -> Error {
    Error::Checkpoint(format!("state is malformed: {what}"))
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(len as u64).to_le_bytes());
}

fn get_len(from: &mut &[u8]) -> Result<usize> {
    let len = u64::decode(from)?;
    usize::try_from(len).map_err(|_| malformed("a length is out of range"))
}

macro_rules! words {
    ($($t:ty),*) => {$(
        impl State for $t {
            fn type_name() -> String {
                stringify!($t).to_owned()
            }
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(from: &mut &[u8]) -> Result<Self> {
                let (word, rest) = from.split_first_chunk().ok_or_else(|| malformed("it is cut short"))?;
                *from = rest;
                Ok(<$t>::from_le_bytes(*word))
            }
        }
    )*};
}
words!(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, f32, f64);

/// Types that are written as another: `usize` as `u64`, a timestamp as its units.
macro_rules! through {
    ($([$($gen:tt)*] $t:ty as $word:ty, $name:expr, |$v:ident| $to:expr, |$w:ident| $from:expr);* $(;)?) => {$(
        impl<$($gen)*> State for $t {
            fn type_name() -> String {
                $name
            }
            fn encode(&self, out: &mut Vec<u8>) {
                let $v = self;
                let word: $word = $to;
                word.encode(out);
            }
            fn decode(from: &mut &[u8]) -> Result<Self> {
                let $w = <$word as State>::decode(from)?;
                $from
            }
        }
    )*};
}
through!(
    [] usize as u64, "usize".into(), |v| *v as u64, |w| Self::try_from(w).map_err(|_| malformed("a usize is out of range"));
    [] isize as i64, "isize".into(), |v| *v as i64, |w| Self::try_from(w).map_err(|_| malformed("an isize is out of range"));
    [] bool as u8, "bool".into(), |v| u8::from(*v), |w| match w {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(malformed("a bool is neither 0 nor 1")),
    };
    [] char as u32, "char".into(), |v| u32::from(*v), |w| char::from_u32(w).ok_or_else(|| malformed("a char is no scalar value"));
    [] Date as i32, "Date".into(), |v| v.0, |w| Ok(Date(w));
    [U: Unit, Z: Zone] Timestamp<U, Z> as i64, format!("Timestamp<{}>", U::SYMBOL), |v| v.value(), |w| Ok(Self::new(w));
    [U: Unit] Duration<U> as i64, format!("Duration<{}>", U::SYMBOL), |v| v.value(), |w| Ok(Self::new(w));
    [U: Unit] Time<U> as i64, format!("Time<{}>", U::SYMBOL), |v| v.value(), |w| Ok(Self::new(w));
    [const P: u8, const S: i8] Decimal<P, S> as i128, format!("Decimal<{P}, {S}>"), |v| v.units(), |w| Ok(Self::from_units(w));
    [] half::f16 as u16, "f16".into(), |v| v.to_bits(), |w| Ok(Self::from_bits(w));
);

impl State for String {
    fn type_name() -> String {
        "String".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        let len = get_len(from)?;
        String::from_utf8(take(from, len)?.to_vec()).map_err(|_| malformed("text is not UTF-8"))
    }
}
impl State for Str {
    fn type_name() -> String {
        String::type_name()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        String::decode(from).map(Str::from)
    }
}
impl State for Bytes {
    fn type_name() -> String {
        "Bytes".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        let len = get_len(from)?;
        Ok(Bytes::from(take(from, len)?.to_vec()))
    }
}
impl<T: State> State for Dict<T> {
    fn type_name() -> String {
        T::type_name()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        T::decode(from).map(Dict)
    }
}
impl<T: State> State for Box<T> {
    fn type_name() -> String {
        T::type_name()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode(self, out);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        T::decode(from).map(Box::new)
    }
}
impl<T: State> State for Option<T> {
    fn type_name() -> String {
        format!("Option<{}>", T::type_name())
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        bool::decode(from)?.then(|| T::decode(from)).transpose()
    }
}
impl<T: State, const N: usize> State for [T; N]
where
    [T; N]: Default,
{
    fn type_name() -> String {
        format!("[{}; {N}]", T::type_name())
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|v| v.encode(out));
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        let mut all = Self::default();
        for v in &mut all {
            *v = T::decode(from)?;
        }
        Ok(all)
    }
}

macro_rules! collections {
    ($([$($gen:tt)*] $t:ty, $name:literal, $item:ty);* $(;)?) => {$(
        impl<$($gen)*> State for $t {
            fn type_name() -> String {
                format!(concat!($name, "<{}>"), <$item>::type_name())
            }
            fn encode(&self, out: &mut Vec<u8>) {
                put_len(self.len(), out);
                self.iter().for_each(|v| v.encode(out));
            }
            fn decode(from: &mut &[u8]) -> Result<Self> {
                (0..get_len(from)?).map(|_| <$item>::decode(from)).collect()
            }
        }
    )*};
}
collections!(
    [T: State] Vec<T>, "Vec", T;
    [T: State] List<T>, "Vec", T;
    [T: State] VecDeque<T>, "Vec", T;
    [T: State + Ord] BTreeSet<T>, "Set", T;
    [T: State + Eq + Hash, S: BuildHasher + Default + Send + 'static] HashSet<T, S>, "Set", T;
);

macro_rules! maps {
    ($([$($gen:tt)*] $t:ty);* $(;)?) => {$(
        impl<$($gen)*> State for $t {
            fn type_name() -> String {
                format!("Map<{}, {}>", K::type_name(), V::type_name())
            }
            fn encode(&self, out: &mut Vec<u8>) {
                put_len(self.len(), out);
                for (k, v) in self {
                    k.encode(out);
                    v.encode(out);
                }
            }
            fn decode(from: &mut &[u8]) -> Result<Self> {
                (0..get_len(from)?).map(|_| Ok((K::decode(from)?, V::decode(from)?))).collect()
            }
        }
    )*};
}
maps!(
    [K: State + Ord, V: State] BTreeMap<K, V>;
    [K: State + Eq + Hash, V: State, S: BuildHasher + Default + Send + 'static] HashMap<K, V, S>;
);

macro_rules! tuples {
    ($($($t:ident)*;)*) => {$(
        #[allow(non_snake_case, unused_variables)]
        impl<$($t: State),*> State for ($($t,)*) {
            fn type_name() -> String {
                let parts: Vec<String> = vec![$($t::type_name()),*];
                format!("({})", parts.join(", "))
            }
            fn encode(&self, out: &mut Vec<u8>) {
                let ($($t,)*) = self;
                $($t.encode(out);)*
            }
            fn decode(from: &mut &[u8]) -> Result<Self> {
                Ok(($($t::decode(from)?,)*))
            }
        }
    )*};
}
tuples!(; A; A B; A B C; A B C D; A B C D E; A B C D E F;);
