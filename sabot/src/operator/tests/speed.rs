//! Nanoseconds per row of the first phase: `cargo test --release -p sabot --lib speed -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{Out, Rng, function};
use crate::kernel::{Morsel, Origin};
use crate::operator::aggregate::*;
use crate::operator::*;

const ROWS: usize = 1 << 22;
const MORSEL: usize = 1 << 14;

fn time(what: &str, key: &ArrayRef, groups: usize) {
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values((0..ROWS).map(|i| i as f64)));
    let schema: SchemaRef =
        Arc::new(Schema::new(vec![Field::new("k", key.data_type().clone(), false), Field::new("v", DataType::Float64, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(key), values]).unwrap();
    let spec = Arc::new(AggregateSpec {
        name: "a".into(),
        keys: vec!["k".into()],
        window: None,
        functions: vec![function("n", &[], count()), function("s", &["v"], sum::<f64>())],
    });
    for max_groups in [1 << 18, usize::MAX] {
        let factory = PartialAggregate::factory_with(Arc::clone(&spec), &schema, max_groups).unwrap();
        let mut best = [f64::MAX; 3];
        for _ in 0..3 {
            let mut op = factory.create(Instance { index: 0, of: 1 }).unwrap();
            let mut out = Out::default();
            let start = Instant::now();
            for at in (0..ROWS).step_by(MORSEL) {
                out.feed(op.as_mut(), 0, Morsel::new(batch.slice(at, MORSEL), Origin { row: at as u64, ..Origin::default() }));
            }
            let fed = start.elapsed();
            op.split_end(0, Origin::default(), &mut out).unwrap();
            let partial = start.elapsed();
            let mut last = FinalAggregate::factory(Arc::clone(&spec), &schema, 1).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
            let mut end = Out::default();
            std::mem::take(&mut out.morsels).into_iter().for_each(|m| end.feed(last.as_mut(), 0, m));
            end.finish(last.as_mut(), 0);
            let all = start.elapsed();
            assert_eq!(end.account.rows_out as usize, groups);
            for (b, t) in best.iter_mut().zip([fed, partial, all]) {
                *b = b.min(t.as_nanos() as f64 / ROWS as f64);
            }
        }
        println!(
            "{what:28} max_groups {max_groups:>20}: rows {:6.2}  + partial out {:6.2}  + final {:6.2} ns/row",
            best[0], best[1], best[2]
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut rng = Rng(99);
    let int = |rng: &mut Rng, n: u64| -> ArrayRef {
        let mut v: Vec<i64> = (0..n as i64).map(|i| i * 1_000_003).collect();
        v.extend((n as usize..ROWS).map(|_| rng.below(n) as i64 * 1_000_003));
        for i in (1..v.len()).rev() {
            v.swap(i, rng.below(i as u64 + 1) as usize);
        }
        Arc::new(Int64Array::from(v))
    };
    let few = int(&mut rng, 1000);
    let many = int(&mut rng, 1 << 20);
    time("i64, 1000 groups", &few, 1000);
    time("i64, 1M groups", &many, 1 << 20);
    let text = arrow_cast::cast(&few, &DataType::Utf8).unwrap();
    time("utf8 <= 12 bytes, 1000", &text, 1000);
    time("utf8view <= 12 bytes, 1000", &arrow_cast::cast(&text, &DataType::Utf8View).unwrap(), 1000);
    time(
        "dictionary, 1000",
        &arrow_cast::cast(&text, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))).unwrap(),
        1000,
    );
}
