//! The editor is part of the product: rust-analyzer in the nine situations of someone who is typing a pipeline.
//!
//! Skipped, with the reason, where there is no rust-analyzer, unless `SABOT_REQUIRE_EDITOR=1` under `CI=true`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod client;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use client::{Client, Server};
use serde_json::{Value as Json, json};

/// What the pipeline is before each situation.
const STATEMENT: &str = "valued = trades -> filter(|t| t.price > minimum) -> with(|t| row { value: notional(t.price, t.qty) });\n    bigger = valued -> filter(|v| v.value > 1000.0) -> key_by(symbol);\n    bigger -> sink;";

/// Where `¦` is the cursor, these must be offered.
const SITUATIONS: &[(&str, &str, &[&str])] = &[
    ("complete field", "valued = trades -> filter(|t| t.pri¦ > minimum); valued -> sink;", &["price"]),
    ("bare dot", "valued = trades -> filter(|t| t.¦); valued -> sink;", &["symbol", "price", "qty"]),
    ("dot inside a comparison", "valued = trades -> filter(|t| t.¦ > minimum); valued -> sink;", &["symbol", "price", "qty"]),
    ("half-typed step", "valued = trades -> fil¦; valued -> sink;", &["filter"]),
    ("no step typed", "valued = trades -> ¦; valued -> sink;", &["filter", "key_by", "select"]),
    ("no trailing semicolon", "valued = trades -> fil¦", &["filter"]),
    ("half-typed key column", "valued = trades -> key_by(sy¦); valued -> sink;", &["symbol"]),
    ("empty `key_by()`", "valued = trades -> key_by(¦); valued -> sink;", &["symbol", "price", "qty"]),
    ("earlier step broken", "valued = trades -> filter(|t| t.price >) -> filter(|t| t.¦); valued -> sink;", &["symbol", "price", "qty"]),
    // beyond the nine
    (
        "a column made by `row`",
        "valued = trades -> with(|t| row { value: t.price }) -> filter(|v| v.¦); valued -> sink;",
        &["value", "price"],
    ),
    ("an expression within `row`", "valued = trades -> select(|t| row { price: t.¦ }); valued -> sink;", &["symbol", "price", "qty"]),
    ("a second column within `row`", "valued = trades -> select(|t| row { price: t.price, qty: t.¦ }); valued -> sink;", &["qty"]),
    (
        "an argument of an aggregate",
        "valued = trades -> key_by(symbol) -> aggregate(|t| row { total: sum(t.¦) }); valued -> sink;",
        &["price", "qty"],
    ),
    ("a half-typed step with its arguments", "valued = trades -> fil¦(|t| t.qty > 3); valued -> sink;", &["filter"]),
    ("a step behind steps", "valued = trades -> filter(|t| t.qty > 3) -> key¦; valued -> sink;", &["key_by"]),
];

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn required() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    is("CI", "true") && is("SABOT_REQUIRE_EDITOR", "1")
}

/// The fixture with the workspace's versions, so that cargo need not look for others.
fn fixture() -> PathBuf {
    let (from, to) = (package().join("fixture"), PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("editor-fixture"));
    std::fs::create_dir_all(to.join("src")).unwrap();
    let manifest = std::fs::read_to_string(from.join("Cargo.toml")).unwrap();
    let sabot = package().join("../sabot").canonicalize().unwrap();
    std::fs::write(to.join("Cargo.toml"), manifest.replace("../../sabot", &sabot.to_string_lossy())).unwrap();
    std::fs::copy(from.join("src/lib.rs"), to.join("src/lib.rs")).unwrap();
    std::fs::copy(package().join("../Cargo.lock"), to.join("Cargo.lock")).unwrap();
    to.canonicalize().unwrap()
}

/// Few threads, no checks on save, and of the dependencies only what expands macros is built, by the workspace's cargo.
fn options(server: &Server) -> Json {
    let workspace = package().join("..").canonicalize().unwrap();
    let manifest = workspace.join("Cargo.toml");
    let build =
        json!(["cargo", "build", "--quiet", "-p", "sabot-macros", "--message-format=json", "--manifest-path", manifest.to_string_lossy()]);
    json!({
        "checkOnSave": false,
        "cachePriming": { "enable": false },
        "numThreads": 1,
        "procMacro": { "enable": true },
        "cargo": {
            "buildScripts": { "enable": true, "overrideCommand": build, "invocationStrategy": "once" },
            "sysroot": server.sysroot.as_ref().map_or("discover".into(), |s| s.to_string_lossy()),
            "sysrootSrc": server.src.as_ref().map(|s| s.to_string_lossy()),
            "extraEnv": { "CARGO_NET_OFFLINE": "true" },
        },
        "completion": { "autoimport": { "enable": false }, "postfix": { "enable": false } },
    })
}

fn offered(client: &mut Client, base: &str, statement: &str) -> Vec<String> {
    let text = base.replace(STATEMENT, statement);
    let cursor = text.find('¦').unwrap();
    let text = text.replace('¦', "");
    client.change(&text);
    let answer = client.at("textDocument/completion", &text, cursor);
    let items = answer.get("items").unwrap_or(&answer).as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|i| i["label"].as_str()).map(|l| l.split(['(', '…']).next().unwrap_or(l).trim().to_owned()).collect()
}

#[test]
fn typing_a_pipeline() {
    let server = match Server::find() {
        Ok(server) => server,
        Err(why) if required() => panic!("{why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    // the server asks for this; built before it starts, it settles sooner
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "sabot-macros"]).current_dir(package()).status().unwrap();
    assert!(built.success());
    let root = fixture();
    let file = root.join("src/lib.rs");
    let base = std::fs::read_to_string(&file).unwrap();
    assert!(base.contains(STATEMENT), "the fixture has the statement that is edited");
    let mut client = Client::start(&server, &root, &file, options(&server));
    println!("{}", client.settle(Duration::from_secs(150)).unwrap());
    // it may report that it is done before the macros are loaded
    let (_, statement, wanted) = SITUATIONS[0];
    let loaded = (0..60).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        offered(&mut client, &base, statement).iter().any(|f| wanted.contains(&f.as_str()))
    });
    assert!(loaded, "the macros are expanded");

    let mut wrong = Vec::new();
    for (name, statement, wanted) in SITUATIONS {
        let found = offered(&mut client, &base, statement);
        println!("{name}: {} offered", found.len());
        let missing: Vec<_> = wanted.iter().filter(|w| !found.iter().any(|f| f == *w)).collect();
        if !missing.is_empty() {
            wrong.push(format!("{name}: {missing:?} not among {:?}", &found[..found.len().min(12)]));
        }
    }
    client.change(&base);
    wrong.extend(names(&mut client, &base, &file));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Hover on a stream; the definition of a column that `row` makes.
fn names(client: &mut Client, base: &str, file: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let hover = client.at("textDocument/hover", base, base.find("valued = ").unwrap() + 1);
    let hover = hover["contents"]["value"].as_str().unwrap_or_default().to_owned();
    println!("hover on a stream: {hover}");
    if !hover.contains("valued") || !hover.contains("Stream<") {
        wrong.push(format!("hover on a stream says `{hover}`"));
    }
    let goal = client.at("textDocument/definition", base, base.find("v.value").unwrap() + 3);
    let first = goal.get(0).unwrap_or(&goal).clone();
    let (uri, range) = match first.get("targetUri") {
        Some(uri) => (uri.clone(), first["targetSelectionRange"].clone()),
        None => (first["uri"].clone(), first["range"].clone()),
    };
    let line = base[..base.find("value: notional").unwrap()].matches('\n').count();
    let start = base.lines().nth(line).and_then(|l| l.find("value: notional"));
    let there = uri.as_str().is_some_and(|u| u.ends_with(&*file.to_string_lossy()))
        && range["start"]["line"].as_u64() == Some(line as u64)
        && range["start"]["character"].as_u64() == start.map(|s| s as u64);
    println!("definition of a column: {range}");
    if !there {
        wrong.push(format!("the definition of `v.value` is {goal}"));
    }
    wrong
}
