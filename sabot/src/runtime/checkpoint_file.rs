//! A checkpoint as one file: written beside its place, synced, then renamed, so that it is there as a whole or not.
//!
//! Layout: `SABOTCP1`, length and checksum of the header (u64, little endian each), the header (JSON, all that is
//! small), then the bytes of each state and of each row set in flight, in the header's order.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::{Checkpoint, InFlight, NodeState};
use crate::kernel::hash::{combine, hash_bytes};
use crate::operator::GroupState;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"SABOTCP1";

impl Checkpoint {
    /// All that is small.
    fn without_bytes(&self) -> Checkpoint {
        let state = |s: &NodeState| NodeState {
            node: s.node.clone(),
            instance: s.instance,
            state: GroupState { group: s.state.group, bytes: Vec::new() },
        };
        let flight = |f: &InFlight| InFlight { node: f.node.clone(), rows: Vec::new(), ..*f };
        Checkpoint {
            epoch: self.epoch,
            nodes: self.nodes.clone(),
            finished: self.finished.clone(),
            states: self.states.iter().map(state).collect(),
            positions: self.positions.clone(),
            in_flight: self.in_flight.iter().map(flight).collect(),
            marks: self.marks.clone(),
            accounts: self.accounts.clone(),
        }
    }
    /// All byte strings, in order.
    fn blobs(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.states.iter_mut().map(|s| &mut s.state.bytes).chain(self.in_flight.iter_mut().map(|f| &mut f.rows))
    }

    /// Writes the checkpoint to `path`, durably.
    ///
    /// # Errors
    /// If the file cannot be written; a file that was there is then untouched.
    pub fn write_file(&self, path: &Path) -> Result<()> {
        let staged = path.with_extension("part");
        let write = || -> io::Result<()> {
            self.write_to(&staged)?;
            fs::rename(&staged, path)?;
            sync_parent(path)
        };
        write().map_err(|e| cannot_write(path, e))
    }

    /// Writes the checkpoint as a file that nobody wrote before, by way of the file `staged` beside it. Returns its size.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub(super) fn write_once(&self, path: &Path, staged: &Path) -> Result<u64> {
        let write = || -> io::Result<u64> {
            let bytes = self.write_to(staged)?;
            // A link fails where a rename would replace. Not every file system has links.
            match fs::hard_link(staged, path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists && !path.exists() => fs::rename(staged, path)?,
                linked => {
                    fs::remove_file(staged)?;
                    linked?;
                }
            }
            sync_parent(path)?;
            Ok(bytes)
        };
        write().map_err(|e| cannot_write(path, e))
    }

    fn write_to(&self, path: &Path) -> io::Result<u64> {
        let blobs = || self.states.iter().map(|s| &s.state.bytes).chain(self.in_flight.iter().map(|f| &f.rows));
        let small = self.without_bytes();
        let sizes: Vec<usize> = blobs().map(Vec::len).collect();
        let header = serde_json::to_vec(&(&small, sizes))?;
        let sum = blobs().fold(hash_bytes(&header), |sum, blob| combine(sum, hash_bytes(blob)));
        let mut file = File::create(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&sum.to_le_bytes())?;
        file.write_all(&header)?;
        blobs().try_for_each(|b| file.write_all(b))?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }

    /// Reads what [`write_file`](Self::write_file) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is no checkpoint, or is damaged.
    pub fn read_file(path: &Path) -> Result<Checkpoint> {
        let bytes = fs::read(path).map_err(|e| Error::io(path, "cannot read the checkpoint", e))?;
        parse(&bytes).ok_or_else(|| Error::Checkpoint(format!("{} is damaged, or no checkpoint of this version", path.display())))
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free some space there; the job continues from the checkpoint before)"
        }
        io::ErrorKind::AlreadyExists => " (another process runs the same job)",
        _ => "",
    };
    Error::io(path, format!("cannot write the checkpoint{advice}"), error)
}

/// Makes the name of a file durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|p| !p.as_os_str().is_empty() && cfg!(unix)) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn parse(bytes: &[u8]) -> Option<Checkpoint> {
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let (header, mut rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (mut checkpoint, sizes): (Checkpoint, Vec<usize>) = serde_json::from_slice(header).ok()?;
    let mut found = hash_bytes(header);
    let mut sizes = sizes.into_iter();
    for blob in checkpoint.blobs() {
        let (bytes, after) = rest.split_at_checked(sizes.next()?)?;
        found = combine(found, hash_bytes(bytes));
        *blob = bytes.to_vec();
        rest = after;
    }
    (found == u64::from_le_bytes(*sum) && rest.is_empty()).then_some(checkpoint)
}
