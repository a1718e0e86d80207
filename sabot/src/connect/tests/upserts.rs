//! What becomes of keys, against a table that changes are made up from.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, Float64Array, Int64Array, StringArray};

use super::*;
use crate::connect::upserts::{Net, UpsertKey, Upserts};
use crate::operator::with_weights;

/// A key of two columns, and a value; `k` may be null.
type Row = (Option<i64>, String, u64);
type Table = BTreeMap<(Option<i64>, String), u64>;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn changes(rows: &[(Row, i8)]) -> RecordBatch {
    let schema = schema(&[("v", DataType::Float64), ("k", DataType::Int64), ("name", DataType::Utf8)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|((.., v), _)| Some(f64::from_bits(*v))).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|((k, ..), _)| *k).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|((_, name, _), _)| Some(name.as_str())).collect::<StringArray>()),
    ];
    with_weights(&batch(&schema, columns), rows.iter().map(|(_, w)| *w).collect()).unwrap()
}
fn key() -> Vec<String> {
    vec!["k".into(), "name".into()]
}
fn number(column: &dyn Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
}

/// Applies what became of keys; a key that is not as it was told is an error.
fn apply(table: &mut Table, net: &Net) {
    let mut touched = Vec::new();
    for batch in &net.gone {
        assert_eq!(batch.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["k", "name"]);
        for row in 0..batch.num_rows() {
            let key = (number(batch.column(0), row), batch.column(1).as_string::<i32>().value(row).to_owned());
            assert!(table.remove(&key).is_some(), "{key:?} was not there");
            touched.push(key);
        }
    }
    for (batches, had) in [(&net.added, false), (&net.replacing, true)] {
        for batch in batches {
            for row in 0..batch.num_rows() {
                let key = (number(batch.column(1), row), batch.column(2).as_string::<i32>().value(row).to_owned());
                let value = batch.column(0).as_primitive::<Float64Type>().value(row).to_bits();
                assert_eq!(table.insert(key.clone(), value).is_some(), had, "{key:?}");
                touched.push(key);
            }
        }
    }
    let all = touched.len();
    touched.sort();
    touched.dedup();
    assert_eq!(touched.len(), all, "a key is told of once");
}

/// Values that are easily taken for another.
const VALUES: [f64; 5] = [0.0, -0.0, f64::NAN, 1.5, f64::INFINITY];

/// Changes of a table at random, each the old row and the new one.
fn steps(seed: u64, table: &mut Table) -> Vec<Vec<(Row, i8)>> {
    let mut steps = Vec::new();
    for step in 0..400 {
        let r = mix(seed * 1000 + step);
        let key = ((!r.is_multiple_of(7)).then_some((r % 7) as i64), ["", "a", "b"][(r >> 8) as usize % 3].to_owned());
        let row = |v: u64| (key.0, key.1.clone(), v);
        let mut step: Vec<(Row, i8)> = table.remove(&key).map(|old| (row(old), -1)).into_iter().collect();
        if !(r >> 16).is_multiple_of(3) {
            let new = VALUES[(r >> 24) as usize % VALUES.len()].to_bits();
            table.insert(key.clone(), new);
            step.push((row(new), 1));
        }
        steps.push(step);
    }
    steps
}

#[test]
fn tables_follow_the_changes_cut_anywhere() {
    let (mut replaced, mut gone, mut nothing) = (0, 0, 0);
    for seed in 0..60 {
        let mut model = Table::new();
        let all: Vec<(Row, i8)> = steps(seed, &mut model).concat();
        let mut table = Table::new();
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(mix(seed ^ rest.len() as u64) as usize % 40 + 1));
            // a piece comes in batches
            let batches: Vec<RecordBatch> = piece.chunks(7).map(changes).collect();
            let net = Upserts::of(&batches, &key(), "test").unwrap();
            let count = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            (replaced, gone) = (replaced + count(&net.replacing), gone + count(&net.gone));
            nothing += usize::from(count(&net.added) + count(&net.replacing) + count(&net.gone) == 0);
            apply(&mut table, &net);
            rest = more;
        }
        assert_eq!(table, model, "seed {seed}");
    }
    assert!(replaced > 500 && gone > 500 && nothing > 0, "the test shows something: {replaced} {gone} {nothing}");
}

#[test]
fn the_order_within_whole_steps_does_not_matter() {
    for seed in 0..60 {
        let mut model = Table::new();
        let steps = steps(seed ^ 0xabc, &mut model);
        let (mut table, mut rest) = (Table::new(), steps.as_slice());
        while !rest.is_empty() {
            let (some, more) = rest.split_at(rest.len().min(mix(seed + rest.len() as u64) as usize % 60 + 1));
            let mut piece = some.concat();
            piece.sort_by_key(|((k, name, v), w)| mix(seed ^ k.unwrap_or(9) as u64 ^ v ^ name.len() as u64 ^ *w as u64));
            apply(&mut table, &Upserts::of(&[changes(&piece)], &key(), "test").unwrap());
            rest = more;
        }
        assert_eq!(table, model, "seed {seed}");
    }
}

#[test]
fn keys_that_do_not_tell_rows_apart() {
    let row = |k, v: f64| ((Some(k), "a".to_owned(), v.to_bits()), 1i8);
    let of = |rows: &[(Row, i8)]| Upserts::of(&[changes(rows)], &key(), "table `t`").map(|net| net.added.len());
    assert_eq!(of(&[]).unwrap(), 0);
    assert_eq!(of(&[row(1, 1.0), row(2, 1.0)]).unwrap(), 1);
    let (place, what) = data_error(of(&[row(1, 1.0), row(2, 1.0), row(1, 2.0)]).unwrap_err());
    assert_eq!(place, "table `t`");
    assert!(what.contains("two rows count that have the key `k` = 1, `name` = a") && what.contains("distinct(k, name)"), "{what}");
    assert!(of(&[row(1, 1.0), row(1, 1.0)]).is_err(), "twice the same row");
    assert!(Upserts::of(&[], &key(), "t").unwrap().gone.is_empty());
}

#[test]
fn which_columns_are_the_key() {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>();
    let key = |named: &[&str], known: &[&str]| UpsertKey::new(&names(named), &names(known), "table `t`");
    let is = |columns: &[&str], proven| UpsertKey { columns: names(columns), proven };
    assert_eq!(key(&[], &["a", "b"]).unwrap(), is(&["a", "b"], true));
    assert_eq!(key(&["b", "a"], &["a", "b"]).unwrap(), is(&["b", "a"], true));
    assert_eq!(key(&["b", "a", "c"], &["a", "b"]).unwrap(), is(&["b", "a", "c"], true));
    assert_eq!(key(&["a"], &["a", "b"]).unwrap(), is(&["a"], false));
    assert_eq!(key(&["a"], &[]).unwrap(), is(&["a"], false));
    let error = usage_error(key(&[], &[]));
    for part in ["table `t`", "key=a,b", "distinct(", "changelog()"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
}
