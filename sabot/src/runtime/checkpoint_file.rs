//! A checkpoint as bytes: a manifest, with or without the states themselves.
//!
//! Layout: `SABOTCKP`, the version of the format (u32), length and checksum of the header (u64 each, all little endian), the header
//! (JSON, all that is small), then the bytes of each state and of each row set in flight that is not kept elsewhere, in the header's
//! order. The checksum covers everything behind it. A state that is kept elsewhere has its file, place and checksum in the header.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::{Checkpoint, InFlight, NodeState};
use crate::kernel::hash::{combine, hash_bytes};
use crate::operator::GroupState;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"SABOTCKP";

/// The version of the format that is written, and the only one that is read.
pub const CHECKPOINT_FORMAT: u32 = 3;

impl Checkpoint {
    /// All that is small; `whole` if all states follow.
    fn without_bytes(&self, whole: bool) -> Checkpoint {
        let state = |s: &NodeState| NodeState {
            node: s.node.clone(),
            instance: s.instance,
            state: GroupState { group: s.state.group, bytes: Vec::new() },
            stored: s.stored.clone().filter(|_| !whole),
            rows: s.rows,
            of: s.of,
        };
        let flight = |f: &InFlight| InFlight { node: f.node.clone(), rows: Vec::new(), ..*f };
        Checkpoint {
            epoch: self.epoch,
            nodes: self.nodes.clone(),
            steps: self.steps.clone(),
            finished: self.finished.clone(),
            states: self.states.iter().map(state).collect(),
            positions: self.positions.clone(),
            in_flight: self.in_flight.iter().map(flight).collect(),
            marks: self.marks.clone(),
            accounts: self.accounts.clone(),
        }
    }
    /// All byte strings of this file, in order.
    fn blobs(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        let states = self.states.iter_mut().filter(|s| s.stored.is_none()).map(|s| &mut s.state.bytes);
        states.chain(self.in_flight.iter_mut().map(|f| &mut f.rows))
    }
    /// The bytes, in pieces: `head` takes the first. With all states if `whole`, else without those that are stored elsewhere.
    pub(super) fn pieces<'a>(&'a self, whole: bool, head: &'a mut Vec<u8>) -> Result<Vec<&'a [u8]>> {
        let states = self.states.iter().filter(|s| whole || s.stored.is_none()).map(|s| s.state.bytes.as_slice());
        let blobs: Vec<&[u8]> = states.chain(self.in_flight.iter().map(|f| f.rows.as_slice())).collect();
        let sizes: Vec<usize> = blobs.iter().map(|b| b.len()).collect();
        let broken = |e: serde_json::Error| Error::internal(format!("a checkpoint cannot be written: {e}"));
        let header = serde_json::to_vec(&(&self.without_bytes(whole), sizes)).map_err(broken)?;
        let sum = blobs.iter().fold(hash_bytes(&header), |sum, blob| combine(sum, hash_bytes(blob)));
        head.extend(MAGIC);
        head.extend(CHECKPOINT_FORMAT.to_le_bytes());
        head.extend((header.len() as u64).to_le_bytes());
        head.extend(sum.to_le_bytes());
        head.extend(header);
        let mut pieces: Vec<&[u8]> = vec![head];
        pieces.extend(blobs);
        Ok(pieces)
    }

    /// Writes the checkpoint to `path`, durably and whole.
    ///
    /// # Errors
    /// If the file cannot be written; a file that was there is then untouched.
    pub fn write_file(&self, path: &Path) -> Result<()> {
        let staged = path.with_extension("part");
        let mut head = Vec::new();
        let pieces = self.pieces(true, &mut head)?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&staged)?;
            pieces.iter().try_for_each(|b| file.write_all(b))?;
            file.sync_all()?;
            fs::rename(&staged, path)?;
            sync_parent(path)
        };
        write().map_err(|e| cannot_write(path, e))
    }

    /// The checkpoint in these bytes, which were read from `path`.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Checkpoint> {
        let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk::<4>()).map(|v| u32::from_le_bytes(*v));
        let version = version.or_else(|| bytes.starts_with(b"SABOTCP1").then_some(1));
        match version {
            None => Err(Error::Checkpoint(format!("{} is damaged, or no checkpoint", path.display()))),
            Some(CHECKPOINT_FORMAT) => {
                parse(bytes).ok_or_else(|| Error::Checkpoint(format!("{} is damaged; restore it from a copy", path.display())))
            }
            Some(other) => Err(Error::Checkpoint(format!(
                "{} has version {other} of the format, and this program reads version {CHECKPOINT_FORMAT}: continue with a program that was built with the Sabot that wrote it",
                path.display()
            ))),
        }
    }
}

pub(super) fn cannot_write(path: &Path, error: io::Error) -> Error {
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
    let (length, rest) = bytes.get(MAGIC.len() + 4..)?.split_first_chunk::<8>()?;
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
    (found == u64::from_le_bytes(*sum) && rest.is_empty() && sizes.next().is_none()).then_some(checkpoint)
}
