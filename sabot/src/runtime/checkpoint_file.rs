//! A checkpoint as bytes: a manifest, with or without the states themselves.
//!
//! Layout: `SABOTCKP`, the version of the format (u32), length and checksum of the header (u64 each, all little endian), the header
//! (JSON, all that is small), then the bytes of each state and of each row set in flight that is not kept elsewhere, in the header's
//! order. The header has the length and the checksum of each of these, so that any can be read alone. A state that is kept elsewhere has its file, place and
//! checksum in the header.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::checksum::checksum;
use super::saved::damaged;
use super::{Checkpoint, InFlight, NodeState};
use crate::operator::GroupState;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"SABOTCKP";

/// The version of the format that is written, and the only one that is read.
pub const CHECKPOINT_FORMAT: u32 = 5;

/// Bytes before the header.
pub(super) const FIXED: u64 = 28;

/// Length and checksum of a byte string.
type Blob = (u64, u64);

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
        *head = self.head(whole, blobs.iter().map(|b| blob(b)).collect())?;
        let mut pieces: Vec<&[u8]> = vec![head];
        pieces.extend(blobs);
        Ok(pieces)
    }
    /// What stands before the states in a file with all of them, wherever they are now; and the bytes of that file.
    pub(super) fn head_of_all(&self) -> Result<(Vec<u8>, u64)> {
        let states = self.states.iter().map(|s| s.stored.as_ref().map_or_else(|| blob(&s.state.bytes), |at| (at.length, at.hash)));
        let blobs: Vec<Blob> = states.chain(self.in_flight.iter().map(|f| blob(&f.rows))).collect();
        let bytes = blobs.iter().map(|(length, _)| length).sum::<u64>();
        let head = self.head(true, blobs)?;
        let all = head.len() as u64 + bytes;
        Ok((head, all))
    }
    fn head(&self, whole: bool, blobs: Vec<Blob>) -> Result<Vec<u8>> {
        let broken = |e: serde_json::Error| Error::internal(format!("a checkpoint cannot be written: {e}"));
        let header = serde_json::to_vec(&(&self.without_bytes(whole), blobs)).map_err(broken)?;
        let mut head = Vec::with_capacity(FIXED as usize + header.len());
        head.extend(MAGIC);
        head.extend(CHECKPOINT_FORMAT.to_le_bytes());
        head.extend((header.len() as u64).to_le_bytes());
        head.extend(checksum(&header).to_le_bytes());
        head.extend(header);
        Ok(head)
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
        let opening = Opening::read(bytes, path)?;
        let split = usize::try_from(opening.end()).ok().and_then(|end| bytes.split_at_checked(end));
        let (head, mut rest) = split.ok_or_else(|| damaged(path))?;
        let (mut checkpoint, blobs) = opening.header(head.get(FIXED as usize..).unwrap_or_default(), path)?;
        let mut blobs = blobs.into_iter();
        for to in checkpoint.blobs() {
            let part = blobs.next().and_then(|(length, hash)| Some((rest.split_at_checked(usize::try_from(length).ok()?)?, hash)));
            let ((bytes, after), _) = part.filter(|((bytes, _), hash)| checksum(bytes) == *hash).ok_or_else(|| damaged(path))?;
            *to = bytes.to_vec();
            rest = after;
        }
        if rest.is_empty() && blobs.next().is_none() { Ok(checkpoint) } else { Err(damaged(path)) }
    }
}

fn blob(bytes: &[u8]) -> Blob {
    (bytes.len() as u64, checksum(bytes))
}

/// The first [`FIXED`] bytes.
pub(super) struct Opening {
    length: u64,
    sum: u64,
}

impl Opening {
    /// What the first bytes of the file at `path` say.
    ///
    /// # Errors
    /// If it is no checkpoint, or one of another version.
    pub(super) fn read(bytes: &[u8], path: &Path) -> Result<Opening> {
        let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk::<4>()).map(|v| u32::from_le_bytes(*v));
        let version = version.or_else(|| bytes.starts_with(b"SABOTCP1").then_some(1));
        match version {
            None => Err(Error::Checkpoint(format!("{} is damaged, or no checkpoint", path.display()))),
            Some(CHECKPOINT_FORMAT) => {
                let number = |at: usize| bytes.get(at..).and_then(|b| b.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b));
                let (length, sum) = number(12).zip(number(20)).ok_or_else(|| damaged(path))?;
                // one that is longer than any is none
                if length < 1 << 40 { Ok(Opening { length, sum }) } else { Err(damaged(path)) }
            }
            Some(other) => Err(Error::Checkpoint(format!(
                "{} has version {other} of the format, and this program reads version {CHECKPOINT_FORMAT}: continue with a program that was built with the Sabot that wrote it",
                path.display()
            ))),
        }
    }
    /// Where the header ends.
    pub(super) fn end(&self) -> u64 {
        FIXED + self.length
    }
    /// What tells the file from others.
    pub(super) fn id(&self) -> String {
        format!("{:016x}", self.sum)
    }
    /// The checkpoint of a header, without the bytes of states and rows; and the lengths and checksums of these.
    ///
    /// # Errors
    /// If it is damaged.
    pub(super) fn header(&self, bytes: &[u8], path: &Path) -> Result<(Checkpoint, Vec<Blob>)> {
        let whole = bytes.len() as u64 == self.length && checksum(bytes) == self.sum;
        let read = if whole { serde_json::from_slice(bytes).ok() } else { None };
        read.ok_or_else(|| damaged(path))
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
