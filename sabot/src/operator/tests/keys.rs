use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{DataType, Field, FieldRef};

use super::{Rng, show};
use crate::operator::keys::{NO_GROUP, by_key_group};
use crate::operator::{Kept, Keys};

fn columns(rng: &mut Rng, rows: usize, spread: u64) -> Vec<ArrayRef> {
    let mut maybe = |n: u64| if rng.below(10) == 0 { None } else { Some(rng.below(n)) };
    let text = |v: u64| if v.is_multiple_of(3) { format!("a longer text that is not inline {v}") } else { format!("t{v}") };
    let ints: Vec<Option<i64>> = (0..rows).map(|_| maybe(spread).map(|v| v as i64 - 5)).collect();
    let texts: Vec<Option<String>> = (0..rows).map(|_| maybe(spread).map(text)).collect();
    let utf8: ArrayRef = Arc::new(StringArray::from(texts));
    let dict = arrow_cast::cast(&utf8, &DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8))).unwrap();
    vec![
        Arc::new(Int64Array::from(ints)),
        Arc::new(Int32Array::from((0..rows).map(|_| maybe(spread).map(|v| -(v as i32))).collect::<Vec<_>>())),
        Arc::new(Int8Array::from((0..rows).map(|_| maybe(200).map(|v| v as i8)).collect::<Vec<_>>())),
        Arc::new(BooleanArray::from((0..rows).map(|_| maybe(2).map(|v| v == 1)).collect::<Vec<_>>())),
        Arc::new(Decimal128Array::from((0..rows).map(|_| maybe(spread).map(|v| (v as i128) << 70)).collect::<Vec<_>>())),
        arrow_cast::cast(&utf8, &DataType::Utf8View).unwrap(),
        dict,
        arrow_cast::cast(&utf8, &DataType::LargeBinary).unwrap(),
        Arc::new(TimestampNanosecondArray::from((0..rows).map(|_| maybe(spread).map(|v| v as i64 * 1000)).collect::<Vec<_>>())),
        Arc::new(Date32Array::from((0..rows).map(|_| maybe(spread).map(|v| v as i32)).collect::<Vec<_>>())),
    ]
}

#[test]
fn groups_as_a_hash_map_does() {
    let mut rng = Rng(7);
    for round in 0..60 {
        let spread = [3, 40, 5000][round % 3];
        let rows = 700;
        let all = columns(&mut rng, rows, spread);
        let picked: Vec<usize> = (0..1 + rng.below(3) as usize).map(|_| rng.below(all.len() as u64) as usize).collect();
        let picked = if round < 10 { vec![round] } else { picked };
        let arrays: Vec<ArrayRef> = picked.iter().map(|i| Arc::clone(&all[*i])).collect();
        let fields: Vec<FieldRef> = arrays.iter().map(|a| Arc::new(Field::new("k", a.data_type().clone(), true))).collect();
        let mut keys = Keys::new(&fields).unwrap();
        let mut model: HashMap<Vec<String>, u32> = HashMap::new();
        let (mut groups, mut order) = (Vec::new(), Vec::new());
        for (from, to) in [(0, 300), (300, 301), (301, 301), (301, 700)] {
            let list: Vec<u32> = (from..to).filter(|i| i % 3 != 0).collect();
            let kept = if round % 2 == 0 { Kept::Range(from as usize, to as usize) } else { Kept::Some(&list) };
            keys.insert(&arrays, kept, &mut groups).unwrap();
            kept.each(|i, row| {
                let key: Vec<String> = arrays.iter().map(|a| show(a, row)).collect();
                let next = model.len() as u32;
                let expected = *model.entry(key.clone()).or_insert_with(|| {
                    order.push(key);
                    next
                });
                assert_eq!(groups[i], expected, "{picked:?} row {row}");
            });
            assert_eq!(groups.len(), kept.len());
        }
        assert_eq!(keys.len(), model.len());
        // back as arrays
        let out = keys.columns(&(0..keys.len() as u32).collect::<Vec<_>>()).unwrap();
        for (i, key) in order.iter().enumerate() {
            assert_eq!(&out.iter().map(|a| show(a, i)).collect::<Vec<_>>(), key);
        }
        for (a, b) in out.iter().zip(&arrays) {
            assert_eq!(a.data_type(), b.data_type());
        }
        // find knows the same keys, but nothing with a null, and adds none
        let other = columns(&mut rng, 200, spread * 2);
        let probe: Vec<ArrayRef> = picked.iter().map(|i| Arc::clone(&other[*i])).collect();
        keys.find(&probe, Kept::Range(0, 200), &mut groups).unwrap();
        for (row, group) in groups.iter().enumerate().take(200) {
            let key: Vec<String> = probe.iter().map(|a| show(a, row)).collect();
            let null = key.iter().any(|k| k == "null");
            let expected = model.get(&key).copied().filter(|_| !null).unwrap_or(NO_GROUP);
            assert_eq!(*group, expected, "{key:?}");
        }
        // where nulls are equal, those too
        keys.find_same(&probe, Kept::Range(0, 200), &mut groups).unwrap();
        for (row, group) in groups.iter().enumerate().take(200) {
            let key: Vec<String> = probe.iter().map(|a| show(a, row)).collect();
            assert_eq!(*group, model.get(&key).copied().unwrap_or(NO_GROUP), "{key:?}");
        }
        assert_eq!(keys.len(), model.len());
        keys.clear();
        keys.insert(&arrays, Kept::Range(0, 1), &mut groups).unwrap();
        assert_eq!((keys.len(), groups[0]), (1, 0));
    }
}

#[test]
fn text_groups_whatever_its_encoding() {
    let utf8: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a text of more than twelve bytes"), Some("b"), Some("")]));
    let types = [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8View)),
        DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::LargeUtf8)),
    ];
    for declared in &types {
        let mut keys = Keys::new(&[Arc::new(Field::new("k", declared.clone(), true))]).unwrap();
        let mut groups = Vec::new();
        for t in &types {
            let array = arrow_cast::cast(&utf8, t).unwrap();
            keys.insert(&[array], Kept::Range(0, 5), &mut groups).unwrap();
            assert_eq!(groups, [0, 1, 2, 3, 4], "{t}");
        }
        assert_eq!(keys.columns(&[4, 2, 1]).unwrap()[0].data_type(), declared);
    }
}

#[test]
fn key_groups_in_order() {
    let (order, ranges) = by_key_group(&[5, 127, 0, 5, 0]);
    assert_eq!(order, [2, 4, 0, 3, 1]);
    assert_eq!(ranges, [(0, 0..2), (5, 2..4), (127, 4..5)]);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    assert!(Keys::new(&[Arc::new(Field::new("l", list, false))]).is_err());
}

#[test]
fn floats_group_by_value() {
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 5);
    let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(other_nan), None, Some(1.5)]));
    for t in [DataType::Float64, DataType::Float32, DataType::Float16] {
        let array = arrow_cast::cast(&values, &t).unwrap();
        let mut keys = Keys::new(&[Arc::new(Field::new("f", t.clone(), true))]).unwrap();
        let mut groups = Vec::new();
        keys.insert(&[Arc::clone(&array)], Kept::Range(0, 6), &mut groups).unwrap();
        assert_eq!(groups, [0, 0, 1, 1, 2, 3], "{t}");
        let hashes = crate::operator::keys::key_groups(&[array], 6).unwrap();
        assert_eq!((hashes[0], hashes[2]), (hashes[1], hashes[3]));
        assert_eq!(keys.columns(&[0, 3]).unwrap()[0].data_type(), &t);
    }
}
