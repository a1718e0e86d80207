//! The other end of `DoGet`: an output, read batch by batch.

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use tonic::{Status, Streaming};

use super::ipc::Decoder;
use super::status::from_status;
use crate::{Error, Result};

/// Reads an output; made by [`Peer::output`](super::Peer::output).
pub struct OutputReader {
    parts: Streaming<FlightData>,
    decoder: Decoder,
    place: String,
}

impl std::fmt::Debug for OutputReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OutputReader({})", self.place)
    }
}

impl OutputReader {
    /// The reader and the columns, with which a stream begins.
    pub(super) async fn begin(parts: Streaming<FlightData>, place: String) -> Result<(Self, SchemaRef)> {
        let mut reader = OutputReader { parts, decoder: Decoder::new(), place };
        reader.part().await?;
        let schema = reader.decoder.schema();
        let schema =
            schema.ok_or_else(|| Error::Data { place: reader.place.clone(), what: "an output that does not begin with columns".into() })?;
        Ok((reader, schema))
    }
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// If the rows end early: the process that gives them ends, or cannot read on.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.part().await? {
                Some(Some(batch)) => return Ok(Some(batch)),
                Some(None) => {}
                None => return Ok(None),
            }
        }
    }
    /// The next message, and the rows that it has.
    async fn part(&mut self) -> Result<Option<Option<RecordBatch>>> {
        let broken = |status: Status| from_status(&self.place, "cannot read the output", &status);
        let Some(part) = self.parts.message().await.map_err(broken)? else { return Ok(None) };
        self.decoder.message(&part.data_header, part.data_body).map(Some)
    }
}
