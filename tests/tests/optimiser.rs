//! Random small graphs, made with the builder: the optimised plan gives the rows of the plan as written, in their order
//! where one is promised, and as a naive interpreter gives them.
#![forbid(unsafe_code)]
#![allow(unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "optimiser/small.rs"]
mod small;

use proptest::prelude::*;
use sabot::__private::{All, ExprMeta, StepMeta};
use sabot::prelude::*;
use sabot::stream::{Graph, Job, Stream, Unkeyed, asc, desc, named};
use sabot::testing::{Trial, same_rows, splits};

/// What all steps carry.
#[derive(Record, Clone, Debug, PartialEq)]
struct Wide {
    a: i64,
    b: Option<i64>,
    c: Str,
    d: i64,
}

/// What the sinks keep.
#[derive(Record, Clone, Debug, PartialEq)]
struct Narrow {
    a: i64,
    c: Str,
}

type Wides<'g> = Stream<'g, Wide, Unkeyed, Bounded>;

/// What the macro would have seen of one expression.
const fn expr(name: &'static str, reads: &'static [&'static str], pass: Option<&'static str>) -> ExprMeta {
    ExprMeta { name, text: "", reads: Some(reads), strict: &[], pass, calls: &[], plain: false, hoist: false, simple: None }
}
const fn step(step: &'static str, exprs: &'static [ExprMeta]) -> StepMeta {
    StepMeta { step, stream: "s", file: "", line: 0, exprs }
}

/// One step of a graph.
#[derive(Clone, Debug)]
enum Step {
    AboveB(i64),
    ShortC,
    EvenD,
    /// Two predicates and a select as one run.
    Fused(i64),
    Swap,
    Sort,
    SortDown,
    Limit(u64),
    /// With the rows of a second use of the stream so far, which is why it has two consumers.
    Fork,
    /// With the rows of another source.
    Other,
    /// Rows with a partner in another source, under a condition, or without.
    Semi,
    Anti,
    /// With some partners of another source.
    Partners,
    /// A step that the macro makes: a pipeline within the graph.
    Small(Small),
    /// A part of the rows, which no model knows.
    Sample,
}

/// Pipelines of one step each.
#[derive(Clone, Copy, Debug)]
enum Small {
    Right,
    Full,
    AsOf,
    Distinct,
    Top,
    TopOfKey,
    Over,
    Share,
    Intersect,
    Except,
    Reduce,
    Hop,
    Session,
    Skip,
    Null,
    Letters,
    Judged,
}
const SMALL: [Small; 17] = {
    use Small::*;
    [Right, Full, AsOf, Distinct, Top, TopOfKey, Over, Share, Intersect, Except, Reduce, Hop, Session, Skip, Null, Letters, Judged]
};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        (-5..5i64).prop_map(Step::AboveB),
        Just(Step::ShortC),
        Just(Step::EvenD),
        (-5..5i64).prop_map(Step::Fused),
        Just(Step::Swap),
        Just(Step::Sort),
        Just(Step::SortDown),
        (0..60u64).prop_map(Step::Limit),
        Just(Step::Fork),
        Just(Step::Other),
        Just(Step::Semi),
        Just(Step::Anti),
        Just(Step::Partners),
        Just(Step::Sample),
    ];
    let one = prop_oneof![one, prop::sample::select(SMALL.to_vec()).prop_map(Step::Small)];
    prop::collection::vec(one, 0..6)
}

const B: StepMeta = step("filter", &[expr("", &["b"], None)]);
const C: StepMeta = step("filter", &[expr("", &["c"], None)]);
const D: StepMeta = step("filter", &[expr("", &["d"], None)]);
const SWAP: StepMeta =
    step("select", &[expr("a", &["d"], None), expr("b", &["b"], None), expr("c", &["c"], None), expr("d", &["a"], None)]);
const LAST: StepMeta = step("select", &[expr("a", &["a"], None), expr("c", &["c"], None)]);

const PAIR: StepMeta = step(
    "left_join",
    &[
        expr("a", &["left.a"], Some("left.a")),
        expr("b", &["right.a", "__has_right"], None),
        expr("c", &["left.c"], Some("left.c")),
        expr("d", &["left.d"], Some("left.d")),
    ],
);
const BY_C: StepMeta = step("on", &[expr("", &["left.c", "right.c"], None)]);
const BY_B: StepMeta = step("on", &[expr("", &["left.d", "right.a", "right.b"], None)]);

fn build<'g>(graph: &'g Graph, steps: &[Step]) -> Wides<'g> {
    let mut s: Wides<'g> = graph.parameter::<Wide, Bounded>("rows");
    let other: Wides<'g> = graph.parameter::<Wide, Bounded>("other");
    graph.stream("s");
    for step in steps {
        s = match step.clone() {
            Step::AboveB(n) => {
                let (s, part) = s.filter(move |r| r.b.is_some_and(|b| b > n)).part(&B);
                s.seal(part)
            }
            Step::ShortC => {
                let (s, part) = s.filter(|r| r.c.len() < 5).part(&C);
                s.seal(part)
            }
            Step::EvenD => {
                let (s, part) = s.filter(|r| r.d % 2 == 0).part(&D);
                s.seal(part)
            }
            Step::Fused(n) => {
                let (s, one) = s.filter(move |r| r.b.is_none_or(|b| b != n)).part(&B);
                let (s, two) = s.select::<All<Wide>, _>(|r, _| named::<Wide>(WideRow { a: r.d, b: r.b, c: r.c, d: r.a })).part(&SWAP);
                let (s, three) = s.filter(|r| r.d % 2 == 0).part(&D);
                s.seal(one.then(two).then(three)).assume()
            }
            Step::Swap => {
                let (s, part) = s.select::<All<Wide>, _>(|r, _| named::<Wide>(WideRow { a: r.d, b: r.b, c: r.c, d: r.a })).part(&SWAP);
                s.seal(part).assume()
            }
            Step::Sort => s.sort(|c| [asc(c.a), desc(c.b)]),
            Step::SortDown => s.sort(|c| [desc(c.d)]),
            Step::Limit(n) => s.limit(n),
            Step::Fork => {
                let (left, part) = s.filter(|r| r.d % 2 == 0).part(&D);
                left.seal(part).union(s)
            }
            Step::Other => s.union(other),
            Step::Small(small) => small.build(s, other),
            Step::Sample => s.sample(0.5, 7),
            Step::Semi => {
                let s = s.key_by(|c| c.a);
                s.semi_join(other.key_by(|c| c.d).on_with(s, Some(&BY_C), |l, r| l.c.len() >= r.c.len())).assume()
            }
            Step::Anti => s.key_by(|c| c.b).anti_join(other.filter(|o| o.a > 3).stream().key_by(|c| c.b)).assume(),
            Step::Partners => {
                let s = s.key_by(|c| c.a);
                let pairs = s.left_join(other.key_by(|c| c.d).on_with(s, Some(&BY_B), |l, r| l.d > r.a && r.b.is_none()));
                let row = pairs.select::<All<Wide>, _>(|p, _| {
                    let (l, r) = (p.left(), p.right());
                    named::<Wide>(WideRow { a: l.a, b: r.map(|r| r.a), c: l.c, d: l.d })
                });
                let (s, part) = row.part(&PAIR);
                s.seal(part).assume()
            }
        };
    }
    s
}

/// The rows, and whether their order is known; nothing if which rows these are is not known.
fn model(rows: &[Wide], other: &[Wide], steps: &[Step]) -> Option<(Vec<Wide>, bool)> {
    let (mut rows, mut ordered) = (rows.to_vec(), true);
    let swap = |r: Wide| Wide { a: r.d, b: r.b, c: r.c, d: r.a };
    for step in steps {
        match step {
            Step::AboveB(n) => rows.retain(|r| r.b.is_some_and(|b| b > *n)),
            Step::ShortC => rows.retain(|r| r.c.len() < 5),
            Step::EvenD => rows.retain(|r| r.d % 2 == 0),
            Step::Fused(n) => {
                rows.retain(|r| r.b.is_none_or(|b| b != *n));
                rows = rows.into_iter().map(swap).filter(|r| r.d % 2 == 0).collect();
            }
            Step::Swap => rows = rows.into_iter().map(swap).collect(),
            // ties are in an order that is only known if the input's is
            Step::Sort => rows.sort_by_key(|r| (r.a, r.b.is_none(), r.b.map(|b| -b))),
            Step::SortDown => rows.sort_by_key(|r| -r.d),
            // which rows are first is only known in a known order
            Step::Limit(n) if ordered || rows.len() <= *n as usize => rows.truncate(*n as usize),
            Step::Limit(_) | Step::Sample => return None,
            Step::Small(small) => (rows, ordered) = small.model(rows, other, ordered),
            Step::Fork => {
                let mut left: Vec<Wide> = rows.iter().filter(|r| r.d % 2 == 0).cloned().collect();
                left.append(&mut rows);
                (rows, ordered) = (left, false);
            }
            Step::Other => {
                rows.extend(other.iter().cloned());
                ordered = false;
            }
            Step::Semi => {
                rows.retain(|l| other.iter().any(|r| l.a == r.d && l.c.len() >= r.c.len()));
                ordered = false;
            }
            Step::Anti => {
                rows.retain(|l| !other.iter().any(|r| r.a > 3 && l.b.is_some() && l.b == r.b));
                ordered = false;
            }
            Step::Partners => {
                let mut out = Vec::new();
                for l in rows {
                    let partners: Vec<&Wide> = other.iter().filter(|r| l.a == r.d && l.d > r.a && r.b.is_none()).collect();
                    out.extend(partners.iter().map(|r| Wide { b: Some(r.a), ..l.clone() }));
                    if partners.is_empty() {
                        out.push(Wide { b: None, ..l });
                    }
                }
                (rows, ordered) = (out, false);
            }
        }
    }
    Some((rows, ordered))
}

/// Whether the rows before the last `sample` are in a known order.
fn sampled_in_order(rows: &[Wide], other: &[Wide], steps: &[Step]) -> bool {
    let last = steps.iter().rposition(|s| matches!(s, Step::Sample)).unwrap_or(0);
    let before: Vec<Step> = steps.iter().take(last).filter(|s| !matches!(s, Step::Sample)).cloned().collect();
    model(rows, other, &before).is_some_and(|(_, ordered)| ordered)
}

fn rows() -> impl Strategy<Value = Vec<Wide>> {
    let text = prop_oneof![Just("x"), Just(""), Just("longer than twelve bytes")];
    let row = (-9..9i64, prop::option::of(-9..9i64), text, -9..9i64).prop_map(|(a, b, c, d)| Wide { a, b, c: c.into(), d });
    prop::collection::vec(row, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn optimised_is_as_written(rows in rows(), other in rows(), steps in steps(), cut in 1..30usize, threads in 1..5usize, seed in any::<u64>()) {
        let job = |optimise: bool| {
            let graph = Graph::new("random");
            let s = build(&graph, &steps);
            // both ends at once: what one does not read, the other may
            s.open_sink("wide");
            let (s, part) = s.select::<All<Narrow>, _>(|r, _| named::<Narrow>(NarrowRow { a: r.a, c: r.c })).part(&LAST);
            s.seal(part).open_sink("narrow");
            Job::of(graph).source::<Wide, Bounded>("rows", splits(&rows, cut)).source::<Wide, Bounded>("other", splits(&other, cut + 3)).optimise(optimise)
        };
        let narrow_only = |optimise: bool| {
            let graph = Graph::new("random");
            let s = build(&graph, &steps);
            let (s, part) = s.select::<All<Narrow>, _>(|r, _| named::<Narrow>(NarrowRow { a: r.a, c: r.c })).part(&LAST);
            s.seal(part).open_sink("narrow");
            Job::of(graph).source::<Wide, Bounded>("rows", splits(&rows, cut)).source::<Wide, Bounded>("other", splits(&other, cut + 3)).optimise(optimise)
        };
        let (expected, ordered) = match model(&rows, &other, &steps) {
            Some(known) => known,
            // the same part of the rows everywhere, if they come in a known order
            None if !steps.iter().any(|s| matches!(s, Step::Limit(_))) && sampled_in_order(&rows, &other, &steps) => {
                (Trial::new().run(job(false)).unwrap().rows::<Wide>("wide").unwrap(), false)
            }
            None => return Ok(()),
        };
        let narrow: Vec<Narrow> = expected.iter().map(|r| Narrow { a: r.a, c: r.c.clone() }).collect();
        for optimise in [false, true] {
            let plan = job(optimise).explain().unwrap();
            let ran = Trial::new().threads(threads).morsel_rows(7).seed(seed).run(job(optimise)).unwrap_or_else(|e| panic!("{e}\n{plan}"));
            same_rows(&ran.rows::<Wide>("wide").unwrap(), &expected, 0.0).unwrap_or_else(|e| panic!("optimise {optimise}: {e}\n{plan}"));
            same_rows(&ran.rows::<Narrow>("narrow").unwrap(), &narrow, 0.0).unwrap_or_else(|e| panic!("optimise {optimise}: {e}\n{plan}"));
            let plan = narrow_only(optimise).explain().unwrap();
            let ran = Trial::new().threads(threads).run(narrow_only(optimise)).unwrap_or_else(|e| panic!("{e}\n{plan}"));
            let found = ran.rows::<Narrow>("narrow").unwrap();
            same_rows(&found, &narrow, 0.0).unwrap_or_else(|e| panic!("optimise {optimise}: {e}\n{plan}"));
            if ordered {
                prop_assert_eq!(found, narrow.clone(), "order; optimise {}", optimise);
            }
        }
    }
}
