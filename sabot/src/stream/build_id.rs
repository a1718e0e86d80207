//! Which executable this process runs.
//!
//! Linkers write a hash of all that they have written into ELF files (`--build-id`, which compilers for Linux ask for). It is found by reading a few
//! hundred bytes, while to hash the 270 MB of a debug build takes such a build more than a second, in every process. Where there is none, the
//! file is hashed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::OnceLock;

use crate::kernel::hash::hash_bytes;

/// The linker's hash, among the notes of an ELF file.
const NT_GNU_BUILD_ID: u32 = 3;
/// The kind of a segment of notes.
const PT_NOTE: u32 = 4;
/// Notes are shorter than this, and so are the tables of segments.
const SHORT: u64 = 1 << 16;

/// Identifies this binary: the version of Sabot and a hash of the executable. Plans and checkpoints do not travel between builds.
///
/// Example: [`JobSpec`](super::JobSpec).
pub fn build_id() -> String {
    static ID: OnceLock<String> = OnceLock::new();
    let id = ID.get_or_init(|| format!("{}-{:016x}", env!("CARGO_PKG_VERSION"), hash().unwrap_or_default())).clone();
    #[cfg(all(test, feature = "cluster"))]
    if let Some(build) = crate::cluster::simulated_build() {
        return format!("{id}-{build}");
    }
    id
}

fn hash() -> Option<u64> {
    // the file that was started, also if another one has its name by now
    let mut exe = File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?)).ok()?;
    if let Some(mut id) = linked(&mut exe) {
        // an id may be chosen by hand: the length tells most of such files apart
        id.extend_from_slice(&exe.metadata().ok()?.len().to_le_bytes());
        return Some(hash_bytes(&id));
    }
    let mut all = Vec::new();
    exe.seek(SeekFrom::Start(0)).ok()?;
    exe.read_to_end(&mut all).ok()?;
    Some(hash_bytes(&all))
}

/// The linker's hash of a 64-bit little-endian ELF file, if it has one.
fn linked(file: &mut (impl Read + Seek)) -> Option<Vec<u8>> {
    let head = bytes(file, 0, 64)?;
    // magic number, 64 bits, little-endian
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (u64_at(&head, 32)?, u16_at(&head, 54)?, u16_at(&head, 56)?);
    let segments = bytes(file, table, u64::from(size) * u64::from(count))?;
    for segment in segments.chunks_exact(usize::from(size).max(1)) {
        if u32_at(segment, 0)? != PT_NOTE {
            continue;
        }
        let notes = bytes(file, u64_at(segment, 8)?, u64_at(segment, 32)?)?;
        if let Some(id) = find(&notes) {
            return Some(id);
        }
    }
    None
}

/// The hash among notes: lengths of name and contents, a kind, the name, the contents, each filled up to four bytes.
fn find(mut notes: &[u8]) -> Option<Vec<u8>> {
    let filled = |n: usize| n.checked_next_multiple_of(4);
    while !notes.is_empty() {
        let (name, contents, kind) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize, u32_at(notes, 8)?);
        let rest = notes.get(12..)?;
        let (called, rest) = (rest.get(..name)?, rest.get(filled(name)?..)?);
        let id = rest.get(..contents)?;
        if kind == NT_GNU_BUILD_ID && called == b"GNU\0" && !id.is_empty() {
            return Some(id.to_vec());
        }
        notes = rest.get(filled(contents)?..)?;
    }
    None
}

fn bytes(file: &mut (impl Read + Seek), from: u64, count: u64) -> Option<Vec<u8>> {
    if count > SHORT {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(count).ok()?];
    file.seek(SeekFrom::Start(from)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn note(name: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = [name.len() as u32, contents.len() as u32, kind].iter().flat_map(|n| n.to_le_bytes()).collect();
        for part in [name, contents] {
            out.extend_from_slice(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }
    /// A file with two segments, the second of which has these notes.
    fn elf(notes: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&2u16.to_le_bytes());
        file[64..68].copy_from_slice(&1u32.to_le_bytes());
        let segment = 64 + 56;
        file[segment..segment + 4].copy_from_slice(&PT_NOTE.to_le_bytes());
        file[segment + 8..segment + 16].copy_from_slice(&176u64.to_le_bytes());
        file[segment + 32..segment + 40].copy_from_slice(&(notes.len() as u64).to_le_bytes());
        file.extend_from_slice(notes);
        file
    }

    #[test]
    fn the_linkers_hash_is_found_behind_other_notes() {
        let others = [note(b"GNU\0", 1, &[0; 16]), note(b"Go\0\0", NT_GNU_BUILD_ID, b"other"), note(b"stapsdt\0", 3, b"x")].concat();
        let wanted = b"\x01\x02\x03\x04\x05\x06\x07\x08\x09";
        let file = elf(&[others.clone(), note(b"GNU\0", NT_GNU_BUILD_ID, wanted), note(b"GNU\0", 5, b"behind")].concat());
        assert_eq!(linked(&mut Cursor::new(&file)).as_deref(), Some(&wanted[..]));
        assert_eq!(linked(&mut Cursor::new(elf(&others))), None);
        assert_eq!(linked(&mut Cursor::new(b"#!/bin/sh\n".repeat(20))), None);
        // what is cut off, or says nonsense, is no reason to fail
        for end in 0..file.len() {
            let _ = linked(&mut Cursor::new(&file[..end]));
            let mut broken = file.clone();
            broken[end] ^= 0xff;
            let _ = linked(&mut Cursor::new(broken));
        }
    }

    #[test]
    fn this_executable_has_an_id_that_stays() {
        let id = build_id();
        assert!(id.starts_with(env!("CARGO_PKG_VERSION")) && !id.ends_with("-0000000000000000"), "{id}");
        assert_eq!(id, build_id());
        assert_eq!(hash(), hash());
    }
}
