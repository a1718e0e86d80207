use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{Out, Rng, cut, encode, lines, show};
use crate::operator::*;
use crate::plan::JoinKind;

fn side(rng: &mut Rng, rows: usize, spread: u64) -> RecordBatch {
    let mut opt = |n: u64| (rng.below(9) > 0).then(|| rng.below(n));
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Int64, true),
        Field::new("v", DataType::Int32, false),
        Field::new("s", DataType::Utf8, true),
    ]));
    let text = |v: u64| if v.is_multiple_of(2) { format!("a rather long key {v}") } else { format!("k{v}") };
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringArray::from((0..rows).map(|_| opt(spread).map(text)).collect::<Vec<_>>())),
            Arc::new(Int64Array::from((0..rows).map(|_| opt(3).map(|v| v as i64)).collect::<Vec<_>>())),
            Arc::new(Int32Array::from((0..rows as i32).collect::<Vec<_>>())),
            Arc::new(StringArray::from((0..rows).map(|_| opt(9).map(text)).collect::<Vec<_>>())),
        ],
    )
    .unwrap()
}

fn model(on: &[&str], left_join: bool, left: &RecordBatch, right: &RecordBatch, keep: &dyn Fn(usize) -> bool) -> Vec<String> {
    let key = |b: &RecordBatch, r: usize| on.iter().map(|c| show(b.column_by_name(c).unwrap(), r)).collect::<Vec<_>>();
    let rights: Vec<_> = (0..right.num_rows())
        .filter(|r| keep(*r))
        .map(|r| (key(right, r), format!("{}|{}", show(right.column(3), r), show(right.column(2), r))))
        .collect();
    let mut out = Vec::new();
    for l in (0..left.num_rows()).filter(|r| keep(*r)) {
        let k = key(left, l);
        let mut any = false;
        let head = format!("{}|{}", show(left.column(2), l), show(left.column(0), l));
        for (key, right) in &rights {
            if !k.contains(&"null".to_owned()) && *key == k {
                any = true;
                out.push(format!("{head}|{right}{}", if left_join { "|true" } else { "" }));
            }
        }
        if left_join && !any {
            out.push(format!("{}|{}|null|null|false", show(left.column(2), l), show(left.column(0), l)));
        }
    }
    out
}

fn op(spec: &Arc<JoinSpec>, left: &RecordBatch, right: &RecordBatch) -> Box<dyn Operator> {
    HashJoin::factory(Arc::clone(spec), &left.schema(), &right.schema()).unwrap().create(Instance { index: 0, of: 1 }).unwrap()
}

#[test]
fn equals_nested_loops() {
    let mut rng = Rng(77);
    let dict = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for (l, r, spread) in [(400, 200, 40), (70, 150, 2), (100, 0, 5), (0, 50, 5), (64, 1, 1)] {
        let (left, right) = (side(&mut rng, l, spread), side(&mut rng, r, spread));
        for on in [vec!["a"], vec!["b"], vec!["a", "b"]] {
            for kind in [JoinKind::Inner, JoinKind::Left] {
                let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
                let spec = Arc::new(JoinSpec {
                    name: "p/j".into(),
                    kind,
                    left_on: names(&on),
                    right_on: names(&on),
                    left: names(&["v", "a"]),
                    right: names(&["s", "v"]),
                });
                for (size, all, restart) in [(1, true, false), (7, false, false), (64, true, true), (1000, false, true)] {
                    let keep = move |r: usize| all || r % 3 != 1;
                    let filter: Option<&dyn Fn(usize) -> bool> = if all { None } else { Some(&keep) };
                    let expected = model(&on, kind == JoinKind::Left, &left, &right, &keep);
                    let encoded = [
                        (left.clone(), right.clone()),
                        (encode(&left, &DataType::Utf8View), encode(&right, &dict)),
                        (encode(&left, &dict), encode(&right, &DataType::LargeUtf8)),
                    ];
                    let (left, right) = &encoded[size % 3];
                    let (mut join, mut out) = (op(&spec, left, right), Out { tight: size == 1000, ..Out::default() });
                    assert!(!join.ready(0) && join.ready(1));
                    cut(right, 0, size, filter).into_iter().for_each(|m| out.feed(join.as_mut(), 1, m));
                    if restart {
                        let states = join.snapshot(0).unwrap().write().unwrap();
                        join = op(&spec, left, right);
                        states.iter().for_each(|s| join.restore(s).unwrap());
                    }
                    out.finish(join.as_mut(), 1);
                    assert!(join.ready(0));
                    cut(left, 0, size, filter).into_iter().for_each(|m| out.feed(join.as_mut(), 0, m));
                    out.finish(join.as_mut(), 0);
                    let got = lines(&out.rows(&spec.output_schema(&left.schema(), &right.schema()).unwrap()));
                    if restart {
                        // matches of a row come in key-group order after a restart: compare as sets
                        let (mut a, mut b) = (got, expected);
                        a.sort();
                        b.sort();
                        assert_eq!(a, b);
                    } else {
                        assert_eq!(got, expected, "{on:?} {kind:?} {size}");
                    }
                    assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
                }
            }
        }
    }
}

#[test]
fn fan_out_is_cut_where_the_output_is_full() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
    let batch = |n: usize| RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1; n]))]).unwrap();
    let k = vec!["k".to_owned()];
    let spec =
        Arc::new(JoinSpec { name: "j".into(), kind: JoinKind::Inner, left_on: k.clone(), right_on: k.clone(), left: k.clone(), right: k });
    let mut join = op(&spec, &batch(1), &batch(1));
    let mut out = Out { tight: true, ..Out::default() };
    out.feed(join.as_mut(), 1, cut(&batch(20_000), 0, 20_000, None).remove(0));
    out.finish(join.as_mut(), 1);
    assert_eq!(join.process(0, cut(&batch(3), 0, 3, None).remove(0), &mut out).unwrap(), Progress::More);
    assert_eq!(out.morsels.len(), 1, "one batch at a time while the output is full");
    while join.resume(&mut out).unwrap() == Progress::More {}
    assert_eq!(out.account.rows_out, 60_000);
    let k = |t: DataType| Arc::new(Schema::new(vec![Field::new("k", t, false)]));
    assert!(HashJoin::factory(spec, &k(DataType::Int64), &k(DataType::Int32)).is_err());
}
