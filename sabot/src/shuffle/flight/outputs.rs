//! What a job puts out, for any Flight client with a ticket: `DoGet`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;

use super::MESSAGE;
use super::auth::{Grant, Purpose};
use super::ipc::{Encoder, Part};
use crate::Result;
use crate::sync::lock;

/// Batches that were encoded and wait for the client.
const AHEAD: usize = 2;

/// Batches, one after the other.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Rows that can be read by whoever has a ticket.
pub trait Output: Send + Sync {
    /// Their columns.
    fn schema(&self) -> SchemaRef;
    /// The rows from the first on. May block; called for each reader, on a thread of its own.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&self) -> Result<Batches>;
}

/// Rows in memory.
impl Output for (SchemaRef, Vec<RecordBatch>) {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
    fn read(&self) -> Result<Batches> {
        Ok(Box::new(self.1.clone().into_iter().map(Ok)))
    }
}

/// The outputs of a process, by job, attempt and name.
#[derive(Default)]
pub(super) struct Outputs(Mutex<BTreeMap<(String, u64, String), Arc<dyn Output>>>);

impl Outputs {
    pub(super) fn put(&self, job: &str, attempt: u64, name: &str, output: Arc<dyn Output>) {
        self.lock().insert((job.to_owned(), attempt, name.to_owned()), output);
    }
    pub(super) fn remove(&self, job: &str, attempt: u64) {
        self.lock().retain(|(j, a, _), _| j != job || *a != attempt);
    }
    pub(super) fn open(&self, grant: &Grant) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        let Purpose::Output(name) = &grant.purpose else {
            return Err(Status::permission_denied(format!(
                "the ticket is for {} of job `{}`, not for an output",
                grant.purpose, grant.job
            )));
        };
        let key = (grant.job.clone(), grant.attempt, name.clone());
        let output = self.lock().get(&key).cloned();
        let output = output.ok_or_else(|| {
            Status::not_found(format!("this process has no output `{name}` of job `{}`, attempt {}", grant.job, grant.attempt))
        })?;
        let (sender, mut encoded) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let failed = |e: crate::Error| Status::internal(e.to_string());
            let sent = send(output.as_ref(), &mut |part| sender.blocking_send(Ok(part)).is_ok());
            if let Err(error) = sent {
                // a client that is gone does not hear it
                let _ = sender.blocking_send(Err(failed(error)));
            }
        });
        Ok(stream::poll_fn(move |context| encoded.poll_recv(context)).boxed())
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, u64, String), Arc<dyn Output>>> {
        lock(&self.0)
    }
}

/// Encodes an output until `take` says that nobody reads any more.
fn send(output: &dyn Output, take: &mut dyn FnMut(FlightData) -> bool) -> Result<()> {
    let mut encoder = Encoder::new();
    let mut give = |part: Part| take(FlightData { data_header: part.header, data_body: part.body, ..FlightData::default() });
    if encoder.schema(&output.schema()).is_some_and(|part| !give(part)) {
        return Ok(());
    }
    for batch in output.read()? {
        let batch = batch?;
        for piece in pieces(&batch) {
            for part in encoder.batch(&piece)? {
                if !give(part) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// A batch in slices of about the bytes of a message.
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let bytes = crate::kernel::Morsel::new(batch.clone(), crate::kernel::Origin::default()).bytes();
    let rows = (batch.num_rows() * MESSAGE / bytes.max(1)).max(1);
    (0..batch.num_rows()).step_by(rows).map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}
