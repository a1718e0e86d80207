//! A checkpoint as one file: written beside its place, synced, then renamed, so that it is there as a whole or not.
//!
//! Layout: `SABOTCP1`, length and checksum of the header (u64, little endian each), the header (JSON, all that is
//! small), then the bytes of each state and of each row set in flight, in the header's order.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::Checkpoint;
use crate::kernel::hash::{combine, hash_bytes};
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"SABOTCP1";

impl Checkpoint {
    /// All byte strings, in order.
    fn blobs(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.states.iter_mut().map(|s| &mut s.state.bytes).chain(self.in_flight.iter_mut().map(|f| &mut f.rows))
    }

    /// Writes the checkpoint to `path`, durably.
    ///
    /// # Errors
    /// If the file cannot be written; a file that was there is then untouched.
    pub fn write_file(&self, path: &Path) -> Result<()> {
        let mut small = self.clone();
        let blobs: Vec<Vec<u8>> = small.blobs().map(std::mem::take).collect();
        let sizes: Vec<usize> = blobs.iter().map(Vec::len).collect();
        let header = serde_json::to_vec(&(&small, sizes)).map_err(|e| Error::Checkpoint(format!("cannot be written: {e}")))?;
        let sum = blobs.iter().fold(hash_bytes(&header), |sum, blob| combine(sum, hash_bytes(blob)));
        let staged = path.with_extension("part");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&staged)?;
            file.write_all(MAGIC)?;
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&sum.to_le_bytes())?;
            file.write_all(&header)?;
            blobs.iter().try_for_each(|b| file.write_all(b))?;
            file.sync_all()?;
            fs::rename(&staged, path)?;
            match path.parent().filter(|p| !p.as_os_str().is_empty()) {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|e| Error::io(path, "cannot write the checkpoint", e))
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
