//! `#[derive(Record)]`: rows to batches and back, in every encoding that can be read.
#![forbid(unsafe_code)]
#![deny(warnings)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use half::f16;
use sabot::prelude::*;
use sabot::record::{Named, columns_of, from_batch, schema_of, to_batch};

/// A nested record.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Leg {
    /// Its venue.
    pub venue: Str,
    /// Perhaps a price.
    pub price: Option<f64>,
}

/// A nested record of fixed width.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Point {
    /// East.
    pub x: f64,
    /// North.
    pub y: Option<i32>,
}

macro_rules! all {
    ($($name:ident: $t:ty = |$i:ident| $value:expr;)*) => {
        #[derive(Record, Clone, Debug, PartialEq)]
        struct All { $($name: $t,)* }
        #[derive(Record, Clone, Debug, PartialEq)]
        struct Nullable { $($name: Option<$t>,)* }
        fn all(i: i64) -> All {
            All { $($name: { let $i = i; $value },)* }
        }
        /// Field `k` is null in every row with `(i + k) % 3 == 0`.
        fn nullable(i: i64) -> Nullable {
            let mut k = i;
            Nullable { $($name: { k += 1; let $i = i; (k % 3 != 0).then(|| $value) },)* }
        }
    };
}
fn word(i: i64) -> String {
    if i % 2 == 0 { format!("w{i}") } else { format!("a word too long to be inlined, number {i}") }
}
fn leg(i: i64) -> Leg {
    Leg { venue: word(i).into(), price: (i % 4 != 0).then_some(i as f64) }
}
all! {
    boolean: bool = |i| i % 3 == 0;
    int8: i8 = |i| i as i8;
    int16: i16 = |i| i as i16 * -7;
    int32: i32 = |i| i as i32 * -7;
    int64: i64 = |i| i * -7;
    uint8: u8 = |i| i as u8;
    uint16: u16 = |i| i as u16;
    uint32: u32 = |i| i as u32;
    uint64: u64 = |i| u64::MAX - i as u64;
    float16: f16 = |i| f16::from_f64(i as f64 / 4.0);
    float32: f32 = |i| i as f32 / 4.0;
    float64: f64 = |i| i as f64 / 4.0;
    date: Date = |i| Date(i as i32);
    decimal: Decimal<10, 2> = |i| Decimal::from_units(i128::from(i) * 101);
    seconds: Timestamp<Seconds> = |i| Timestamp::new(i);
    millis: Timestamp<Millis> = |i| Timestamp::new(i);
    micros: Timestamp<Micros> = |i| Timestamp::new(i);
    nanos: Timestamp<Nanos, Utc> = |i| Timestamp::new(i);
    span_s: Duration<Seconds> = |i| Duration::new(-i);
    span_ms: Duration<Millis> = |i| Duration::new(-i);
    span_us: Duration<Micros> = |i| Duration::new(-i);
    span_ns: Duration<Nanos> = |i| Duration::new(-i);
    time_s: Time<Seconds> = |i| Time::new(i);
    time_ms: Time<Millis> = |i| Time::new(i);
    time_us: Time<Micros> = |i| Time::new(i);
    time_ns: Time<Nanos> = |i| Time::new(i);
    text: Str = |i| word(i).into();
    bytes: Bytes = |i| word(i).into_bytes().into();
    dict: Dict<Str> = |i| Dict(word(i % 5).into());
    list: List<i64> = |i| (0..i % 4).collect();
    texts: List<Option<Str>> = |i| (0..i % 4).map(|k| (k != 1).then(|| word(k).into())).collect();
    lists: List<List<f64>> = |i| (0..i % 3).map(|k| List(vec![k as f64; k as usize])).collect();
    nested: Leg = |i| leg(i);
    point: Point = |i| Point { x: i as f64, y: (i % 2 == 0).then_some(i as i32) };
    legs: List<Leg> = |i| (0..i % 3).map(leg).collect();
    options: List<Option<Leg>> = |i| (0..i % 4).map(|k| (k != 2).then(|| leg(k))).collect();
}

fn round_trip<R: Named + Clone + Debug + PartialEq>(rows: &[R]) -> RecordBatch {
    let batch = to_batch(rows);
    assert_eq!(*batch.schema(), schema_of::<R>());
    assert_eq!(from_batch::<R>(&batch, "test").unwrap(), rows);
    for (from, len) in [(0, 0), (1, rows.len() - 1), (63, 2), (64, 64), (67, 70), (rows.len(), 0)] {
        assert_eq!(from_batch::<R>(&batch.slice(from, len), "slice").unwrap(), &rows[from..from + len], "{from}+{len}");
    }
    batch
}

#[test]
fn every_type() {
    round_trip(&(0..200).map(all).collect::<Vec<_>>());
}

#[test]
fn every_type_with_nulls() {
    let rows: Vec<_> = (0..200).map(nullable).collect();
    let batch = round_trip(&rows);
    assert!(batch.columns().iter().all(|c| c.logical_null_count() > 50));
    // columns without nulls may be read as nullable ones
    let dense = to_batch(&(0..9).map(all).collect::<Vec<_>>());
    let read: Vec<Nullable> = from_batch(&dense, "dense").unwrap();
    assert!(read.iter().all(|r| r.text.is_some() && r.options.is_some()));
}

#[test]
fn no_rows() {
    assert_eq!(from_batch::<All>(&to_batch::<All>(&[]), "empty").unwrap(), []);
    let absent = RecordBatch::try_from_iter([("text", arrow_array::new_null_array(&DataType::Null, 3))]).unwrap();
    #[derive(Record)]
    struct Text {
        text: Option<Str>,
    }
    assert!(from_batch::<Text>(&absent, "nulls").unwrap().iter().all(|r| r.text.is_none()));
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Texts {
    t: Option<Str>,
    d: Option<Dict<Str>>,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Dense {
    t: Str,
    d: Dict<Str>,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Blobs {
    b: Option<Bytes>,
}

#[test]
fn text_in_every_encoding() {
    let words: Vec<Option<String>> = (0..150).map(|i| (i % 7 != 3).then(|| word(i % 11))).collect();
    let plain: ArrayRef = Arc::new(StringArray::from(words.clone()));
    let dense: ArrayRef = Arc::new(StringArray::from_iter_values((0..150).map(|i| word(i % 11))));
    let mut types = vec![DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View];
    for key in [DataType::Int8, DataType::Int32, DataType::Int64, DataType::UInt8, DataType::UInt16, DataType::UInt32] {
        for value in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
            types.push(DataType::Dictionary(Box::new(key.clone()), Box::new(value)));
        }
    }
    for t in types {
        let column = arrow_cast::cast(&plain, &t).unwrap();
        let batch = RecordBatch::try_from_iter([("d", Arc::clone(&column)), ("t", column)]).unwrap();
        let want: Vec<Texts> = words.iter().map(|w| Texts { t: w.as_deref().map(Into::into), d: w.as_deref().map(Into::into) }).collect();
        assert_eq!(from_batch::<Texts>(&batch, "test").unwrap(), want, "{t}");
        assert_eq!(from_batch::<Texts>(&batch.slice(5, 130), "test").unwrap(), want[5..135], "{t}");
        let error = from_batch::<Dense>(&batch, "test").unwrap_err().to_string();
        assert!(error.contains("with a null in row 3; make the field `Option<..>`"), "{error}");

        let column = arrow_cast::cast(&dense, &t).unwrap();
        let batch = RecordBatch::try_from_iter([("d", Arc::clone(&column)), ("t", column)]).unwrap().slice(70, 66);
        let read = from_batch::<Dense>(&batch, "test").unwrap();
        assert!(read.iter().zip(70..).all(|(r, i)| *r.t == *word(i % 11) && **r.d == *word(i % 11)), "{t}");
    }
}

#[test]
fn bytes_in_every_encoding() {
    let blobs: Vec<Option<Vec<u8>>> = (0..100u8).map(|i| (i % 5 != 2).then(|| vec![i; 16])).collect();
    let plain: ArrayRef = Arc::new(BinaryArray::from_iter(blobs.iter().map(Option::as_deref)));
    for t in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView, DataType::FixedSizeBinary(16)] {
        let column = arrow_cast::cast(&plain, &t).unwrap();
        let batch = RecordBatch::try_from_iter([("b", column)]).unwrap();
        let want: Vec<Blobs> = blobs.iter().map(|b| Blobs { b: b.as_deref().map(Into::into) }).collect();
        assert_eq!(from_batch::<Blobs>(&batch, "test").unwrap(), want, "{t}");
        assert_eq!(from_batch::<Blobs>(&batch.slice(33, 60), "test").unwrap(), want[33..93], "{t}");
    }
}

/// A trade.
#[derive(Record, Clone, Debug, PartialEq)]
#[record(rename_all = "camelCase")]
pub struct Trade {
    /// Its symbol.
    pub symbol_name: Str,
    /// How much.
    pub price: f64,
    #[record(rename = "venue id")]
    venue: Dict<Str>,
    r#type: i32,
    leg: Leg,
    #[event_time]
    ts: Timestamp<Micros>,
}
fn trade() -> Trade {
    Trade { symbol_name: "ACME".into(), price: 2.5, venue: "X".into(), r#type: 3, leg: leg(1), ts: Timestamp::new(7) }
}

#[test]
fn names_and_marks() {
    let columns = columns_of::<Trade>();
    let names: Vec<_> = columns.iter().map(|c| (c.ident, &*c.name, c.event_time, c.fixed)).collect();
    assert_eq!(
        names,
        [
            ("symbol_name", "symbolName", false, false),
            ("price", "price", false, true),
            ("venue", "venue id", false, false),
            ("type", "type", false, true),
            ("leg", "leg", false, false),
            ("ts", "ts", true, true),
        ]
    );
    assert!(columns_of::<All>().iter().find(|c| c.ident == "point").unwrap().fixed);
    fn has_time<R: sabot::record::Record<Time = sabot::record::HasTime>>() {}
    has_time::<Trade>();
    // by name: another order and further columns do not matter
    let batch = to_batch(&[trade()]);
    let mut shuffled: Vec<(String, ArrayRef)> =
        batch.schema().fields().iter().zip(batch.columns()).map(|(f, c)| (f.name().clone(), Arc::clone(c))).rev().collect();
    shuffled.insert(2, ("further".into(), Arc::new(Int64Array::from(vec![1]))));
    assert_eq!(from_batch::<Trade>(&RecordBatch::try_from_iter(shuffled).unwrap(), "test").unwrap(), [trade()]);
}

#[test]
fn typed_accessors() {
    let batch = sabot::operator::Batch::<Trade>::new(to_batch(&[trade(), trade()]));
    let prices: &arrow_array::Float64Array = batch.price();
    let times: &arrow_array::TimestampMicrosecondArray = batch.ts();
    let types: &arrow_array::Int32Array = batch.r#type();
    assert_eq!((prices.value(1), times.value(0), types.value(1), batch.symbol_name().value(1)), (2.5, 7, 3, "ACME"));
    assert_eq!(batch.leg().num_columns(), 2);
    assert_eq!(batch.venue().len(), 2);
}

mod private {
    use sabot::prelude::*;
    /// A public record may have private columns of a private type.
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Hidden {
        a: f64,
    }
    #[derive(Record, Clone, Debug, PartialEq)]
    #[allow(unreachable_pub)]
    pub struct Shown {
        pub x: f64,
        hidden: Hidden,
        all: List<Hidden>,
        maybe: Option<Hidden>,
    }
    impl Shown {
        pub(crate) fn new(x: f64) -> Self {
            Shown { x, hidden: Hidden { a: x }, all: vec![Hidden { a: -x }].into(), maybe: None }
        }
    }
}
#[test]
fn private_columns() {
    round_trip(&(0..140u8).map(|i| private::Shown::new(i.into())).collect::<Vec<_>>());
}

#[test]
fn rows_print() {
    let row = trade();
    let row = <Trade as sabot::record::Value>::borrow(&row);
    assert_eq!(
        format!("{row:?}"),
        "Trade { symbol_name: \"ACME\", price: 2.5, venue: \"X\", type: 3, leg: Leg { venue: \"a word too long to be inlined, number 1\", price: Some(1.0) }, ts: 1970-01-01T00:00:00.000007 }"
    );
    let copy = row;
    assert_eq!(row.price, copy.price);
    assert_eq!(sabot::record::clone_of(&trade()), trade());
}

#[test]
fn what_does_not_fit_is_listed() {
    let leg = StructArray::try_from(vec![("venue", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let batch = RecordBatch::try_from_iter([
        ("symbolName", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("price", Arc::new(arrow_array::Float64Array::from(vec![None]))),
        ("venue id", Arc::new(StringArray::from(vec!["X"]))),
        ("leg", Arc::new(leg)),
        ("ts", Arc::new(arrow_array::TimestampMillisecondArray::from(vec![1]))),
    ])
    .unwrap();
    let error = from_batch::<Trade>(&batch, "trades.parquet").unwrap_err().to_string();
    assert_eq!(
        error,
        "trades.parquet: the columns do not fit record `Trade`
  column     | expected                                                   | found
  symbolName | Utf8View                                                   | Int64
  price      | Float64 (no nulls)                                         | Float64 with a null in row 0; make the field `Option<..>`
  type       | Int32 (no nulls)                                           | (no such column)
  leg        | struct with `venue`: Utf8View, `price`: Float64 (nullable) | `venue`: Int64, `price`: (no such field)
  ts         | Timestamp(µs)                                              | Timestamp(ms)"
    );
}

#[test]
fn nulls_of_a_struct_cover_its_children() {
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Outer {
        leg: Option<Leg>,
    }
    let venue: ArrayRef = Arc::new(StringArray::from(vec![Some("A"), None, Some("C")]));
    let price: ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![None, None, Some(1.0)]));
    let fields = vec![Field::new("venue", DataType::Utf8, true), Field::new("price", DataType::Float64, true)];
    let of = |valid: Vec<bool>| {
        let legs = StructArray::try_new(fields.clone().into(), vec![Arc::clone(&venue), Arc::clone(&price)], Some(valid.into())).unwrap();
        from_batch::<Outer>(&RecordBatch::try_from_iter([("leg", Arc::new(legs) as ArrayRef)]).unwrap(), "test")
    };
    let a = Leg { venue: "A".into(), price: None };
    let c = Leg { venue: "C".into(), price: Some(1.0) };
    assert_eq!(of(vec![true, false, true]).unwrap(), [Outer { leg: Some(a) }, Outer { leg: None }, Outer { leg: Some(c) }]);
    let error = of(vec![true, true, true]).unwrap_err().to_string();
    assert!(error.contains("`venue`: Utf8 with a null in row 1"), "{error}");
}

macro_rules! wide {
    ($($c:ident)*) => {
        #[derive(Record, Clone, Debug, PartialEq, Default)]
        struct Wide { $($c: f64,)* }
        #[derive(Record, Clone, Debug, PartialEq, Default)]
        struct WideText { $($c: Option<Str>,)* }
    };
}
wide! {
    c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19 c20 c21 c22 c23 c24 c25 c26 c27 c28 c29
    c30 c31 c32 c33 c34 c35 c36 c37 c38 c39 c40 c41 c42 c43 c44 c45 c46 c47 c48 c49 c50 c51 c52 c53 c54 c55 c56
    c57 c58 c59 c60 c61 c62 c63 c64 c65 c66 c67 c68 c69 c70 c71 c72 c73 c74 c75 c76 c77 c78 c79 c80 c81 c82 c83
    c84 c85 c86 c87 c88 c89 c90 c91 c92 c93 c94 c95 c96 c97 c98 c99 c100 c101 c102 c103 c104 c105 c106 c107 c108
    c109 c110 c111 c112 c113 c114 c115 c116 c117 c118 c119 c120 c121 c122 c123 c124 c125 c126 c127 c128 c129 c130
    c131 c132 c133 c134 c135 c136 c137 c138 c139 c140 c141 c142 c143 c144 c145 c146 c147 c148 c149 c150 c151 c152
    c153 c154 c155 c156 c157 c158 c159 c160 c161 c162 c163 c164 c165 c166 c167 c168 c169 c170 c171 c172 c173 c174
    c175 c176 c177 c178 c179 c180 c181 c182 c183 c184 c185 c186 c187 c188 c189 c190 c191 c192 c193 c194 c195 c196
    c197 c198 c199
}

#[test]
fn two_hundred_columns() {
    let rows: Vec<_> = (0..140).map(|i| Wide { c0: i as f64, c199: -(i as f64), ..Wide::default() }).collect();
    assert_eq!(round_trip(&rows).num_columns(), 200);
    let rows: Vec<_> = (0..140).map(|i| WideText { c77: Some(word(i).into()), ..WideText::default() }).collect();
    round_trip(&rows);
}
