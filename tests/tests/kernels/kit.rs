//! Kernels against rows: the same rows through a kernel in every physical form, and one by one through a plain function.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use sabot::kernel::{Level, Morsel, Origin, Ran, Request, RunKernel, Selection};
use sabot::record::{Named, from_batch, to_batch};
use sabot::stream::{Code, Graph, Params, pipeline_named};

/// Lengths around multiples of 64.
pub const LENGTHS: [usize; 9] = [0, 1, 63, 64, 65, 127, 128, 129, 1000];
/// Nulls of 1000.
pub const NULLS: [u64; 4] = [0, 125, 500, 1000];

/// xorshift.
pub struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// A value, or none so often of 1000.
    pub fn maybe<T>(&mut self, nulls: u64, value: T) -> Option<T> {
        (self.below(1000) >= nulls).then_some(value)
    }
}

/// The kernel of the only run of a pipeline.
pub fn kernel(pipeline: &str) -> Arc<dyn RunKernel> {
    let graph = Graph::new(pipeline);
    (pipeline_named(pipeline).unwrap().build)(&Params::new(), &graph).unwrap();
    let mut runs: Vec<_> = graph
        .finish()
        .table
        .into_values()
        .filter_map(|code| match code {
            Code::Run(kernel) => Some(kernel),
            _ => None,
        })
        .collect();
    assert_eq!(runs.len(), 1, "{pipeline} is one run");
    runs.remove(0)
}

/// A request for everything.
pub fn request(level: Level, dense: bool) -> Request {
    Request { level, dense, ..Request::all("test/step") }
}

/// A morsel of all rows.
pub fn morsel(batch: &RecordBatch) -> Morsel {
    Morsel::new(batch.clone(), Origin { row: 1000, ..Origin::default() })
}

/// The rows, with what lies in the slots of nulls overwritten by `poison`, which maps a column's name and array.
pub fn poisoned<R: Named>(rows: &[R], poison: &dyn Fn(&str, &ArrayRef) -> ArrayRef) -> RecordBatch {
    let batch = to_batch(rows);
    let schema = batch.schema();
    let columns: Vec<ArrayRef> = schema.fields().iter().zip(batch.columns()).map(|(f, c)| poison(f.name(), c)).collect();
    rebuild(&batch, columns)
}

fn rebuild(batch: &RecordBatch, columns: Vec<ArrayRef>) -> RecordBatch {
    let schema = batch.schema();
    let fields: Vec<Field> =
        schema.fields().iter().zip(&columns).map(|(f, c)| Field::new(f.name(), c.data_type().clone(), f.is_nullable())).collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap()
}

/// The batch with its text columns in another encoding.
pub fn encoded(batch: &RecordBatch, text: &DataType) -> RecordBatch {
    let columns = batch
        .columns()
        .iter()
        .map(|c| match c.data_type() {
            DataType::Utf8View | DataType::Utf8 => arrow_cast::cast(c, text).unwrap(),
            _ => Arc::clone(c),
        })
        .collect();
    rebuild(batch, columns)
}

/// The encodings that text may come in.
pub fn encodings() -> Vec<DataType> {
    let dictionary = |key, value| DataType::Dictionary(Box::new(key), Box::new(value));
    vec![
        DataType::Utf8View,
        DataType::Utf8,
        DataType::LargeUtf8,
        dictionary(DataType::Int32, DataType::Utf8),
        dictionary(DataType::UInt32, DataType::Utf8View),
        dictionary(DataType::Int16, DataType::LargeUtf8),
    ]
}

/// A physical form of rows: the batch, and which of them are alive.
pub struct Form {
    pub what: String,
    pub morsel: Morsel,
    pub alive: Vec<bool>,
}

/// The rows as they are, sliced out of longer batches, in other encodings, and with selections.
pub fn forms(batch: &RecordBatch) -> Vec<Form> {
    let n = batch.num_rows();
    let mut batches = vec![("plain".to_owned(), batch.clone())];
    for pad in [3usize, 64, 77] {
        // the padding is a repetition of the rows themselves, so that slots beside the slice are not blank
        let padding = (0..pad).map(|i| if n == 0 { 0 } else { (i * 7 % n) as u64 });
        if n == 0 {
            continue;
        }
        let take = arrow_array::UInt64Array::from_iter_values(padding.clone().chain(0..n as u64).chain(padding));
        let columns: Vec<ArrayRef> = batch.columns().iter().map(|c| take_rows(c, &take)).collect();
        let padded = RecordBatch::try_new(batch.schema(), columns).unwrap();
        batches.push((format!("sliced at {pad}"), padded.slice(pad, n)));
    }
    for text in encodings() {
        batches.push((format!("text as {text}"), encoded(batch, &text)));
    }
    let mut out = Vec::new();
    let mut rng = Rng(99);
    for (what, batch) in batches {
        let mut selections: Vec<(&str, Option<Vec<bool>>)> = vec![("", None)];
        if what == "plain" || what == "sliced at 77" || what.contains("Dictionary(Int32") {
            selections.push((", half selected", Some((0..n).map(|_| rng.below(2) == 0).collect())));
            selections.push((", few selected", Some((0..n).map(|_| rng.below(40) == 0).collect())));
            selections.push((", none selected", Some(vec![false; n])));
            selections.push((", all selected", Some(vec![true; n])));
        }
        for (name, selected) in selections {
            let mut m = morsel(&batch);
            let alive = selected.clone().unwrap_or_else(|| vec![true; n]);
            if selected.is_some() {
                let words: Vec<u64> = alive.chunks(64).map(|c| c.iter().enumerate().fold(0, |w, (i, b)| w | u64::from(*b) << i)).collect();
                m.selection = Some(Selection::new(words));
            }
            out.push(Form { what: format!("{what}{name}"), morsel: m, alive });
        }
    }
    out
}

fn take_rows(column: &ArrayRef, rows: &arrow_array::UInt64Array) -> ArrayRef {
    let data = column.to_data();
    let mut out = arrow_data::transform::MutableArrayData::new(vec![&data], true, rows.len());
    for row in rows.values() {
        out.try_extend(0, *row as usize, *row as usize + 1).unwrap();
    }
    arrow_array::make_array(out.freeze())
}

/// Runs it.
pub fn run(kernel: &Arc<dyn RunKernel>, morsel: &Morsel, request: &Request) -> Ran {
    kernel.run(morsel, request).unwrap()
}

/// The result as rows.
pub fn rows_of<O: Named>(ran: &Ran) -> Vec<O> {
    from_batch(&ran.morsel.compact().unwrap(), "result").unwrap()
}

/// Every form of the rows, at every level, dense and in place, against `naive`; and every single output column against
/// the whole.
pub fn check<O: Named + Clone, R: Named>(pipeline: &str, rows: &[R], batch: &RecordBatch, naive: impl Fn(&R) -> Option<O>) {
    let kernel = kernel(pipeline);
    let expected: Vec<Option<O>> = rows.iter().map(naive).collect();
    for form in forms(batch) {
        let want: Vec<O> = expected.iter().zip(&form.alive).filter(|(_, a)| **a).filter_map(|(o, _)| o.clone()).collect();
        let want = exact(&to_batch(&want));
        for level in Level::available() {
            for dense in [false, true] {
                let place = format!("{pipeline}, {} rows, {}, {level:?}, dense {dense}", rows.len(), form.what);
                let request = request(level, dense);
                let ran = run(&kernel, &form.morsel, &request);
                assert_eq!(ran.rows_in, form.alive.iter().filter(|a| **a).count(), "{place}: rows in");
                let got = rows_of::<O>(&ran);
                assert_eq!(ran.rows_in - ran.filtered, got.len(), "{place}: rows in = kept + filtered");
                let got = exact(&to_batch(&got));
                assert!(got == want, "{place}: got\n{got:?}\nwant\n{want:?}");
                if rows.len() > 200 && !(dense && form.what.ends_with("half selected")) {
                    continue;
                }
                let whole = ran.morsel.compact().unwrap();
                for (i, field) in whole.schema().fields().iter().enumerate() {
                    let request = Request { outputs: Some(vec![field.name().clone()]), ..request.clone() };
                    let part = run(&kernel, &form.morsel, &request).morsel.compact().unwrap();
                    assert_eq!(part.num_columns(), 1, "{place}: one output");
                    let (a, b) = (plain(part.column(0)), plain(whole.column(i)));
                    assert!(a.to_data() == b.to_data(), "{place}: only `{}`: {a:?} != {b:?}", field.name());
                }
            }
        }
    }
}

fn plain(a: &ArrayRef) -> ArrayRef {
    match a.data_type() {
        DataType::Dictionary(_, _) => arrow_cast::cast(a, &DataType::Utf8View).unwrap(),
        _ => Arc::clone(a),
    }
}

/// Floats by their bits, all else as it is.
fn exact(batch: &RecordBatch) -> Vec<ArrayRef> {
    batch
        .columns()
        .iter()
        .map(|c| match c.data_type() {
            DataType::Float64 => {
                let floats = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Float64Type>(c);
                Arc::new(floats.unary::<_, arrow_array::types::UInt64Type>(f64::to_bits)) as ArrayRef
            }
            _ => Arc::clone(c),
        })
        .collect()
}
