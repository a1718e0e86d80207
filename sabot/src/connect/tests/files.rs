use super::*;
use crate::connect::{CsvOptions, OnBadLine, SinkSpec, SourceSpec, paths};

#[test]
fn directories_and_globs_are_sorted_and_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("b/deep")).unwrap();
    for name in ["z.csv", "a.csv", "b/deep/m.csv", "b/k.CSV", "b/.hidden.csv", "_temporary.csv", "other.txt", "with,comma.csv"] {
        write(&dir.path().join(name), "n\n");
    }
    let at = |name: &str| dir.path().join(name).display().to_string();
    let names = |patterns: &[String]| -> Vec<String> {
        let found = paths::expand(patterns, &["csv"]).unwrap();
        found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
    };
    assert_eq!(names(&[at("")]), ["a.csv", "b/deep/m.csv", "b/k.CSV", "with,comma.csv", "z.csv"]);
    assert_eq!(names(&[at("[az].csv")]), ["a.csv", "z.csv"]);
    assert_eq!(names(&[at("**/*.csv")]), ["_temporary.csv", "a.csv", "b/deep/m.csv", "with,comma.csv", "z.csv"]);
    assert_eq!(names(&[at("z.csv"), at("a.csv")]), ["z.csv", "a.csv"], "the given order is kept");
    assert!(usage_error(paths::expand(&[at("a.csv"), at("*.csv")], &["csv"])).contains("named twice"));
    assert!(usage_error(paths::expand(&[at("*.parquet")], &["parquet"])).contains("names no file"));
    assert!(matches!(paths::expand(&[at("missing.csv")], &["csv"]), Err(Error::Io { .. })));
    assert_eq!(
        SourceSpec::from_uri(&at("with,comma.csv")).unwrap(),
        SourceSpec::Csv { paths: vec![at("with,comma.csv")], options: CsvOptions::default() }
    );
    assert_eq!(SourceSpec::from_uri(&at("")).unwrap(), SourceSpec::Csv { paths: vec![at("")], options: CsvOptions::default() });
    assert_eq!(SourceSpec::from_uri(&at("b/*")).unwrap(), SourceSpec::Csv { paths: vec![at("b/*")], options: CsvOptions::default() });
    write(&dir.path().join("p.parquet"), "");
    assert!(usage_error(SourceSpec::from_uri(&at(""))).contains("several formats (csv, parquet)"));
}

#[test]
fn sources_are_told_by_scheme_or_extension() {
    let parquet = |paths: &[&str]| SourceSpec::Parquet { paths: paths.iter().map(ToString::to_string).collect() };
    assert_eq!(SourceSpec::from_uri("flights.parquet").unwrap(), parquet(&["flights.parquet"]));
    assert_eq!(SourceSpec::from_uri("a.pq, b.parquet").unwrap(), parquet(&["a.pq", "b.parquet"]));
    assert_eq!(SourceSpec::from_uri("parquet:no/extension").unwrap(), parquet(&["no/extension"]));
    assert_eq!(SourceSpec::from_uri("data/part-?.parquet").unwrap(), parquet(&["data/part-?.parquet"]), "a wildcard, not an option");
    let options =
        CsvOptions { delimiter: ';', quote: Some('\''), header: false, nulls: vec!["".into(), "-".into()], on_bad_line: OnBadLine::Skip };
    let csv = SourceSpec::Csv { paths: vec!["a-?.txt".into()], options };
    assert_eq!(SourceSpec::from_uri("csv:a-?.txt?delimiter=%3B&quote='&header=false&null=&null=-&on_bad_line=skip").unwrap(), csv);
    assert_eq!(serde_json::from_str::<SourceSpec>(&serde_json::to_string(&csv).unwrap()).unwrap(), csv);
    let SourceSpec::Csv { options, .. } = SourceSpec::from_uri("x.tsv?quote=").unwrap() else { panic!() };
    assert_eq!((options.delimiter, options.quote), ('\t', None));

    for unknown in ["flights.xlsx", "s3://bucket/x.parquet", "redis:topic", "flights", ""] {
        let text = usage_error(SourceSpec::from_uri(unknown));
        assert!(text.contains("*.parquet") && text.contains("csv:path"), "{text}");
    }
    assert!(usage_error(SourceSpec::from_uri("a.csv?delimeter=;")).contains("it takes delimiter, quote, header, null, on_bad_line"));
    assert!(usage_error(SourceSpec::from_uri("a.parquet?header=true")).contains("takes none"));
    assert!(usage_error(SourceSpec::from_uri("a.csv?header=maybe")).contains("`true` or `false`"));
    assert!(usage_error(SourceSpec::from_uri("a.csv?delimiter=ab")).contains("single ASCII character"));
    assert!(usage_error(SourceSpec::from_uri("a.csv?delimiter=%zz")).contains("hexadecimal"));
    assert!(usage_error(SourceSpec::from_uri("a.csv?header=true&header=true")).contains("2 times"));
    assert!(usage_error(SourceSpec::from_uri("a.csv?on_bad_line=ignore")).contains("`fail` or `skip`"));
    assert!(usage_error(SourceSpec::from_uri("a.csv,b.parquet")).contains("several formats"));
}

#[test]
fn sinks_are_told_by_scheme_or_extension() {
    assert_eq!(SinkSpec::from_uri("o.parquet").unwrap(), SinkSpec::Parquet { path: "o.parquet".into() });
    assert_eq!(
        SinkSpec::from_uri("csv:o.txt?delimiter=tab&header=false").unwrap(),
        SinkSpec::Csv { path: "o.txt".into(), delimiter: '\t', header: false }
    );
    assert_eq!(SinkSpec::from_uri("o.arrow").unwrap(), SinkSpec::Arrow { path: "o.arrow".into() });
    assert_eq!(SinkSpec::from_uri("blackhole:").unwrap(), SinkSpec::Blackhole);
    for unknown in ["o.xlsx", "o", "", "csv:", "redis:topic", "blackhole:x"] {
        let text = usage_error(SinkSpec::from_uri(unknown));
        assert!(text.contains("*.parquet"), "{unknown}: {text}");
    }
    assert!(usage_error(SinkSpec::from_uri("o.csv?quote='")).contains("it takes delimiter, header"));
    assert!(usage_error(SinkSpec::from_uri("o.parquet?x=1")).contains("takes none"));
}
