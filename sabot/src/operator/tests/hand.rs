//! What the macros would write: aggregates, states and a record by hand.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StructArray, cast::AsArray};
use arrow_schema::{DataType, Field, Fields};

use crate::operator::{Aggregate, OperatorEntry, OperatorKind, Tier, Typed};
use crate::record::*;
use crate::{Error, Result};

pub(super) const fn entry(name: &'static str) -> OperatorEntry {
    OperatorEntry {
        name,
        ident: name,
        kind: OperatorKind::Aggregate,
        inputs: &[],
        output: Typed { name: "", rust_type: "Str", nullable: false },
        doc: "",
        total: false,
        volatile: false,
        fallible: false,
        tier: Tier::Rows,
        file: "",
        line: 0,
        end_line: 0,
        hash: 0,
    }
}

/// The longest text (the first of equals) and the sum of the numbers beside texts.
#[derive(Default)]
pub(super) struct Longest {
    text: String,
    weight: i64,
}
impl State for Longest {
    fn type_name() -> String {
        "Longest".into()
    }
    fn schema() -> StateSchema {
        vec![StateField { name: "text".into(), type_name: "text".into() }, StateField { name: "weight".into(), type_name: "i64".into() }]
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.weight.to_le_bytes());
        out.extend(self.text.as_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        let weight = i64::from_le_bytes(take(from, 8)?.try_into().unwrap());
        Ok(Longest { weight, text: String::from_utf8(from.to_vec()).map_err(|e| Error::Checkpoint(e.to_string()))? })
    }
}
impl Aggregate for Longest {
    type Args = (Str, (Option<i32>, ()));
    type Out = Str;
    const ENTRY: OperatorEntry = entry("Longest");
    fn update(&mut self, (text, (weight, ())): (&str, (Option<i32>, ()))) {
        if text.len() > self.text.len() {
            self.text = text.into();
        }
        self.weight += i64::from(weight.unwrap_or(0));
    }
    fn merge(&mut self, other: Self) {
        if other.text.len() > self.text.len() {
            self.text = other.text;
        }
        self.weight += other.weight;
    }
    fn finish(&self) -> Str {
        format!("{}/{}", self.text, self.weight).into()
    }
}

/// Panics on large numbers.
#[derive(Default)]
pub(super) struct Fussy;
impl State for Fussy {
    fn type_name() -> String {
        "Fussy".into()
    }
    fn encode(&self, _: &mut Vec<u8>) {}
    fn decode(_: &mut &[u8]) -> Result<Self> {
        Ok(Fussy)
    }
}
impl Aggregate for Fussy {
    type Args = (i64, ());
    type Out = i64;
    const ENTRY: OperatorEntry = entry("Fussy");
    fn update(&mut self, (v, ()): (i64, ())) {
        assert!(v < 1000, "too big");
    }
    fn merge(&mut self, _: Self) {}
    fn finish(&self) -> i64 {
        0
    }
}

/// A running count and sum per key; an older version had no sum.
#[derive(Default)]
pub(super) struct Running {
    pub(super) count: i64,
    pub(super) sum: i64,
}
impl State for Running {
    fn type_name() -> String {
        "Running".into()
    }
    fn schema() -> StateSchema {
        vec![StateField { name: "count".into(), type_name: "i64".into() }, StateField { name: "sum".into(), type_name: "i64".into() }]
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
        out.extend(self.sum.to_le_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        Ok(Running {
            count: i64::from_le_bytes(take(from, 8)?.try_into().unwrap()),
            sum: i64::from_le_bytes(take(from, 8)?.try_into().unwrap()),
        })
    }
    fn decode_from(from: &mut &[u8], written: &StateSchema) -> Result<Self> {
        match written.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().as_slice() {
            ["count"] => Ok(Running { count: Before::decode(from)?.count, sum: 0 }),
            other => Err(Error::Checkpoint(format!("unknown fields {other:?}"))),
        }
    }
}

/// What `Running` was before it had a sum.
#[derive(Default)]
pub(super) struct Before {
    pub(super) count: i64,
}
impl State for Before {
    fn type_name() -> String {
        "Running".into()
    }
    fn schema() -> StateSchema {
        vec![StateField { name: "count".into(), type_name: "i64".into() }]
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        Ok(Before { count: i64::from_le_bytes(take(from, 8)?.try_into().unwrap()) })
    }
}

/// A record: key, number, time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) k: Str,
    pub(super) v: i64,
}
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemRow<'a> {
    pub(super) k: &'a str,
    pub(super) v: i64,
}
pub(super) struct ItemCols {
    _k: Col<Str>,
    _v: Col<i64>,
}

impl Record for Item {
    type Row<'a> = ItemRow<'a>;
    type Cols = ItemCols;
    type Time = NoTime;
    type Read<'a> = (<Str as Value>::Read<'a>, <i64 as Value>::Read<'a>);
    type Chunk<'a> = (<Str as Value>::Chunk<'a>, <i64 as Value>::Chunk<'a>);
    const NAME: &'static str = "Item";
    fn cols() -> ItemCols {
        ItemCols { _k: Col::new("k"), _v: Col::new("v") }
    }
    fn columns(out: &mut Vec<Column>) {
        out.push(Column::of::<Str>("k", "k"));
        out.push(Column::of::<i64>("v", "v"));
    }
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        (from.next::<Str>(), from.next::<i64>())
    }
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (Str::chunk(read.0, at), i64::chunk(read.1, at))
    }
    fn row<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> ItemRow<'a> {
        ItemRow { k: Str::lane::<VALID>(chunk.0, lane), v: i64::lane::<VALID>(chunk.1, lane) }
    }
}
pub(super) struct ItemWrite(<Str as Value>::Write, <i64 as Value>::Write);
impl Value for Item {
    type Ref<'a> = ItemRow<'a>;
    type Array = StructArray;
    type Read<'a> = <Item as Record>::Read<'a>;
    type Chunk<'a> = <Item as Record>::Chunk<'a>;
    type Write = ItemWrite;
    crate::record::never_fails!(Self);
    const FIXED: bool = false;
    fn data_type() -> DataType {
        DataType::Struct(Fields::from(vec![Field::new("k", DataType::Utf8View, false), Field::new("v", DataType::Int64, false)]))
    }
    fn read<'a>(array: Option<&'a ArrayRef>) -> <Self as Value>::Read<'a> {
        let of = |i: usize| array.and_then(|a| a.as_struct_opt()).map(|s| s.column(i));
        (Str::read(of(0)), i64::read(of(1)))
    }
    fn chunk<'a>(read: <Self as Value>::Read<'a>, at: Window) -> <Self as Value>::Chunk<'a> {
        <Item as Record>::chunk(read, at)
    }
    fn lane<'a, const VALID: bool>(chunk: <Self as Value>::Chunk<'a>, lane: Lane) -> ItemRow<'a> {
        Item::row::<VALID>(chunk, lane)
    }
    fn blank<'a>() -> ItemRow<'a> {
        ItemRow { k: "", v: 0 }
    }
    fn borrow(&self) -> ItemRow<'_> {
        ItemRow { k: &self.k, v: self.v }
    }
    fn own(value: ItemRow<'_>) -> Self {
        Item { k: value.k.into(), v: value.v }
    }
}
impl Writer<Item> for ItemWrite {
    fn new(rows: usize) -> Self {
        ItemWrite(Writer::<Str>::new(rows), Writer::<i64>::new(rows))
    }
    fn put(&mut self, at: usize, value: ItemRow<'_>, env: &Env<'_>) {
        self.0.put(at, value.k, env);
        self.1.put(at, value.v, env);
    }
    fn shift(&mut self, _: usize, _: usize) {}
    fn finish(self, rows: usize, buffers: &Buffers) -> ArrayRef {
        let DataType::Struct(fields) = Item::data_type() else { unreachable!() };
        let array = StructArray::new(
            fields,
            vec![Writer::<Str>::finish(self.0, rows, buffers), Writer::<i64>::finish(self.1, rows, buffers)],
            None,
        );
        debug_assert_eq!(array.len(), rows);
        Arc::new(array)
    }
}
impl Named for Item {
    fn value_ref<'a>(row: <Self as Record>::Row<'a>) -> <Self as Value>::Ref<'a> {
        row
    }
    fn row_ref<'a>(value: <Self as Value>::Ref<'a>) -> <Self as Record>::Row<'a> {
        value
    }
}
