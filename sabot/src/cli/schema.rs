//! `schema`: the columns of a file or of a record, in the form that `#[record(schema = "..")]` reads.

use std::collections::BTreeMap;

use arrow_schema::{Field, Schema};
use clap::ArgMatches;

use super::{bind, print};
use crate::connect::SourceSpec;
use crate::plan::Op;
use crate::stream::pipelines;
use crate::words::unknown;
use crate::{Error, Result};

/// Prints a schema.
pub(super) fn schema(matches: &ArgMatches) -> Result<i32> {
    let of = matches.get_one::<String>("of").map(String::as_str).unwrap_or_default();
    let schema = if of.contains(['.', '/', ':', '*']) { SourceSpec::from_uri(of)?.columns()? } else { record(of)? };
    let fields: Vec<String> = schema
        .fields()
        .iter()
        .map(|f| {
            let [name, data_type] = [f.name().clone(), f.data_type().to_string()].map(serde_json::Value::from);
            format!("    {{\"name\": {name}, \"type\": {data_type}, \"nullable\": {}}}", f.is_nullable())
        })
        .collect();
    print(&format!("{{\n  \"fields\": [\n{}\n  ]\n}}\n", fields.join(",\n")))
}

/// The columns of a record that a source of some pipeline has.
fn record(name: &str) -> Result<Schema> {
    let mut known = BTreeMap::new();
    for pipeline in pipelines()? {
        // one that cannot be built without its parameters is no reason to refuse the others
        let Some(plan) = bind::sample(pipeline).and_then(|job| job.optimise(false).plan().ok()) else { continue };
        for node in plan.nodes {
            if let Op::Source { record, .. } = node.op {
                let fields: Vec<Field> = node.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable)).collect();
                known.insert(record, fields);
            }
        }
    }
    match known.remove(name) {
        Some(fields) => Ok(Schema::new(fields)),
        None => {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            Err(Error::Usage(unknown("no source of this program has the record", name, "its records are", &names)))
        }
    }
}
