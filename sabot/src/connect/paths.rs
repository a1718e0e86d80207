//! From what a user wrote (file, directory, glob) to a sorted list of files.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The files that `patterns` name. Patterns keep their order; the files of one directory or glob are sorted by path.
///
/// A directory stands for every file below it whose extension is one of `extensions`; names that begin with `.` or `_`
/// are skipped, as are directories reached through a symbolic link.
///
/// # Errors
/// [`Error::Io`] if a file is missing or a directory unreadable, [`Error::Usage`] if a pattern names nothing or two
/// patterns name the same file.
pub(crate) fn expand(patterns: &[String], extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let found = expand_one(pattern, extensions)?;
        if found.is_empty() {
            let ending = extensions.join(" or .");
            return Err(Error::usage(format!("`{pattern}` names no file (looked for .{ending})")));
        }
        files.extend(found);
    }
    let mut seen = std::collections::HashSet::new();
    for file in &files {
        if !seen.insert(file) {
            return Err(Error::usage(format!("`{}` is named twice: its rows would be read twice", file.display())));
        }
    }
    if files.is_empty() { Err(Error::usage("no file is named")) } else { Ok(files) }
}

/// The files that `patterns` name now, sorted by path, each once; there may be none.
///
/// # Errors
/// As for [`expand`].
pub(crate) fn present(patterns: &[String], extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = std::collections::BTreeSet::new();
    for pattern in patterns {
        match expand_one(pattern, extensions) {
            Ok(found) => files.extend(found),
            // not there yet, or taken away in the middle of looking
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(files.into_iter().collect())
}

fn expand_one(pattern: &str, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let mut files = Vec::new();
            walk(path, extensions, &mut files)?;
            files.sort();
            Ok(files)
        }
        Ok(_) => Ok(vec![path.to_path_buf()]),
        Err(_) if is_glob(pattern) => {
            let options = glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
            let matches =
                glob::glob_with(pattern, options).map_err(|e| Error::usage(format!("`{pattern}` is not a valid pattern: {e}")))?;
            let mut files = Vec::new();
            for found in matches {
                let found = found.map_err(|e| Error::io(e.path().to_path_buf(), "cannot list", std::io::Error::from(e.error().kind())))?;
                if found.is_file() {
                    files.push(found);
                }
            }
            files.sort();
            Ok(files)
        }
        Err(e) => Err(Error::io(path, "cannot open", e)),
    }
}

fn walk(dir: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, "cannot list", e))? {
        let entry = entry.map_err(|e| Error::io(dir, "cannot list", e))?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        let kind = entry.file_type().map_err(|e| Error::io(&path, "cannot inspect", e))?;
        if kind.is_dir() {
            walk(&path, extensions, files)?;
        } else if extension(&path).is_some_and(|e| extensions.contains(&e.as_str())) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a pattern holds a wildcard.
pub(crate) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The extension in lower case.
pub(crate) fn extension(path: &Path) -> Option<String> {
    path.extension().map(|e| e.to_string_lossy().to_lowercase())
}

/// `a.csv`, or `a.csv and 3 more files`.
pub(crate) fn describe(files: &[PathBuf]) -> String {
    match files {
        [] => "no file".into(),
        [one] => one.display().to_string(),
        [first, rest @ ..] => format!("{} and {} more file{}", first.display(), rest.len(), if rest.len() == 1 { "" } else { "s" }),
    }
}
