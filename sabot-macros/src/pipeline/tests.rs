//! Tokens in, model out; slips recognised; the expansion of whatever prefix of a block.

use proc_macro2::{TokenStream, TokenTree};

use super::check::{check, used};
use super::meta::{Facts, RowParam, mentions, pass, text};
use super::model::{Head, Pipeline};
use super::recover::{key_columns, may_be_function, not_an_aggregate, other_step, row_for};
use super::tokens::{list, row, split};
use super::{expand, parse};

const BLOCK: &str = "
    /// Average drag.
    pub(crate) fn daily(flights: Source<Flight, Bounded>, miles: Vec<(i64, i64)>, other: sabot::Source<Flight>);
    long = flights -> filter(|f| f.distance >= miles && f.x | f.y > 0) -> with(|f| row { drag: drag(f.delay?, f.distance) });
    long -> key_by(carrier) -> join(other -> key_by(carrier), |l, r| row { a: l.a, b: r.b }) -> sink;
";

fn tokens(text: &str) -> Vec<TokenTree> {
    list(&text.parse().unwrap())
}
fn block(text: &str) -> Pipeline {
    parse::parse(text.parse().unwrap())
}
fn header(statements: &str) -> Pipeline {
    block(&format!("fn p(trades: Source<Trade>, limit: i64); {statements}"))
}
/// The messages of an expansion: the arguments of its `compile_error!`s.
fn messages(tokens: TokenStream) -> Vec<String> {
    let mut out = Vec::new();
    let tokens = list(&tokens);
    for (i, t) in tokens.iter().enumerate() {
        if let TokenTree::Group(g) = t {
            let called = i >= 2 && matches!(&tokens[i - 2], TokenTree::Ident(w) if w == "compile_error");
            if let (true, Some(TokenTree::Literal(l))) = (called, g.stream().into_iter().next()) {
                out.push(syn::parse_str::<syn::LitStr>(&l.to_string()).unwrap().value());
            }
            out.extend(messages(g.stream()));
        }
    }
    out
}
fn said(statements: &str) -> Vec<String> {
    messages(expand::expand(&header(statements)))
}

#[test]
fn a_block_as_a_model() {
    let p = block(BLOCK);
    assert_eq!(p.name.as_ref().unwrap(), "daily");
    assert_eq!(p.vis.to_string(), "pub (crate)");
    let sources: Vec<_> =
        p.params.iter().map(|p| (p.name.to_string(), p.source.as_ref().map(|(r, b)| (r.to_string(), b.is_some())))).collect();
    let flight = |bound| Some(("Flight".to_owned(), bound));
    assert_eq!(sources, [("flights".into(), flight(true)), ("miles".into(), None), ("other".into(), flight(false))]);
    let steps: Vec<Vec<String>> =
        p.stmts.iter().map(|s| s.chain.steps.iter().filter_map(|s| s.name.as_ref().map(ToString::to_string)).collect()).collect();
    assert_eq!(steps, [vec!["filter", "with"], vec!["key_by", "join", "sink"]]);
    assert!(matches!(&p.stmts[1].chain.head, Head::Stream(n) if n == "long"));
    let used = used(&p);
    assert_eq!((used["flights"], used["long"], used["other"]), (1, 1, 1));
    let (errors, cycles) = check(&p, &used);
    assert!(errors.is_empty() && cycles.is_empty());
    assert_eq!(messages(expand::expand(&p)), [""; 0]);
}

#[test]
fn every_prefix_of_a_block_expands() {
    fn prefixes(tokens: &[TokenTree], out: &mut Vec<TokenStream>) {
        for n in 0..=tokens.len() {
            out.push(tokens[..n].iter().cloned().collect());
            if let Some(TokenTree::Group(g)) = tokens.get(n) {
                let mut inner = Vec::new();
                prefixes(&list(&g.stream()), &mut inner);
                for i in inner {
                    let group = proc_macro2::Group::new(g.delimiter(), i);
                    out.push(tokens[..n].iter().cloned().chain([group.into()]).collect());
                }
            }
        }
    }
    let mut all = Vec::new();
    prefixes(&tokens(BLOCK), &mut all);
    assert!(all.len() > 100);
    for prefix in all {
        // not always Rust, since the user's half-typed expressions are in it; always the whole item
        let shown = prefix.to_string();
        let expanded = expand::expand(&parse::parse(prefix)).to_string();
        assert!(expanded.contains("fn __build") && expanded.contains("PipelineItem"), "{shown}");
    }
}

#[test]
fn calls_as_heads() {
    let p = block(
        "fn p(raw: Source<Raw>, limit: Limit) -> lib::Clean; a = lib::clean(raw -> filter(|r| r.x > 1), limit) -> limit(3); b = two(one(a), 3) -> apply(|s| s.union(raw)); b -> sink;",
    );
    assert_eq!(p.output.as_ref().map(ToString::to_string).as_deref(), Some("lib :: Clean"));
    assert!(p.mistakes.is_empty(), "a parameter that is given as a value is none: {:?}", p.mistakes);
    let Head::Call(path, args) = &p.stmts[0].chain.head else { panic!("{:?}", p.stmts[0]) };
    assert_eq!((text(path), list(&args.stream()).len() > 5), ("lib::clean".to_owned(), true));
    let used = used(&p);
    assert_eq!((used["raw"], used["a"], used["b"]), (2, 1, 1));
    assert_eq!(messages(expand::expand(&p)), [""; 0]);
    let own = messages(expand::expand(&block("fn p(raw: Source<Raw>) -> Raw; a = p(raw); a -> sink; raw -> sink;")));
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own.iter().any(|m| m.contains("pipeline `p` uses itself")) && own.iter().any(|m| m.contains("one open end, and `a` is it")));
    // a tuple struct, a method and a half-typed call are left to rustc and the editor
    for head in ["flights.filter", "[1, 2]", "a + b", "\"x\""] {
        assert!(!matches!(block(&format!("fn p(); a = {head}; a -> sink;")).stmts[0].chain.head, Head::Call(..)), "{head}");
    }
}

#[test]
fn dots_are_steps() {
    let p = header("trades.filter(|t| t.a > 1).key_by(a) -> sink;");
    let chain = &p.stmts[0].chain;
    assert!(matches!(&chain.head, Head::Stream(n) if n == "trades"));
    let dots: Vec<bool> = chain.steps.iter().map(|s| s.dot.is_some()).collect();
    assert_eq!(dots, [true, true, false]);
    assert_eq!(said("trades.filter(|t| t.a > 1).key_by(a) -> sink;"), ["steps are joined by `->`: write `trades -> filter(..)`"]);
}

#[test]
fn names_of_streams() {
    for (statements, message) in [
        ("treads -> sink; trades -> sink;", "no stream `treads` is defined above; did you mean `trades`?"),
        ("limit -> sink; trades -> sink;", "`limit` is a parameter, not a stream: a source is declared `limit: Source<Record>`"),
        ("big -> sink; big = trades -> limit(3);", "stream `big` is used before it is defined: move its statement up"),
        ("big = trades -> limit(3);", "stream `big` goes nowhere; end it with `-> sink(..)` or name it `_big`"),
        ("a = trades; a = trades; a -> sink;", "stream `a` is defined twice"),
        ("_a = trades -> union(_a);", "streams may only use streams defined above: _a -> _a"),
        ("trades -> key_by;", "expected `(` after step `key_by`"),
        ("trades -> ;", "expected a step after `->`, such as `filter(..)`"),
        ("trades -> sink; big = ;", "expected a stream, a source parameter, or `source(..)` after `=`"),
    ] {
        let said = said(statements);
        assert!(said.iter().any(|m| m == message), "{statements}: {said:?}");
    }
    assert_eq!(said("_a = trades -> limit(3);"), [""; 0]);
    assert_eq!(messages(expand::expand(&block("trades -> sink;"))).len(), 2, "once in the chain, once beside it, with one text");
}

#[test]
fn parameters_that_were_meant_otherwise() {
    let p = block("fn p(trades: Trade, config: &'static Config, name: &str); trades -> sink;");
    let types: Vec<String> = p.params.iter().map(|p| p.ty.to_string()).collect();
    assert_eq!(types, ["Trade", "Config", "String"]);
    assert!(p.params[0].source.is_some());
    let said: Vec<&str> = p.mistakes.iter().map(|(_, m)| m.as_str()).collect();
    assert_eq!(said[0], "`trades` is used as a stream of rows: write `trades: Source<Trade>`");
    assert!(said[1].ends_with("write `config: Config`") && said[2].ends_with("write `name: String`"));
}

#[test]
fn rows() {
    let r = row(&tokens("row Alert { a: x.b, c, d: Foo { e } }")).unwrap();
    let fields: Vec<String> = r.fields.iter().map(|(n, e)| format!("{n}={}", text(e))).collect();
    assert_eq!(fields, ["a=x.b", "c=c", "d=Foo { e }"]);
    assert!(r.odd.is_empty() && r.joined.is_empty() && r.name.len() == 1);
    let r = row(&tokens("row { a: t.x? b: i64::MAX c: f(2) d: t.y as f64, 3 }")).unwrap();
    assert_eq!((r.fields.len(), r.joined.len(), r.odd.len()), (4, 3, 1));
    assert!(row(&tokens("Alert { a: 1 }")).is_none());
}

#[test]
fn facts_of_expressions() {
    let rows = [RowParam { name: "t".into(), prefix: "" }];
    let facts = |text: &str| Facts::of(&tokens(text), &rows);
    let f = facts("drag(t.delay?, t.distance) + t.delay?");
    assert_eq!(f.reads.iter().collect::<Vec<_>>(), ["delay", "distance"]);
    assert_eq!(f.strict.iter().collect::<Vec<_>>(), ["delay"]);
    assert!(f.question && !f.all && f.calls.contains("drag"));
    assert!(facts("legs(t)").all && facts("format!(\"{t:?}\")").all);
    assert!(!facts("t.a.is_some_and(|x| x.b? > 1)").question, "a `?` of an inner closure is its own");
    assert_eq!(pass(&tokens("t.a"), &rows).as_deref(), Some("a"));
    assert_eq!(pass(&tokens("t.a + 1"), &rows), None);
    assert!(mentions(&tokens("f(\"{limit}\", [x])"), "limit") && !mentions(&tokens("t.a"), "limit"));
    assert_eq!(split(&tokens("|a, b| a, c::<D, E>(), [1, 2]"), ',').len(), 3);
}

#[test]
fn slips() {
    let columns = |text: &str| key_columns(&tokens(text)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(columns("t.symbol"), ["symbol"]);
    assert_eq!(columns("|t| (t.symbol, &t.venue.clone())"), ["symbol", "venue"]);
    assert_eq!(columns("t.price / 2"), [""; 0]);
    let rows = [RowParam { name: "t".into(), prefix: "" }];
    assert_eq!(row_for(&tokens("(t.a, t.b * 2)"), &rows), "row { a: t.a, column: t.b * 2 }");
    assert_eq!(row_for(&tokens("my::Alert { a: 1 }"), &rows), "row my::Alert { .. }");
    assert!(may_be_function(&tokens("keep::large")) && may_be_function(&tokens("above(3)")) && !may_be_function(&tokens("price > 3")));
    assert_eq!(other_step("group_by").as_deref(), Some("there is no step `group_by`; did you mean `key_by(a, b)`?"));
    assert_eq!(other_step("key_by").or(other_step("mine")), None);
    let name = quote::format_ident!("total");
    let wrong = |text: &str| not_an_aggregate(&name, &tokens(text)).map(|(_, m)| m);
    assert_eq!(wrong("sum(t.x)").or(wrong("Vwap(t.x, t.y)")).or(wrong("my::top(t.x)")), None);
    assert!(wrong("summ(t.x)").unwrap().ends_with("did you mean `sum`?"));
    assert!(wrong("sum(t.x) + 1").unwrap().starts_with("an aggregate function stands alone"));
    assert!(wrong("t.x").unwrap().starts_with("`total` needs an aggregate function"));
    assert!(wrong("notional(t.x)").unwrap().starts_with("`notional` is not an aggregate function"));
}
