//! What a job puts out, for any Flight client with a ticket: `DoGet`.
//!
//! A process keeps no rows for readers: whoever offers outputs opens one anew for each reader. Readers are few and none may stand still, so they cost
//! a bounded number of threads and batches.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

use super::MESSAGE;
use super::auth::{Grant, Purpose};
use super::ipc::{Encoder, Part};
use crate::sync::lock;
use crate::{Error, Result};

/// Batches that were encoded and wait for the client.
const AHEAD: usize = 2;
/// Readers at once: each has a thread, and a file open.
pub(super) const READERS: usize = 16;
/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Batches, one after the other.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Rows that are read by whoever has a ticket for them.
pub struct Output {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows from the first on. Reading may block.
    pub rows: Batches,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Opens the output that a ticket is for. Called for each reader, on a thread on which it may block.
pub type OnOutput = Arc<dyn Fn(&Grant) -> Result<Output> + Send + Sync>;

/// The outputs that a process offers.
pub(super) struct Outputs {
    find: Mutex<Option<OnOutput>>,
    readers: Arc<Semaphore>,
}

impl Default for Outputs {
    fn default() -> Self {
        Outputs { find: Mutex::default(), readers: Arc::new(Semaphore::new(READERS)) }
    }
}

/// What goes to the client: a message, or the end of them.
type Sent = Result<Option<FlightData>, Status>;

impl Outputs {
    pub(super) fn offer(&self, find: OnOutput) {
        *lock(&self.find) = Some(find);
    }
    /// Begins to read an output; `stop` is when the process takes no more calls.
    pub(super) async fn open(
        &self,
        grant: Grant,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        if !matches!(grant.purpose, Purpose::Output { .. }) {
            let told = format!("the ticket is for {} of job `{}`, not for an output", grant.purpose, grant.job);
            return Err(Status::permission_denied(told));
        }
        let find = lock(&self.find).clone().ok_or_else(|| Status::not_found("this process offers no outputs"))?;
        let busy = |_| Status::resource_exhausted(format!("{READERS} readers read outputs here already: ask again, or another address"));
        let reader = Arc::clone(&self.readers).try_acquire_owned().map_err(busy)?;
        let found = tokio::task::spawn_blocking(move || find(&grant)).await;
        let output = found.map_err(|e| Status::internal(format!("opening the output: {e}")))?.map_err(|e| status(&e))?;
        let (sender, encoded) = mpsc::channel(AHEAD);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let _reader = reader;
            let give = |sent: Sent| matches!(runtime.block_on(tokio::time::timeout(PATIENCE, sender.send(sent))), Ok(Ok(())));
            match send(output, &mut |part| give(Ok(Some(part)))) {
                Ok(true) => drop(give(Ok(None))),
                // the client is gone, or stands still
                Ok(false) => {}
                Err(error) => drop(give(Err(status(&error)))),
            }
        });
        Ok(stream::unfold(Some((encoded, Box::pin(stop))), next).boxed())
    }
}

/// What a stream goes on with.
type Rest<F> = Option<(mpsc::Receiver<Sent>, F)>;

/// The next message. A stream never ends as if it were whole when it is not.
async fn next<F: Future<Output = ()> + Unpin>(rest: Rest<F>) -> Option<(Result<FlightData, Status>, Rest<F>)> {
    let (mut encoded, mut stop) = rest?;
    let sent = tokio::select! {
        sent = encoded.recv() => sent,
        () = &mut stop => Some(Err(Status::unavailable("the process stops; read from another address"))),
    };
    let early = || Status::aborted(format!("the rows end early: none was taken for {} s, or reading them failed here", PATIENCE.as_secs()));
    match sent {
        Some(Ok(Some(part))) => Some((Ok(part), Some((encoded, stop)))),
        Some(Ok(None)) => None,
        Some(Err(status)) => Some((Err(status), None)),
        None => Some((Err(early()), None)),
    }
}

fn status(error: &Error) -> Status {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Status::not_found(error.to_string()),
        Error::Usage(_) => Status::failed_precondition(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

/// Encodes an output, until `take` says that nobody reads any more; whether all was taken.
fn send(output: Output, take: &mut dyn FnMut(FlightData) -> bool) -> Result<bool> {
    let mut encoder = Encoder::new();
    let mut give = |part: Part| take(FlightData { data_header: part.header, data_body: part.body, ..FlightData::default() });
    if encoder.schema(&output.schema).is_some_and(|part| !give(part)) {
        return Ok(false);
    }
    for batch in output.rows {
        let batch = batch?;
        for piece in pieces(&batch) {
            for part in encoder.batch(&piece)? {
                if !give(part) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// A batch in slices of about the bytes of a message.
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let bytes = crate::kernel::Morsel::new(batch.clone(), crate::kernel::Origin::default()).bytes();
    let rows = (batch.num_rows() * MESSAGE / bytes.max(1)).max(1);
    (0..batch.num_rows()).step_by(rows).map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}
