//! What is compared with what.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use sabot::kernel::Ran;

use crate::boxed::{Function, Scalar, rows};
use crate::data::{batch, fail};
use crate::ours::{self, Ours};
use crate::{arrow, hand};

type Contender = Box<dyn Fn() -> ArrayRef>;

/// One row of the table.
pub struct Case {
    /// What it is.
    pub name: &'static str,
    /// Sabot, made comparable.
    pub sabot: Contender,
    /// Sabot as timed.
    pub ran: Box<dyn Fn() -> Ran>,
    /// By hand.
    pub hand: Contender,
    /// Arrow's kernels, where they can.
    pub arrow: Option<Contender>,
    /// A boxed call per row.
    pub boxed: Contender,
}

struct Make {
    name: &'static str,
    pipeline: &'static str,
    batch: RecordBatch,
    outputs: &'static [&'static str],
    args: &'static [&'static str],
    steps: Vec<Function>,
    result: DataType,
}

impl Make {
    fn case(self, hand: fn(&RecordBatch) -> ArrayRef, arrow: Option<fn(&RecordBatch) -> ArrayRef>) -> Case {
        let Make { name, pipeline, batch, outputs, args, steps, result } = self;
        let (ours, timed) = (Ours::new(pipeline, &batch, outputs), Ours::new(pipeline, &batch, outputs));
        let predicate = result == DataType::Boolean;
        let filters = pipeline == "chain";
        let (b1, b2, b3) = (batch.clone(), batch.clone(), batch);
        Case {
            name,
            sabot: Box::new(move || if predicate { mask(&ours.run()) } else { last(&ours.run()) }),
            ran: Box::new(move || timed.run()),
            hand: Box::new(move || hand(&b1)),
            arrow: arrow.map(|f| Box::new(move || f(&b2)) as Contender),
            boxed: Box::new(move || rows(&b3, args, &steps, &result, filters)),
        }
    }
}

fn last(ran: &Ran) -> ArrayRef {
    let dense = ran.morsel.compact().unwrap_or_else(|e| fail(&e.to_string()));
    dense.columns().last().map_or_else(|| fail("no column"), ArrayRef::clone)
}
fn mask(ran: &Ran) -> ArrayRef {
    let rows = ran.morsel.batch.num_rows();
    std::sync::Arc::new(match &ran.morsel.selection {
        Some(s) => s.mask(rows),
        None => BooleanArray::new(BooleanBuffer::new_set(rows), None),
    })
}

/// Whether two columns hold the same values, whatever their encoding.
pub fn same(a: &ArrayRef, b: &ArrayRef) -> bool {
    match (text(a), text(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.to_data() == b.to_data(),
    }
}
fn text(a: &ArrayRef) -> Option<Vec<Option<String>>> {
    let owned = |v: Option<&str>| v.map(str::to_owned);
    match a.data_type() {
        DataType::Utf8 => Some(a.as_string::<i32>().iter().map(owned).collect()),
        DataType::Utf8View => Some(a.as_string_view().iter().map(owned).collect()),
        DataType::Dictionary(_, _) => {
            let d = a.as_any_dictionary();
            let values = text(d.values())?;
            let keys = d.normalized_keys();
            Some(keys.iter().enumerate().map(|(i, k)| values.get(*k).cloned().flatten().filter(|_| a.is_valid(i))).collect())
        }
        _ => None,
    }
}

fn f(call: impl Fn(&[Scalar]) -> Option<Scalar> + 'static) -> Function {
    Box::new(move |row| call(row).unwrap_or(Scalar::Null))
}

/// All cases over batches of so many rows.
pub fn all(n: usize) -> Vec<Case> {
    let plain = batch(n, 0, false);
    let float = DataType::Float64;
    let product = || f(|r| Some(Scalar::Float(ours::notional(r.first()?.float(), r.get(1)?.int()))));
    let keep = || f(|r| Some(Scalar::Bool(ours::keep(r.first()?.float(), r.get(1)?.int()))));
    let make = |name, pipeline, batch: &RecordBatch, args, steps, result: &DataType| Make {
        name,
        pipeline,
        batch: batch.clone(),
        outputs: if pipeline == "dependent" {
            &["n", "x"]
        } else if result == &DataType::Boolean {
            &["p"]
        } else {
            &["x"]
        },
        args,
        steps,
        result: result.clone(),
    };
    let mut out = vec![
        make(
            "3-argument map",
            "map3",
            &plain,
            &["p", "q", "f"],
            vec![f(|r| Some(Scalar::Float(ours::mul3(r.first()?.float(), r.get(1)?.int(), r.get(2)?.float()))))],
            &float,
        )
        .case(hand::map3_hand, Some(arrow::map3)),
        make("predicate", "predicate", &plain, &["p", "q"], vec![keep()], &DataType::Boolean)
            .case(hand::predicate_hand, Some(arrow::predicate)),
        make(
            "predicate, filter, 2 maps",
            "chain",
            &plain,
            &["p", "q"],
            vec![keep(), product(), f(|r| Some(Scalar::Float(ours::fee(r.last()?.float()))))],
            &float,
        )
        .case(hand::chain_hand, Some(arrow::chain)),
    ];
    let drag =
        || f(|r| if r.first()? == &Scalar::Null { None } else { Some(Scalar::Float(ours::drag(r.first()?.int(), r.get(1)?.int()))) });
    let drag_if = || {
        f(|r| match (r.first()?, r.get(1)?.int()) {
            (_, m) if m <= 500 => Some(Scalar::Float(0.0)),
            (Scalar::Int(d), m) => Some(Scalar::Float(ours::drag(*d, m))),
            _ => None,
        })
    };
    let idiv = || f(|r| if r.first()? == &Scalar::Null { None } else { Some(Scalar::Int(ours::idiv(r.first()?.int(), r.get(1)?.int()))) });
    for (nulls, a, b, c) in [
        (0, "`?`, no nulls", "`?` under `if`, no nulls", "`?` into i64 division, no nulls"),
        (125, "`?`, 12.5% nulls", "`?` under `if`, 12.5% nulls", "`?` into i64 division, 12.5% nulls"),
        (500, "`?`, 50% nulls", "`?` under `if`, 50% nulls", "`?` into i64 division, 50% nulls"),
    ] {
        let holey = batch(n, nulls, false);
        out.push(make(a, "question", &holey, &["d", "m"], vec![drag()], &float).case(hand::question_hand, Some(arrow::question)));
        out.push(make(b, "question_if", &holey, &["d", "m"], vec![drag_if()], &float).case(hand::question_if_hand, None));
        out.push(
            make(c, "trap_question", &holey, &["d", "m"], vec![idiv()], &DataType::Int64)
                .case(hand::trap_question_hand, Some(arrow::trap_question)),
        );
    }
    let words = batch(n, 0, true);
    let text = DataType::Utf8View;
    let upper = || f(|r| Some(Scalar::Text(ours::upper(r.first()?.text()))));
    out.extend([
        make("trapping i64 division", "trap", &plain, &["q", "m"], vec![idiv()], &DataType::Int64).case(hand::trap_hand, Some(arrow::trap)),
        make(
            "`Result`",
            "result",
            &plain,
            &["p", "q"],
            vec![f(|r| Some(Scalar::Float(ours::checked(r.first()?.float(), r.get(1)?.int()).ok()?)))],
            &float,
        )
        .case(hand::result_hand, Some(arrow::result)),
        make(
            "string predicate",
            "text_predicate",
            &plain,
            &["s"],
            vec![f(|r| Some(Scalar::Bool(ours::is_get(r.first()?.text()))))],
            &DataType::Boolean,
        )
        .case(hand::text_predicate_hand, Some(arrow::text_predicate)),
        make("`&str` result", "borrowed", &plain, &["s"], vec![f(|r| Some(Scalar::Text(ours::path(r.first()?.text()).to_owned())))], &text)
            .case(hand::borrowed_hand, None),
        make("`String` result", "owned", &plain, &["s"], vec![upper()], &text).case(hand::owned_hand, None),
        make("`String` result, dictionary", "owned", &words, &["s"], vec![upper()], &text).case(hand::dictionary_hand, None),
        make(
            "two dependent `with`s",
            "dependent",
            &plain,
            &["p", "q", "f"],
            vec![product(), f(|r| Some(Scalar::Float(ours::tax(r.get(3)?.float(), r.get(2)?.float()))))],
            &float,
        )
        .case(hand::dependent_hand, Some(arrow::dependent)),
    ]);
    out
}
