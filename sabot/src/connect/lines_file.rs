//! A text file of a sink: it appears on commit, in place of an older one; with checkpoints it grows, hidden, and appears at the end.

use std::fmt::Display;
use std::path::PathBuf;

use super::lasting::Lasting;
use super::staged::{Staged, StagedWriter, not_open};
use crate::Result;
use crate::operator::{Beginning, Prepared, Preparing, TwoPhase};

/// What writes the lines of a format.
pub(crate) trait Lines: Send {
    /// How it fails.
    type Error: Display;
    /// Hands what it keeps over to the file.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// The file, and what writes to it while it is open.
pub(crate) struct LinesFile<L> {
    path: PathBuf,
    /// The format, for messages.
    format: &'static str,
    open: Option<(Staged, L)>,
    lasting: Lasting,
}

impl<L: Lines> LinesFile<L> {
    pub(crate) fn new(path: PathBuf, format: &'static str) -> Self {
        LinesFile { path, format, open: None, lasting: Lasting::default() }
    }
    pub(crate) fn describe(&self) -> String {
        self.path.display().to_string()
    }
    /// Makes the file, unless it is over. `lines` is told how many bytes are in it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn create(&mut self, lines: impl FnOnce(StagedWriter, u64) -> Result<L, L::Error>) -> Result<()> {
        if let Some((staged, writer, length)) = self.lasting.create(&self.path)? {
            let lines = lines(writer, length).map_err(|e| staged.error(self.format, e))?;
            self.open = Some((staged, lines));
        }
        Ok(())
    }
    /// The file, for its errors, and what writes to it.
    ///
    /// # Errors
    /// If it is not open.
    pub(crate) fn open(&mut self) -> Result<(&Staged, &mut L)> {
        let format = self.format;
        self.open.as_mut().map(|(staged, lines)| (&*staged, lines)).ok_or_else(|| not_open(&format!("the {format} sink")))
    }
    /// It is whole, and appears.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.flush()?;
        let (staged, lines) = self.open.take().ok_or_else(|| not_open(&format!("the {} sink", self.format)))?;
        drop(lines);
        staged.commit()
    }
    pub(crate) fn abort(&mut self) {
        self.open = None;
    }
    fn flush(&mut self) -> Result<()> {
        let Some((staged, lines)) = &mut self.open else { return Ok(()) };
        lines.flush().map_err(|e| staged.error(self.format, e))
    }
}

impl<L: Lines> TwoPhase for LinesFile<L> {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        self.lasting.begin(&self.path, beginning)
    }
    fn prepare(&mut self, _epoch: u64, last: bool) -> Result<Preparing> {
        self.flush()?;
        let preparing = self.lasting.prepare(&self.path, self.open.as_ref().map(|(staged, _)| staged), last)?;
        if last {
            self.open = None;
        }
        Ok(preparing)
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        Lasting::publish(prepared)
    }
}
