//! Outputs: what a job's sinks have committed to files, read by `DoGet` from any process that sees the files.
//!
//! Idea: nothing is kept for readers. A ticket says where the files are, and the control plane has signed it; so every agent, and the server, gives the
//! rows to whoever has it, also when those that wrote them are gone, and long after the job has ended.

use arrow_schema::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::connect::SinkSpec;
use crate::plan::PlanColumn;
use crate::shuffle::flight::{Grant, Node, Output, Purpose};
use crate::{Error, Result};

/// Where the rows of an output are; in its tickets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The sink, which is a file or a directory of files.
    pub(super) sink: SinkSpec,
    /// Its columns.
    pub(super) columns: Vec<PlanColumn>,
}

impl Place {
    /// What a ticket for it allows.
    ///
    /// # Errors
    /// If it cannot be written, which would be a bug.
    pub(super) fn purpose(&self, name: &str) -> Result<Purpose> {
        let place = serde_json::to_string(self).map_err(|e| Error::internal(format!("the place of an output cannot be written: {e}")))?;
        Ok(Purpose::Output { name: name.to_owned(), place })
    }
    fn open(&self) -> Result<Output> {
        let columns = self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable));
        let rows = self.sink.committed(&Schema::new(columns.collect::<Vec<Field>>()))?;
        Ok(Output { schema: SchemaRef::clone(rows.schema()), rows: Box::new(rows) })
    }
}

/// A node gives outputs to whoever has a ticket.
pub(super) fn offer(node: &Node) {
    node.outputs(open);
}

fn open(grant: &Grant) -> Result<Output> {
    let Purpose::Output { name, place } = &grant.purpose else { return Err(Error::usage("the ticket is for no output")) };
    let place: Place = serde_json::from_str(place).map_err(|e| Error::Usage(format!("the ticket's output makes no sense here: {e}")))?;
    place.open().map_err(|error| match error {
        Error::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let what = format!(
                "output `{name}` of job `{}` is not here: its files were removed, or are where this machine does not see them, which another of the ticket's addresses may",
                grant.job
            );
            Error::io(path, what, source)
        }
        error => error,
    })
}
