//! The mistakes in `cases/`: what the compiler says, and where.
//!
//! `texts` compares the whole output with the `.stderr` beside each case (trybuild; `TRYBUILD=overwrite` writes them anew).
//! `sentences` is independent of it: each case says, in comments, at which token each of its errors is and which sentence is
//! ours, and that there are no others. So a new compiler may reword its own part, and cannot hide ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod case;

use std::path::{Path, PathBuf};
use std::process::Command;

use case::{Case, Found};
use serde_json::Value as Json;

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The cases whose names begin with `UI_CASE`, or with one of `UI_CASE=set,13`, or all.
fn cases() -> Vec<Case> {
    let only = std::env::var("UI_CASE").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(package().join("cases"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| {
            p.extension().is_some_and(|e| e == "rs") && only.split(',').any(|o| p.file_name().unwrap().to_string_lossy().starts_with(o))
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no case begins with `{only}`");
    paths.iter().map(|p| Case::read(p)).collect()
}

/// The library that the cases are compiled against: what cargo built for this test.
fn library() -> PathBuf {
    let args = ["build", "--quiet", "-p", "sabot-ui-tests", "--lib", "--message-format=json"];
    let out = Command::new(env!("CARGO")).args(args).current_dir(package()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let lines = text.lines().filter_map(|l| serde_json::from_str::<Json>(l).ok());
    let artifacts = lines.filter(|m| m["reason"] == "compiler-artifact" && m["target"]["name"] == "sabot");
    let files: Vec<PathBuf> = artifacts.flat_map(|m| m["filenames"].as_array().cloned().unwrap_or_default()).filter_map(path).collect();
    files.into_iter().find(|f| f.extension().is_some_and(|e| e == "rlib")).expect("cargo builds the library")
}

fn path(json: Json) -> Option<PathBuf> {
    json.as_str().map(PathBuf::from)
}

fn compile(case: &Path, library: &Path, scratch: &Path) -> Vec<Found> {
    let name = case.file_stem().unwrap().to_string_lossy();
    let out = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=json", "--cap-lints=allow"])
        .arg(format!("--crate-name=case_{name}"))
        .arg(format!("--extern=sabot={}", library.display()))
        .arg(format!("-Ldependency={}", library.parent().unwrap().join("deps").display()))
        .arg(format!("-Ldependency={}", library.parent().unwrap().display()))
        .arg("-o")
        .arg(scratch.join(format!("{name}.rmeta")))
        .arg(case)
        .env("CARGO_MANIFEST_DIR", package())
        .current_dir(package())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    text.lines().filter_map(|l| serde_json::from_str(l).ok()).filter_map(|m: Json| Found::of(&m)).collect()
}

/// Each error at its token, in our words, once.
#[test]
fn sentences() {
    let (library, scratch) = (library(), std::env::temp_dir().join(format!("sabot-ui-{}", std::process::id())));
    std::fs::create_dir_all(&scratch).unwrap();
    let cases = cases();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let found = compile(&case.path, &library, &scratch);
                    wrong.lock().unwrap().extend(case.compare(&found));
                }
            });
        }
    });
    std::fs::remove_dir_all(&scratch).unwrap();
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The whole output.
#[test]
fn texts() {
    // trybuild compiles in a package of its own; the schema file of a record is relative to the package
    let theirs = library().parent().unwrap().join("../tests/trybuild/sabot-ui-tests/schemas");
    std::fs::create_dir_all(&theirs).unwrap();
    for file in std::fs::read_dir(package().join("schemas")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), theirs.join(file.file_name())).unwrap();
    }
    let all = trybuild::TestCases::new();
    for case in cases() {
        if case.has_text() {
            all.compile_fail(Path::new("cases").join(case.path.file_name().unwrap()));
        }
    }
}
