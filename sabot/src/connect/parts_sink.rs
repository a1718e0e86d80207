//! A directory as a sink: a file with each checkpoint, or one at the end.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use super::staged::not_open;
use crate::operator::{Beginning, Prepared, Preparing, Sink, TwoPhase};
use crate::{Error, Result};

/// The names of all that is staged begin so: by this sink, or by the sink of a part.
const HIDDEN: [&str; 2] = [".part-", "..part-"];

type Make = Box<dyn Fn(PathBuf) -> Result<Box<dyn Sink>> + Send>;

/// Files `part-<checkpoint>.<ending>` in a directory, which is made if missing.
///
/// In a job that keeps checkpoints, each checkpoint with new rows adds a file, once it is durable: what is staged is hidden (its
/// name begins with a dot, which sources skip), written out and synced with the checkpoint, then renamed. A file is never
/// changed or added twice, whenever the process dies. In other jobs there is one file, which appears at the end. A job begins
/// with a directory without visible files. Files may be taken away while the job runs.
///
/// While in use, the directory is locked (Unix), so that no two sinks write to one; unless whoever runs the job on several machines
/// [sees to that](Beginning::fenced).
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::{CsvSink, PartsSink};
/// use sabot::operator::Sink;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let dir = tempfile::tempdir()?;
/// let mut sink = PartsSink::new(dir.path().join("out"), "csv", |path| Ok(Box::new(CsvSink::new(path, &Default::default())?)));
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// sink.commit()?; // in a job that keeps checkpoints there is a file for each of them
/// let names = std::fs::read_dir(dir.path().join("out"))?.map(|f| Ok(f?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
/// let shown = names.iter().filter(|n| n.to_string_lossy().starts_with("part-"));
/// assert_eq!(shown.count(), 1);
/// # Ok(()) }
/// ```
pub struct PartsSink {
    path: PathBuf,
    ending: &'static str,
    make: Make,
    generation: u64,
    /// Files that this process has staged.
    staged: u64,
    /// Files that were prepared, in all.
    parts: u64,
    open: Option<Open>,
    dir: Option<Dir>,
}

struct Open {
    schema: SchemaRef,
    part: Option<Part>,
}

/// The directory, known and locked.
struct Dir {
    path: PathBuf,
    _lock: Option<File>,
}

/// The file being written.
struct Part {
    sink: Box<dyn Sink>,
    hidden: String,
    rows: usize,
}

/// What a checkpoint holds.
#[derive(Serialize, Deserialize)]
struct Cut {
    /// The directory, absolute.
    dir: PathBuf,
    epoch: u64,
    parts: u64,
    /// The staged file and its name to be, if there were rows.
    file: Option<(String, String)>,
    last: bool,
}

impl PartsSink {
    /// Files with this ending in `path`; `make` makes the sink of one file.
    pub fn new(path: impl Into<PathBuf>, ending: &'static str, make: impl Fn(PathBuf) -> Result<Box<dyn Sink>> + Send + 'static) -> Self {
        PartsSink { path: path.into(), ending, make: Box::new(make), generation: 0, staged: 0, parts: 0, open: None, dir: None }
    }
    /// Whether a path stands for a directory: it ends in `/`, or is one.
    pub(crate) fn names_directory(path: &Path) -> bool {
        let ends = |c: char| u8::try_from(c).is_ok_and(|c| path.as_os_str().as_encoded_bytes().last() == Some(&c));
        ends('/') || ends(std::path::MAIN_SEPARATOR) || (!path.as_os_str().is_empty() && path.is_dir())
    }

    /// The files that count now, in the order in which they were added.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn committed(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
        let io = |e| Error::io(dir, "cannot list this directory", e);
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(number) = number(&name).filter(|_| path.extension().is_some_and(|e| e == ending)) {
                files.push((number, path));
            }
        }
        files.sort_unstable();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    /// Finds and locks the directory; removes what was staged by processes that died, but for the file of `from`.
    fn enter(&mut self, from: Option<&Cut>, fenced: bool) -> Result<()> {
        let target = self.path.as_path();
        let io = |what: &'static str| move |e| Error::io(target, what, e);
        if from.is_none() {
            fs::create_dir_all(&self.path).map_err(io("cannot make this directory"))?;
        }
        let path = self.path.canonicalize().map_err(io("cannot open this directory"))?;
        if let Some(from) = from.filter(|f| f.dir != path) {
            return Err(Error::Checkpoint(format!("its files are in {}, but the sink is now {}", from.dir.display(), path.display())));
        }
        let lock = (cfg!(unix) && !fenced).then(|| locked(&path)).transpose()?;
        for entry in fs::read_dir(&path).map_err(io("cannot list this directory"))? {
            let entry = entry.map_err(io("cannot list this directory"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let shown = || format!("`{}` has a file `{name}`", self.path.display());
            if HIDDEN.iter().any(|h| name.starts_with(h)) {
                if from.and_then(|f| f.file.as_ref()).is_none_or(|(hidden, _)| *hidden != name) {
                    fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), "cannot remove what a job that died has left", e))?;
                }
                continue;
            }
            if name.starts_with('.') {
                continue;
            }
            if let Some(from) = from {
                if number(&name).is_some_and(|n| n > from.epoch) {
                    let what = "which was written after the checkpoint that the job continues from; its rows would be there twice. Remove it, and all later ones, if this is meant";
                    return Err(Error::Checkpoint(format!("{}, {what}", shown())));
                }
            } else {
                return Err(Error::Usage(format!(
                    "{}: a new job writes to a directory without files; remove them, or name another",
                    shown()
                )));
            }
        }
        (self.parts, self.dir) = (from.map_or(0, |f| f.parts), Some(Dir { path, _lock: lock }));
        Ok(())
    }
    fn dir(&self) -> Result<&Path> {
        self.dir.as_ref().map(|d| d.path.as_path()).ok_or_else(|| not_open("the directory sink"))
    }
    fn part(&mut self, schema: &SchemaRef) -> Result<Part> {
        self.staged += 1;
        let hidden = format!(".part-{}-{}.{}", self.generation, self.staged, self.ending);
        let mut sink = (self.make)(self.dir()?.join(&hidden))?;
        sink.open(schema)?;
        Ok(Part { sink, hidden, rows: 0 })
    }
    fn show(&mut self, cut: &Cut) -> Result<()> {
        if let Some((hidden, name)) = &cut.file {
            let path = cut.dir.join(name);
            match fs::rename(cut.dir.join(hidden), &path) {
                // It was shown before, and perhaps taken away by a reader: nobody else touches what is hidden.
                Err(e) if e.kind() == ErrorKind::NotFound && cut.dir.is_dir() => {}
                renamed => renamed.map_err(|e| Error::io(&path, "cannot put the finished file in place", e))?,
            }
            if cfg!(unix) {
                let synced = File::open(&cut.dir).and_then(|d| d.sync_all());
                synced.map_err(|e| Error::io(&cut.dir, "cannot make the finished file durable", e))?;
            }
        }
        if cut.last && self.open.is_some() {
            self.dir = None;
        }
        Ok(())
    }
    /// Ends the file being written, if it has rows or is the only one.
    fn cut(&mut self, epoch: u64, last: bool) -> Result<(Option<Part>, Cut)> {
        let parts = self.parts;
        let open = self.open.as_mut().ok_or_else(|| not_open("the directory sink"))?;
        let part = match open.part.take() {
            Some(part) if part.rows > 0 || (last && parts == 0) => Some(part),
            empty => {
                open.part = empty.filter(|_| !last);
                None
            }
        };
        self.parts += u64::from(part.is_some());
        let file = part.as_ref().map(|p| (p.hidden.clone(), format!("part-{epoch:08}.{}", self.ending)));
        Ok((part, Cut { dir: self.dir()?.to_path_buf(), epoch, parts: self.parts, file, last }))
    }
}

/// The checkpoint that a file was added with, by its name.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("part-")?.split('.').next()?.parse().ok()
}

fn locked(dir: &Path) -> Result<File> {
    let file = File::open(dir).map_err(|e| Error::io(dir, "cannot open this directory", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Usage(format!("another sink or process writes to `{}`: give each a directory of its own", dir.display())))
        }
        // Some network file systems have no locks; the directory of checkpoints has one of its own.
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(Error::io(dir, "cannot lock this directory", e)),
    }
}

impl Sink for PartsSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.dir.is_none() {
            self.enter(None, false)?;
        }
        // Now, because columns that cannot be stored are refused at the start.
        let part = Some(self.part(schema)?);
        self.open = Some(Open { schema: SchemaRef::clone(schema), part });
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(|| not_open("the directory sink"))?;
        let part = match open.part.take() {
            Some(part) => part,
            None => {
                let schema = SchemaRef::clone(&open.schema);
                self.part(&schema)?
            }
        };
        let open = self.open.as_mut().ok_or_else(|| not_open("the directory sink"))?;
        let part = open.part.insert(part);
        part.rows += batch.num_rows();
        part.sink.write(batch)
    }
    fn commit(&mut self) -> Result<()> {
        let (part, cut) = self.cut(1, true)?;
        if let Some(mut part) = part {
            part.sink.commit()?;
        }
        self.show(&cut)?;
        self.open = None;
        Ok(())
    }
    fn abort(&mut self) {
        if let Some(mut part) = self.open.take().and_then(|open| open.part) {
            part.sink.abort();
        }
        self.dir = None;
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

impl TwoPhase for PartsSink {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        self.generation = beginning.generation;
        let from = beginning.from.map(read).transpose()?;
        // A job that begins with a savepoint may begin another directory: the savepoint's files were all put in place.
        let elsewhere = |from: &Cut| beginning.savepoint && self.path.canonicalize().map_or(true, |path| path != from.dir);
        self.enter(from.filter(|from| !elsewhere(from)).as_ref(), beginning.fenced)
    }
    fn prepare(&mut self, epoch: u64, last: bool) -> Result<Preparing> {
        let (part, cut) = self.cut(epoch, last)?;
        Ok(Preparing::new(move || {
            if let Some(mut part) = part {
                part.sink.commit()?;
            }
            serde_json::to_value(&cut).map_err(|e| Error::internal(format!("a file of a checkpoint has no name: {e}")))
        }))
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        self.show(&read(prepared)?)
    }
}

fn read(prepared: &Prepared) -> Result<Cut> {
    Cut::deserialize(prepared).map_err(|e| Error::Checkpoint(format!("what a directory sink prepared is broken: {e}")))
}
