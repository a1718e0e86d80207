//! The connector: when rows go to the server.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::client::Connection;
use super::epochs::{self, Epochs};
use super::{columns, store};
use crate::connect::PostgresTable;
use crate::connect::held_rows::{Held, HeldRows};
use crate::connect::upserts::{Net, UpsertKey, Upserts};
use crate::operator::{Beginning, Changing, Prepared, Preparing, Sink, TwoPhase, without_weights};
use crate::{Error, Result};

/// Rows into a table of Postgres.
///
/// In a job that keeps checkpoints, the rows between two of them are kept in memory and in the checkpoint, and stored once it is durable, in one
/// transaction that also notes the checkpoint in the table `sabot_epochs` beside the target. So each row is stored once, whenever the process
/// or the server dies. In other jobs, rows that end are stored in one transaction at the end of the job; rows that may not end
/// are stored as they come, and once more if the job is run again.
///
/// With a [key](PostgresTable::key) a row replaces the one with the same key; of several in one transaction the last counts.
///
/// Of changes, the table has the rows that count: those of a transaction are added up first, then each key has its new row, or none. Changes
/// that end are added up in memory and stored at the end, unless the job keeps checkpoints.
pub struct PostgresSink {
    table: PostgresTable,
    connection: Option<Connection>,
    mode: Mode,
    /// The key of the changes, if rows are taken back.
    changes: Option<UpsertKey>,
}

enum Mode {
    /// All in one transaction, which is open or not.
    AtOnce { open: bool },
    /// What changes add up to, in one transaction at the end.
    AddedUp { upserts: Box<Upserts>, net: Option<Net> },
    /// As they come.
    AsTheyCome,
    /// With checkpoints.
    Held { rows: HeldRows, generation: i64 },
}

impl PostgresSink {
    /// A sink into `table`. It connects when the job starts.
    pub fn new(table: PostgresTable) -> Self {
        PostgresSink { table, connection: None, mode: Mode::AtOnce { open: false }, changes: None }
    }
    /// The connection; a new one if the last was lost.
    fn connect(&mut self) -> Result<&Connection> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            self.connection = Some(Connection::open(&self.table)?);
        }
        self.connection.as_ref().ok_or_else(|| Error::internal("a connection is gone"))
    }
    /// Runs `work` in a transaction. After an error the connection is given up: whatever state it was in.
    fn transaction(&mut self, work: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
        let connection = self.connect()?;
        let begun = connection.batch("BEGIN", "cannot begin a transaction");
        let done = begun.and_then(|()| work(connection)).and_then(|()| connection.batch("COMMIT", "cannot commit"));
        if done.is_err() {
            self.connection = None;
        }
        done
    }
    /// The row of a sink in the table of checkpoints, which is in the schema of the target.
    fn epochs(&self, sink: &str, generation: i64) -> Epochs {
        let name = super::client::quoted(epochs::NAME);
        let table = match self.table.table.split_once('.') {
            Some((schema, _)) => format!("{}.{name}", super::client::quoted(schema)),
            None => name,
        };
        Epochs { table, sink: sink.to_owned(), generation }
    }
}

/// Stores rows that come, or applies changes; the latter must be within a transaction.
fn store_any(connection: &Connection, table: &PostgresTable, changes: Option<&UpsertKey>, batches: &[RecordBatch]) -> Result<()> {
    let Some(key) = changes else { return store::store(connection, table, batches) };
    let net = Upserts::of(batches, &key.columns, &table.to_string())?;
    store::apply(connection, table, &net, key.proven)
}

fn number(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| Error::internal("a checkpoint has no number"))
}

impl Sink for PostgresSink {
    fn endless(&mut self) {
        self.mode = Mode::AsTheyCome;
    }
    fn changes(&mut self, changing: Changing<'_>) -> Result<()> {
        let key = UpsertKey::new(&self.table.key, changing.keys, &self.describe())?;
        self.table.key.clone_from(&key.columns);
        self.changes = Some(key);
        Ok(())
    }
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let bare = without_weights(&RecordBatch::new_empty(SchemaRef::clone(schema)))?.schema();
        columns::check_types(&bare, &self.table)?;
        let (table, name, changes) = (self.table.clone(), store::name(&self.table), self.changes.clone());
        if let Some(key) = &changes {
            columns::check_key(&bare, &table)?;
            match self.mode {
                Mode::AsTheyCome if !key.proven => {
                    return Err(Error::Usage(format!(
                        "{table}: nothing says that the key tells the rows of the changes apart, so they must come in whole steps: keep checkpoints (`--checkpoint-dir`), or put `distinct({})` before the sink",
                        key.columns.join(", ")
                    )));
                }
                Mode::AtOnce { .. } => {
                    let upserts = Box::new(Upserts::new(schema, &key.columns, &table.to_string())?);
                    self.mode = Mode::AddedUp { upserts, net: None };
                }
                _ => {}
            }
        }
        let connection = self.connect()?;
        if table.create {
            let create = columns::create(&bare, &table, &name, changes.is_some());
            connection.batch(&create, &format!("cannot create {}", table.table))?;
        }
        columns::check(connection, &bare, &table, &name, changes.is_some())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (table, changes) = (self.table.clone(), self.changes.clone());
        let rows = std::slice::from_ref(batch);
        match &mut self.mode {
            Mode::Held { rows, .. } => {
                rows.push(batch);
                Ok(())
            }
            Mode::AddedUp { upserts, .. } => upserts.add(batch),
            Mode::AsTheyCome => self.transaction(|connection| store_any(connection, &table, changes.as_ref(), rows)),
            Mode::AtOnce { open: true } => {
                let connection = self.connection.as_ref().ok_or_else(|| Error::internal("a transaction has no connection"))?;
                store::store(connection, &table, rows)
            }
            Mode::AtOnce { open: false } => {
                let connection = self.connect()?;
                connection.batch("BEGIN", "cannot begin a transaction")?;
                let stored = store::store(connection, &table, rows);
                self.mode = Mode::AtOnce { open: true };
                stored
            }
        }
    }
    fn commit(&mut self) -> Result<()> {
        if let (Mode::AddedUp { upserts, net }, Some(key)) = (&mut self.mode, self.changes.clone()) {
            let (net, table) = (net.take().map_or_else(|| upserts.net(), Ok)?, self.table.clone());
            let done = self.transaction(|connection| store::apply(connection, &table, &net, key.proven));
            if let (Mode::AddedUp { net: kept, .. }, Err(_)) = (&mut self.mode, &done) {
                *kept = Some(net);
            }
            return done;
        }
        let open = matches!(self.mode, Mode::AtOnce { open: true });
        match self.connection.take().filter(|_| open) {
            Some(connection) => connection.batch("COMMIT", "cannot commit"),
            None => Ok(()),
        }
    }
    fn abort(&mut self) {
        // The server rolls back what was not committed.
        self.connection = None;
    }
    /// Until a transaction is open that goes on.
    fn repeatable(&self) -> bool {
        !matches!(self.mode, Mode::AtOnce { open: true })
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        self.table.to_string()
    }
}

impl TwoPhase for PostgresSink {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        let mut rows = HeldRows::default();
        let epoch = number(rows.begin(beginning)?)?;
        let generation = number(beginning.generation)?;
        let epochs = self.epochs(rows.id(), generation);
        self.mode = Mode::Held { rows, generation };
        epochs.begin(self.connect()?, epoch)
    }
    fn prepare(&mut self, epoch: u64, _last: bool) -> Result<Preparing> {
        match &mut self.mode {
            Mode::Held { rows, .. } => Ok(rows.prepare(epoch)),
            _ => Err(Error::internal("a Postgres sink was not told of checkpoints")),
        }
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        let Mode::Held { generation, .. } = self.mode else {
            return Err(Error::internal("a Postgres sink was not told of checkpoints"));
        };
        let held = Held::read(prepared)?;
        let (epochs, epoch, table) = (self.epochs(&held.id, generation), number(held.epoch)?, self.table.clone());
        let (batches, changes) = (held.batches()?, self.changes.clone());
        self.transaction(|connection| {
            if epochs.arrived(connection)? >= epoch {
                return Ok(());
            }
            store_any(connection, &table, changes.as_ref(), &batches)?;
            epochs.arrive(connection, epoch)
        })
    }
}
