//! `#[derive(State)]`: what a snapshot holds, and what may change before it is restored.
#![forbid(unsafe_code)]
#![deny(warnings)]
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;

use sabot::prelude::*;
use sabot::record::{Largest, Least, Reduce, Reducing};

fn bytes(state: &impl State) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(&mut out);
    out
}
fn round_trip<S: State + Clone + PartialEq + Debug>(state: S) {
    let written = bytes(&state);
    let mut from = written.as_slice();
    assert_eq!(S::decode(&mut from).unwrap(), state);
    assert!(from.is_empty());
    let mut from = written.as_slice();
    assert_eq!(S::decode_from(&mut from, &S::schema()).unwrap(), state);
    for cut in 0..written.len() {
        assert!(S::decode(&mut &written[..cut]).is_err(), "{cut} of {} bytes", written.len());
    }
}

#[derive(State, Default, Clone, PartialEq, Debug)]
struct Inner {
    last: Option<Timestamp<Micros>>,
    len: u32,
}
#[derive(State, Default, Clone, PartialEq, Debug)]
struct Everything {
    ints: (i8, i16, i32, i64, i128, isize),
    uints: (u8, u16, u32, u64, u128, usize),
    floats: (f32, f64),
    flag: bool,
    letter: char,
    text: String,
    name: Str,
    blob: Bytes,
    word: Dict<Str>,
    maybe: Option<Option<i64>>,
    items: Vec<Inner>,
    list: List<f64>,
    queue: VecDeque<Str>,
    map: HashMap<String, Vec<i64>>,
    sorted: BTreeMap<(i64, bool), Str>,
    set: BTreeSet<u8>,
    four: [f64; 4],
    day: Date,
    noon: Time<Seconds>,
    span: Duration<Nanos>,
    cents: Decimal<10, 2>,
    boxed: Box<Inner>,
    most: Reducing<f64, Largest>,
    r#type: i64,
}

fn reduced<T: Clone, F: Reduce<T>>(values: &[T]) -> Reducing<T, F> {
    let mut out = Reducing::default();
    values.iter().cloned().for_each(|v| out.add(v));
    out
}

#[test]
fn every_type() {
    round_trip(Everything::default());
    round_trip(Everything {
        ints: (-1, -2, -3, -4, -5, -6),
        uints: (1, 2, 3, 4, 5, 6),
        floats: (0.5, -0.25),
        flag: true,
        letter: 'ß',
        text: "tëxt".into(),
        name: "n".into(),
        blob: vec![0, 255].into(),
        word: "w".into(),
        maybe: Some(None),
        items: vec![Inner { last: Some(Timestamp::new(5)), len: 2 }, Inner::default()],
        list: vec![1.0].into(),
        queue: ["a".into(), "b".into()].into(),
        map: [("k".to_owned(), vec![1, 2])].into(),
        sorted: [((1, true), "x".into())].into(),
        set: [3, 1].into(),
        four: [1.0, 2.0, 3.0, 4.0],
        day: Date(9),
        noon: Time::new(12 * 3600),
        span: Duration::new(-1),
        cents: Decimal::from_units(1999),
        boxed: Box::new(Inner { last: None, len: 7 }),
        most: reduced(&[2.0, f64::NAN, 3.0, 3.0, 1.0]),
        r#type: 1,
    });
}

mod before {
    use super::*;
    #[derive(State, Default)]
    pub(crate) struct Run {
        pub(crate) len: u32,
        pub(crate) note: String,
    }
}
mod added {
    use super::*;
    #[derive(State)]
    pub(crate) struct Run {
        pub(crate) note: String,
        pub(crate) factor: f64,
        pub(crate) len: u32,
    }
    impl Default for Run {
        fn default() -> Self {
            Run { note: String::new(), factor: 1.5, len: 0 }
        }
    }
}
mod removed {
    use super::*;
    #[derive(State, Default, Debug)]
    pub(crate) struct Run {
        pub(crate) len: u32,
    }
}
mod retyped {
    use super::*;
    #[derive(State, Default, Debug)]
    pub(crate) struct Run {
        pub(crate) len: u64,
        pub(crate) note: String,
    }
}
mod nested {
    use super::*;
    #[derive(State, Default, Debug)]
    pub(crate) struct Old {
        pub(crate) runs: Vec<super::Inner>,
    }
    #[derive(State, Default, Debug)]
    pub(crate) struct Inner2 {
        last: Option<Timestamp<Micros>>,
        len: u64,
    }
    #[derive(State, Default, Debug)]
    pub(crate) struct New {
        pub(crate) runs: Vec<Inner2>,
    }
}

#[test]
fn fields_are_matched_by_name() {
    let old = before::Run { len: 3, note: "n".into() };
    let (written, schema) = (bytes(&old), before::Run::schema());
    let new = added::Run::decode_from(&mut written.as_slice(), &schema).unwrap();
    assert_eq!((new.note.as_str(), new.factor, new.len), ("n", 1.5, 3));
    let error = removed::Run::decode_from(&mut written.as_slice(), &schema).unwrap_err().to_string();
    assert_eq!(
        error,
        "checkpoint: the state `Run` was written with `note: String`, but the struct has no such field now; keep the field until its state has expired"
    );
    let error = retyped::Run::decode_from(&mut written.as_slice(), &schema).unwrap_err().to_string();
    assert_eq!(
        error,
        "checkpoint: the state `Run` was written with `len: u32`, but the field is `u64` now; keep its type, or give the new field another name"
    );
}

#[test]
fn a_change_within_a_field_is_noticed() {
    let written = bytes(&nested::Old { runs: vec![Inner::default()] });
    let error = nested::New::decode_from(&mut written.as_slice(), &nested::Old::schema()).unwrap_err().to_string();
    assert!(error.contains("`runs: Vec<{last: Option<Timestamp<us>>, len: u32}>`"), "{error}");
}

mod longest {
    use super::*;
    #[derive(State, Default, Debug)]
    pub(crate) struct Ride {
        pub(crate) far: Reducing<f64, Largest>,
    }
}
mod shortest {
    use super::*;
    #[derive(State, Default, Debug)]
    pub(crate) struct Ride {
        pub(crate) far: Reducing<f64, Least>,
    }
}
mod wordy {
    use super::*;
    #[derive(Debug)]
    pub(crate) enum Joined {}
    impl Reduce<String> for Joined {
        const NAME: &'static str = "joined";
        fn reduce(held: &mut String, next: String) {
            held.push_str(&next);
        }
    }
    #[derive(State, Default, Debug)]
    pub(crate) struct Ride {
        pub(crate) far: Reducing<f64, Largest>,
        pub(crate) via: Reducing<String, Joined>,
    }
}

#[test]
fn what_is_reduced_goes_on_with_the_same_function_only() {
    let old = longest::Ride { far: reduced(&[5.0, 9.0, 2.0]) };
    let (written, schema) = (bytes(&old), longest::Ride::schema());
    let mut new = wordy::Ride::decode_from(&mut written.as_slice(), &schema).unwrap();
    assert_eq!((new.far.get(), new.via.get()), (Some(&9.0), None));
    ["a", "b", "c"].into_iter().for_each(|v| new.via.add(v.to_owned()));
    assert_eq!((new.via.get().map(String::as_str), new.far.take(), new.far.get()), (Some("abc"), Some(9.0), None));
    let error = shortest::Ride::decode_from(&mut written.as_slice(), &schema).unwrap_err().to_string();
    assert!(error.contains("`far: Reducing<f64, largest>`") && error.contains("`Reducing<f64, least>` now"), "{error}");
}
