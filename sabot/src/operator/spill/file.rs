//! A file of blocks. A block is its length (u64, little endian), the XXH3-64 checksum of its payload, and the payload:
//! one batch as an Arrow IPC stream.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use twox_hash::XxHash3_64;

use super::dir::{SpillDir, cannot_write};
use crate::record::own;
use crate::{Error, Result};

const HEAD: usize = 16;

/// A file that one operator instance writes and reads; removed with the last clone. A lock, not for threads of the job but
/// because the cut of a snapshot reads beside the operator.
#[derive(Clone, Debug)]
pub(crate) struct SpillFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    operator: Arc<str>,
    file: Mutex<(File, u64)>,
    spilled: Arc<AtomicU64>,
    _dir: SpillDir,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // If not, it goes with its directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where a block lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    offset: u64,
    bytes: u64,
    sum: u64,
}

impl Block {
    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl SpillFile {
    pub(super) fn new(dir: &SpillDir, operator: &Arc<str>, spilled: &Arc<AtomicU64>) -> Result<Self> {
        let (path, file) = dir.file(operator)?;
        Ok(SpillFile(Arc::new(Inner {
            path,
            operator: Arc::clone(operator),
            file: Mutex::new((file, 0)),
            spilled: Arc::clone(spilled),
            _dir: dir.clone(),
        })))
    }
    /// Writes a batch behind the others.
    ///
    /// # Errors
    /// If the disk refuses; the message names file and operator.
    pub(crate) fn append(&self, batch: &RecordBatch) -> Result<Block> {
        let batch = own(batch)?;
        let mut bytes = vec![0; HEAD];
        let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref())?;
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        let payload = bytes.get(HEAD..).unwrap_or(&[]);
        let (length, sum) = (payload.len() as u64, XxHash3_64::oneshot(payload));
        let head = length.to_le_bytes().into_iter().chain(sum.to_le_bytes());
        bytes.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        let mut guard = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, end) = &mut *guard;
        let offset = *end;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.write_all(&bytes))
            .map_err(|e| cannot_write(&self.0.path, &self.0.operator, e))?;
        *end += bytes.len() as u64;
        self.0.spilled.fetch_add(bytes.len() as u64, SeqCst);
        Ok(Block { offset, bytes: length, sum })
    }
    /// Reads a block back.
    ///
    /// # Errors
    /// If the disk refuses, or the block is not what was written.
    pub(crate) fn read(&self, block: &Block) -> Result<RecordBatch> {
        let mut bytes = vec![0; HEAD + usize::try_from(block.bytes).map_err(|_| Error::internal("a block larger than memory"))?];
        {
            let mut guard = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
            let file = &mut guard.0;
            file.seek(SeekFrom::Start(block.offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| {
                let what = format!("operator `{}` cannot read back the rows that it spilled", self.0.operator);
                Error::io(&self.0.path, what, e)
            })?;
        }
        let (head, payload) = bytes.split_at_checked(HEAD).unwrap_or_default();
        let expected = block.bytes.to_le_bytes().into_iter().chain(block.sum.to_le_bytes());
        if !head.iter().copied().eq(expected) || XxHash3_64::oneshot(payload) != block.sum {
            return Err(Error::Data {
                place: format!("{}, byte {}", self.0.path.display(), block.offset),
                what: format!(
                    "the rows that operator `{}` spilled are damaged (the checksum does not match): the disk or another program changed them; run the job again",
                    self.0.operator
                ),
            });
        }
        let mut reader = StreamReader::try_new(payload, None)?;
        reader.next().ok_or_else(|| Error::internal("a spilled block without a batch"))?.map_err(Error::from)
    }
    /// Where it is, for messages and tests.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0.path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;
    use crate::operator::spill::Memory;

    fn batch(rows: i64) -> RecordBatch {
        let text = (0..rows).map(|i| Some(format!("the number {i} as a text that is long"))).collect::<StringViewArray>();
        let columns: Vec<(&str, ArrayRef)> = vec![("n", Arc::new((0..rows).collect::<Int64Array>())), ("t", Arc::new(text))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn blocks_come_back_in_any_order_and_the_file_goes() {
        let base = tempfile::tempdir().unwrap();
        let dir = SpillDir::new(base.path()).unwrap();
        let file = Memory::new("p/s/sort", 1000, dir.clone()).file().unwrap();
        let blocks: Vec<Block> = [5, 0, 700].iter().map(|n| file.append(&batch(*n)).unwrap()).collect();
        for (block, rows) in blocks.iter().zip([5, 0, 700]).rev() {
            assert_eq!(file.read(block).unwrap(), batch(rows));
        }
        // a slice does not carry the text of the whole
        let whole = file.append(&batch(10_000)).unwrap();
        let part = file.append(&batch(10_000).slice(7, 2)).unwrap();
        assert!(part.bytes * 100 < whole.bytes);
        let path = file.path().to_owned();
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn damage_is_told_with_file_and_operator() {
        let base = tempfile::tempdir().unwrap();
        let file = Memory::new("p/s/sort", 1000, SpillDir::new(base.path()).unwrap()).file().unwrap();
        let (first, second) = (file.append(&batch(50)).unwrap(), file.append(&batch(50)).unwrap());
        let whole = std::fs::read(file.path()).unwrap();
        for at in [0, 9, 40, first.bytes as usize] {
            let mut broken = whole.clone();
            broken.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1);
            std::fs::write(file.path(), &broken).unwrap();
            let error = file.read(&first).unwrap_err().to_string();
            assert!(
                error.contains("`p/s/sort`") && error.contains("damaged") && error.contains(&*file.path().to_string_lossy()),
                "{error}"
            );
            assert!(file.read(&second).is_ok());
        }
        std::fs::write(file.path(), &whole[..whole.len() - 1]).unwrap();
        let error = file.read(&second).unwrap_err().to_string();
        assert!(error.contains("operator `p/s/sort` cannot read back") && error.contains(&*file.path().to_string_lossy()), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_told_with_file_and_operator() {
        // every write to this device fails as on a full disk
        let base = tempfile::tempdir().unwrap();
        let dir = SpillDir::new(base.path()).unwrap();
        let file = Memory::new("p/s/sort", 1000, dir).file().unwrap();
        file.0.file.lock().unwrap().0 = File::options().read(true).write(true).open("/dev/full").unwrap();
        let error = file.append(&batch(3)).unwrap_err().to_string();
        assert!(
            error.contains("operator `p/s/sort` cannot write") && error.contains("No space left") && error.contains("--spill-dir"),
            "{error}"
        );
    }
}
