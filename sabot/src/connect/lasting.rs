//! A text file that grows with each checkpoint, hidden, and appears at the end of the job.

use std::fs::File;
use std::io::{ErrorKind, Seek};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::staged::{Staged, StagedWriter};
use crate::operator::{Beginning, Prepared, Preparing};
use crate::{Error, Result};

/// What a checkpoint holds: so much of the hidden file counts.
#[derive(Clone, Serialize, Deserialize)]
struct Mark {
    /// The file to be, absolute.
    target: PathBuf,
    length: u64,
    last: bool,
}

/// How a file sink begins: anew, or with what a checkpoint holds.
#[derive(Default)]
pub(crate) struct Lasting {
    keeps: bool,
    from: Option<Mark>,
}

impl Lasting {
    /// The job keeps checkpoints.
    pub(crate) fn begin(&mut self, target: &Path, beginning: Beginning<'_>) -> Result<()> {
        let target = absolute(target)?;
        let from = beginning.from.map(read).transpose()?;
        if let Some(from) = from.as_ref().filter(|f| f.target != target) {
            let (was, is) = (from.target.display(), target.display());
            return Err(Error::Checkpoint(format!("its rows are staged for {was}, but the sink is now {is}")));
        }
        (self.keeps, self.from) = (true, from);
        Ok(())
    }
    /// The file to write, and how long it is; `None` if it is complete.
    pub(crate) fn create(&self, target: &Path) -> Result<Option<(Staged, StagedWriter, u64)>> {
        if self.from.as_ref().is_some_and(|f| f.last) {
            return Ok(None);
        }
        let length = self.from.as_ref().map_or(0, |f| f.length);
        let (staged, writer) = if self.keeps { Staged::lasting(target, length)? } else { Staged::create(target)? };
        Ok(Some((staged, writer, length)))
    }
    /// All that was written, up to now; the format has flushed. `None` stands for a file that is complete.
    pub(crate) fn prepare(&self, target: &Path, staged: Option<&Staged>, last: bool) -> Result<Preparing> {
        let (file, mark) = match (staged, &self.from) {
            (Some(staged), _) => {
                let (file, length) = length(staged).map_err(|e| Error::io(target, "cannot write", e))?;
                (Some(file), Mark { target: absolute(target)?, length, last })
            }
            (None, Some(mark)) if mark.last => (None, mark.clone()),
            (None, _) => return Err(super::staged::not_open("the file sink")),
        };
        Ok(Preparing::new(move || {
            file.iter().try_for_each(File::sync_all).map_err(|e| Error::io(&mark.target, "cannot write", e))?;
            serde_json::to_value(&mark).map_err(|e| Error::internal(format!("a file of a checkpoint has no name: {e}")))
        }))
    }
    /// Puts the file in place if it is complete.
    pub(crate) fn publish(prepared: &Prepared) -> Result<()> {
        let mark = read(prepared)?;
        if !mark.last {
            return Ok(());
        }
        match std::fs::rename(Staged::lasting_name(&mark.target)?, &mark.target) {
            // It was put in place before, and perhaps taken away by a reader: nobody else touches what is hidden.
            Err(e) if e.kind() == ErrorKind::NotFound && mark.target.parent().is_some_and(Path::is_dir) => Ok(()),
            Err(e) => Err(Error::io(&mark.target, "cannot put the finished file in place", e)),
            Ok(()) => Staged::sync_directory(&mark.target),
        }
    }
}

fn length(staged: &Staged) -> std::io::Result<(File, u64)> {
    let mut file = staged.handle()?;
    let length = file.stream_position()?;
    Ok((file, length))
}

fn absolute(target: &Path) -> Result<PathBuf> {
    std::path::absolute(target).map_err(|e| Error::io(target, "cannot create", e))
}

fn read(prepared: &Prepared) -> Result<Mark> {
    Mark::deserialize(prepared).map_err(|e| Error::Checkpoint(format!("what a file sink prepared is broken: {e}")))
}
