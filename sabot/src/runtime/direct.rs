//! Large files past the page cache: nobody reads a state soon after it was written, and copying it there takes most of the processor time
//! that writing takes (400 MiB here: 0.44 s of the system's time with the cache, 0.09 s without).
//!
//! Linux wants buffers and lengths that are whole blocks, so bytes go through a buffer of this file's, and what is left at the end is
//! written the usual way. So is everything where the system refuses.

use std::io;
use std::path::Path;

/// A file of fewer bytes is written the usual way.
const LEAST: usize = 1 << 20;

/// Writes as many of the bytes to the empty file at `path` as are whole blocks. Returns how many; 0 where that cannot be done.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<usize> {
    if parts.iter().map(|p| p.len()).sum::<usize>() < LEAST {
        return Ok(0);
    }
    blocks(path, parts)
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn blocks(path: &Path, parts: &[&[u8]]) -> io::Result<usize> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    /// `O_DIRECT`, which is not the same everywhere.
    const DIRECT: i32 = if cfg!(target_arch = "x86_64") { 0o40_000 } else { 0o200_000 };
    /// The largest block of a disk, and of memory, that is common.
    const BLOCK: usize = 4096;
    /// What is written at once. ext4 takes 180 ms of the system's time for a GiB in writes of 256 KiB, 72 in writes of 1 MiB, and 45 in
    /// writes of 4 MiB, which do not stay in a cache.
    const BUFFER: usize = 1 << 20;

    let Ok(mut file) = std::fs::OpenOptions::new().write(true).custom_flags(DIRECT).open(path) else { return Ok(0) };
    let mut memory = vec![0u8; BUFFER + BLOCK];
    let from = memory.as_ptr().align_offset(BLOCK);
    let Some(buffer) = memory.get_mut(from..).and_then(|m| m.get_mut(..BUFFER)) else { return Ok(0) };
    let (mut full, mut done) = (0, 0);
    let mut rest = parts.iter().copied().filter(|p| !p.is_empty());
    let mut part: &[u8] = &[];
    loop {
        if part.is_empty() {
            part = rest.next().unwrap_or_default();
        }
        let ended = part.is_empty();
        let some = part.len().min(BUFFER - full);
        if let (Some(room), Some((now, later))) = (buffer.get_mut(full..full + some), part.split_at_checked(some)) {
            room.copy_from_slice(now);
            part = later;
            full += some;
        }
        if full == BUFFER || ended {
            let whole = full / BLOCK * BLOCK;
            match file.write_all(buffer.get(..whole).unwrap_or(&[])) {
                // a file system that cannot
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(done),
                written => written?,
            }
            done += whole;
            full = 0;
        }
        if ended {
            return Ok(done);
        }
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn blocks(_path: &Path, _parts: &[&[u8]]) -> io::Result<usize> {
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_are_written_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for sizes in [&[LEAST - 1][..], &[LEAST], &[5, 0, LEAST * 2, 4091, 1], &[LEAST / 3; 7], &[1; 3]] {
            let parts: Vec<Vec<u8>> =
                sizes.iter().zip(0u8..).map(|(n, part)| (0..*n).map(|i| (i * 31 / 7) as u8 ^ part).collect()).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let path = dir.path().join("state");
            std::fs::File::create(&path).unwrap();
            let done = write(&path, &parts).unwrap();
            let all = parts.concat();
            assert!(done <= all.len() && (done == 0 || all.len() - done < 4096), "{sizes:?}: {done}");
            assert!(done == 0 || all.len() >= LEAST);
            assert_eq!(std::fs::read(&path).unwrap(), all[..done]);
        }
    }
}
