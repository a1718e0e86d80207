//! `top` and `distinct` on more rows than fit their first cuts and blocks.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{Out, Rng, concat, cut, lines};
use crate::operator::*;

const ONE: Instance = Instance { index: 0, of: 1 };

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, true),
        Field::new("whole", DataType::Int64, true),
        Field::new("float", DataType::Float64, true),
        Field::new("text", DataType::Utf8View, true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

/// Rows with nulls; `whole` has the extremes of its type.
fn rows(rng: &mut Rng, n: usize, keys: u64) -> RecordBatch {
    let mut some = |below: u64| (rng.below(9) > 0).then(|| rng.below(below));
    let key: Int64Array = (0..n).map(|_| some(keys).map(|v| v as i64)).collect();
    let whole: Int64Array = (0..n)
        .map(|_| {
            some(40_000).map(|v| match v {
                0 => i64::MIN,
                1 => i64::MAX,
                v => v as i64 - 20_000,
            })
        })
        .collect();
    let float: Float64Array = (0..n).map(|_| some(30).map(|v| if v == 0 { -0.0 } else { v as f64 - 11.0 })).collect();
    let text: StringViewArray = (0..n).map(|_| some(500).map(|v| format!("a long beginning {v}"))).collect();
    let flag: BooleanArray = (0..n).map(|_| some(2).map(|v| v == 1)).collect();
    let id = Int64Array::from((0..n as i64).collect::<Vec<_>>());
    RecordBatch::try_new(schema(), vec![Arc::new(id), Arc::new(key), Arc::new(whole), Arc::new(float), Arc::new(text), Arc::new(flag)])
        .unwrap()
}

/// Runs both phases over splits of the rows; what the final phase gave, and both accounts.
fn top(spec: &Arc<TopSpec>, batch: &RecordBatch, split: usize, size: usize, keep: &dyn Fn(usize) -> bool) -> RecordBatch {
    let schema = schema();
    let mut first = PartialTop::factory(Arc::clone(spec), &schema).unwrap().create(ONE).unwrap();
    let mut last = Top::factory(Arc::clone(spec), &schema, 9).unwrap().create(ONE).unwrap();
    let (mut middle, mut out) = (Out::default(), Out::default());
    for (number, start) in (0..batch.num_rows()).step_by(split).enumerate() {
        let part = batch.slice(start, split.min(batch.num_rows() - start));
        let at = |row: usize| keep(start + row);
        let morsels = cut(&part, number as u64, size, Some(&at));
        let origin = crate::kernel::Origin { row: 0, ..morsels[0].origin };
        morsels.into_iter().for_each(|m| middle.feed(first.as_mut(), 0, m));
        first.split_end(0, origin, &mut middle).unwrap();
    }
    middle.finish(first.as_mut(), 0);
    middle.account.rows_in = batch.num_rows() as u64;
    middle.account.filtered += (0..batch.num_rows()).filter(|r| !keep(*r)).count() as u64;
    assert!(middle.account.balanced() && middle.account.held == 0, "{:?}", middle.account);
    // a restart in between
    for (number, morsel) in std::mem::take(&mut middle.morsels).into_iter().enumerate() {
        out.feed(last.as_mut(), 0, morsel);
        if number == 1 {
            let state = last.snapshot(1).unwrap().write().unwrap();
            last = Top::factory(Arc::clone(spec), &schema, 9).unwrap().create(ONE).unwrap();
            state.iter().for_each(|s| last.restore(s).unwrap());
        }
    }
    out.finish(last.as_mut(), 0);
    assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
    concat(&schema, &out.morsels)
}

#[test]
fn top_as_a_sort_does() {
    let mut rng = Rng(5);
    let batch = rows(&mut rng, 12_000, 50);
    let converter = |by: &[SortKey]| {
        let fields = by.iter().map(|k| {
            let t = schema().field_with_name(&k.column).unwrap().data_type().clone();
            arrow_row::SortField::new_with_options(t, arrow_schema::SortOptions { descending: !k.ascending, nulls_first: k.nulls_first })
        });
        let columns: Vec<ArrayRef> = by.iter().map(|k| Arc::clone(batch.column_by_name(&k.column).unwrap())).collect();
        arrow_row::RowConverter::new(fields.collect()).unwrap().convert_columns(&columns).unwrap()
    };
    let by = |column: &str, ascending, nulls_first| SortKey { column: column.into(), ascending, nulls_first };
    let orders = [
        vec![by("whole", true, false)],
        vec![by("whole", false, true)],
        vec![by("float", false, false)],
        vec![by("flag", true, false), by("whole", false, false)],
        vec![by("text", false, false), by("float", true, true)],
        vec![by("text", true, true)],
        vec![by("flag", false, true)],
    ];
    for (round, by) in orders.into_iter().enumerate() {
        let forms = converter(&by);
        for (keys, n) in [(vec![], 1u64), (vec![], 10), (vec![], 4500), (vec!["key".to_owned()], 3), (vec!["key".to_owned()], 400)] {
            let keep = |row: usize| round.is_multiple_of(2) || !row.is_multiple_of(3);
            let spec = Arc::new(TopSpec { rows: n, keys: keys.clone(), order: SortSpec { name: "top".into(), by: by.clone() } });
            let got = top(&spec, &batch, 5000, 1000 + round * 777, &keep);
            let mut order: Vec<u32> = (0..batch.num_rows() as u32).filter(|r| keep(*r as usize)).collect();
            order.sort_by(|a, b| forms.row(*a as usize).cmp(&forms.row(*b as usize)));
            let key = batch.column(1);
            let mut seen = std::collections::HashMap::new();
            order.retain(|row| {
                let key = if keys.is_empty() { String::new() } else { super::show(key, *row as usize) };
                let count = seen.entry(key).or_insert(0u64);
                *count += 1;
                *count <= n
            });
            let expected = lines(&arrow_select::take::take_record_batch(&batch, &UInt32Array::from(order)).unwrap());
            let (mut got, mut expected) = (lines(&got), expected);
            if !keys.is_empty() {
                got.sort();
                expected.sort();
            }
            assert!(got == expected, "{by:?} {keys:?} {n}: {} rows, {} expected", got.len(), expected.len());
        }
    }
}

#[test]
fn distinct_beyond_its_blocks() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true), Field::new("id", DataType::Int64, false)]));
    let spec = Arc::new(DistinctSpec { name: "distinct".into(), columns: vec!["key".into()] });
    // nearly all keys are new, or few are
    for (spread, n) in [(1_000_000u64, 180_000), (300, 90_000)] {
        let mut rng = Rng(3);
        let key: Int64Array = (0..n).map(|_| (rng.below(50) > 0).then(|| rng.below(spread) as i64)).collect();
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(key.clone()), Arc::new(Int64Array::from_iter_values(0..n))]).unwrap();
        let mut seen = HashSet::new();
        let expected: HashSet<i64> = key.iter().zip(0..n).filter(|(k, _)| seen.insert(*k)).map(|(_, id)| id).collect();
        let mut first = PartialDistinct::factory(Arc::clone(&spec), &schema).unwrap().create(ONE).unwrap();
        let make = || Distinct::factory(Arc::clone(&spec), &schema, true, 9).unwrap().create(ONE).unwrap();
        let (mut last, mut middle, mut out) = (make(), Out::default(), Out::default());
        cut(&batch, 0, 8000, None).into_iter().for_each(|m| middle.feed(first.as_mut(), 0, m));
        assert!(middle.account.balanced());
        assert_eq!(spread == 300, middle.account.rows_out < 1000, "{:?}", middle.account);
        for (number, morsel) in middle.morsels.into_iter().enumerate() {
            out.feed(last.as_mut(), 0, morsel);
            if number == 2 {
                let state = last.snapshot(1).unwrap().write().unwrap();
                last = make();
                state.iter().for_each(|s| last.restore(s).unwrap());
            }
        }
        out.finish(last.as_mut(), 0);
        assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
        // rows of a key group are numbered from zero, in source order
        let mut next = std::collections::HashMap::new();
        let mut got = HashSet::new();
        for morsel in &out.morsels {
            let (row, last) = next.entry(morsel.origin.split).or_insert((0u64, -1i64));
            assert_eq!(morsel.origin.row, *row);
            *row += morsel.rows() as u64;
            for id in morsel.batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().values() {
                assert!(*id > *last && got.insert(*id));
                *last = *id;
            }
        }
        assert!(got == expected, "{} rows, {} expected", got.len(), expected.len());
    }
}
