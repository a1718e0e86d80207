//! Which store keeps the checkpoints: a directory, or an object store that is named by an address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::storage::{Disk, Storage};
use super::{Checkpoint, RunOptions};
use crate::{Error, Result};

/// How often, and after which wait, an object store is asked again after an error that may pass.
pub(super) type Patience = (u32, Duration);

/// The patience of a job with these options.
pub(super) fn patience(options: &RunOptions) -> Patience {
    (options.retries, options.retry_wait)
}

/// The patience of who only looks.
pub(super) fn usual() -> Patience {
    patience(&RunOptions::default())
}

/// The address that a path is, as scheme and rest, if it is one.
fn address(path: &Path) -> Option<(&str, &str)> {
    let (scheme, rest) = path.to_str()?.split_once("://")?;
    let plain = scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    plain.then_some((scheme, rest))
}

/// The directory that a path names: itself, or what follows `file://`.
fn directory(path: &Path) -> Result<Option<PathBuf>> {
    match address(path) {
        None => Ok(Some(path.to_path_buf())),
        Some(("file", rest)) if rest.starts_with('/') => Ok(Some(PathBuf::from(rest))),
        Some(("file", _)) => Err(Error::Usage(format!("`{}` names a host; write `file:///` and the directory", path.display()))),
        Some(_) => Ok(None),
    }
}

/// Whether a path is the address of something that is no file of this machine.
pub(super) fn is_remote(path: &Path) -> bool {
    address(path).is_some_and(|(scheme, _)| scheme != "file")
}

/// The store of the checkpoints at `dir`, a directory or an address. `make` makes a missing directory.
///
/// # Errors
/// If the address has no meaning, or its feature is not built in.
pub(super) fn open(dir: &Path, make: bool, patience: Patience) -> Result<Arc<dyn Storage>> {
    match directory(dir)? {
        Some(dir) if make => Ok(Arc::new(Disk::make(&dir)?)),
        Some(dir) => Ok(Arc::new(Disk::at(&dir))),
        None => objects(dir, patience),
    }
}

#[cfg(feature = "object-store")]
fn objects(dir: &Path, patience: Patience) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(super::objects::Objects::open(dir, patience)?))
}

#[cfg(not(feature = "object-store"))]
fn objects(dir: &Path, _patience: Patience) -> Result<Arc<dyn Storage>> {
    let feature = match address(dir).map(|(scheme, _)| scheme) {
        Some("s3" | "s3a") => "aws",
        Some("gs") => "gcp",
        Some("az" | "adl" | "azure" | "abfs" | "abfss") => "azure",
        Some("memory") => "object-store",
        _ => {
            return Err(Error::Usage(format!(
                "`{}` is no place for checkpoints: name a directory, or an object store, `s3://bucket/..`, `gs://bucket/..` or `az://container/..`",
                dir.display()
            )));
        }
    };
    Err(Error::Usage(format!(
        "`{}` is in an object store, and {}, or name a directory",
        dir.display(),
        crate::words::without_feature(feature)
    )))
}

/// The store and the name of the file or object at `path`.
pub(super) fn apart(path: &Path) -> Result<(Arc<dyn Storage>, String)> {
    let missing = || Error::io(path, "cannot read the checkpoint", std::io::ErrorKind::NotFound.into());
    if let Some(file) = directory(path)? {
        let name = file.file_name().and_then(|n| n.to_str()).ok_or_else(missing)?;
        return Ok((Arc::new(Disk::at(file.parent().unwrap_or(Path::new("")))), name.to_owned()));
    }
    let text = path.to_str().unwrap_or_default();
    let (dir, name) = text.rsplit_once('/').filter(|(dir, _)| !dir.ends_with('/')).ok_or_else(missing)?;
    Ok((open(Path::new(dir), false, usual())?, name.to_owned()))
}

impl Checkpoint {
    /// Reads what [`write_file`](Self::write_file) wrote, or a savepoint, which may be in an object store: `path` is then its address.
    ///
    /// # Errors
    /// If it cannot be read, is no checkpoint, is damaged, or is of a version of the format that this program does not know.
    pub fn read_file(path: &Path) -> Result<Checkpoint> {
        let (storage, name) = apart(path)?;
        let missing = || Error::io(path, "cannot read the checkpoint", std::io::ErrorKind::NotFound.into());
        let read = Self::parse(&storage.read(&name)?.ok_or_else(missing)?, path)?;
        match read.states.iter().find_map(|s| s.stored.as_ref()) {
            Some(stored) => Err(Error::Checkpoint(format!(
                "{} does not hold all of its states (some are in {}): continue from its directory, or make a savepoint",
                path.display(),
                stored.file
            ))),
            None => Ok(read),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_told_from_an_address() {
        let of = |text: &str| directory(Path::new(text)).map(|d| d.map(|d| d.display().to_string()));
        assert_eq!(of("state/ledger").unwrap().as_deref(), Some("state/ledger"));
        assert_eq!(of("c:/state").unwrap().as_deref(), Some("c:/state"));
        assert_eq!(of("file:///var/state").unwrap().as_deref(), Some("/var/state"));
        assert_eq!(of("s3://bucket/ledger").unwrap(), None);
        assert!(of("file://host/state").unwrap_err().to_string().contains("write `file:///` and the directory"));
        assert!(is_remote(Path::new("memory:///x")) && !is_remote(Path::new("file:///x")));
    }

    #[cfg(not(feature = "aws"))]
    #[test]
    fn a_store_that_is_not_built_in_is_refused_by_the_name_of_its_feature() {
        for (address, feature) in [("s3://bucket/ledger", "`aws`"), ("gs://bucket/ledger", "`gcp`"), ("az://c/ledger", "`azure`")] {
            let error = open(Path::new(address), true, usual()).err().unwrap().to_string();
            assert!(error.contains(address) && error.contains(feature), "{error}");
        }
    }
}
