//! Who may write the next checkpoint, where no process can keep others out.
//!
//! Idea: the names of manifests are slots in a row, each written once, by whoever comes first. A process that starts takes the slot behind
//! the newest one with a *claim* in place of a manifest. That is where the process before it would write its next manifest: it is refused
//! there, however late it comes, because claims stay. If that process was faster, the claim is refused instead, and the newcomer looks
//! again. So of all manifests there is one row, and what a process finds behind its claim is all that there will be before it.
//!
//! A claim says where the manifests of its process begin, which manifests there were, and the number of the process (its generation).

use serde::{Deserialize, Serialize};

use super::storage::Storage;
use super::store::{manifest, slots};
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"SABOTCLM";

/// How often a process that starts may be outrun by one that writes checkpoints.
const ATTEMPTS: u32 = 100;

#[derive(Serialize, Deserialize)]
struct Claim {
    generation: u64,
    /// The slots of the manifests that were there.
    manifests: Vec<u64>,
    /// The slot of the first manifest of this process.
    next: u64,
    /// Tells claims for one slot apart.
    token: String,
}

/// What is in a store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The slots of manifests, ascending.
    pub(super) manifests: Vec<u64>,
    /// The slot that the last process would write next.
    pub(super) next: u64,
    /// The number of the last process that made a claim.
    pub(super) generation: u64,
}

fn claim_at(storage: &dyn Storage, slot: u64) -> Result<Option<Claim>> {
    let name = manifest(slot);
    if storage.part(&name, 0..MAGIC.len() as u64)?.is_none_or(|start| start != MAGIC) {
        return Ok(None);
    }
    let bytes = storage.read(&name)?.unwrap_or_default();
    let claim = bytes.strip_prefix(MAGIC).and_then(|text| serde_json::from_slice(text).ok());
    claim.map(Some).ok_or_else(|| Error::Checkpoint(format!("{} is damaged; restore it from a copy", storage.place(&name).display())))
}

/// What is in a store: a few reads, whatever the number of claims.
pub(super) fn look(storage: &dyn Storage) -> Result<Seen> {
    let slots = slots(storage)?;
    let mut seen = Seen { next: slots.last().map_or(1, |newest| newest + 1), ..Seen::default() };
    for slot in slots.iter().rev() {
        let Some(claim) = claim_at(storage, *slot)? else {
            seen.manifests.push(*slot);
            continue;
        };
        seen.next = seen.next.max(claim.next);
        seen.generation = claim.generation;
        seen.manifests.extend(claim.manifests.into_iter().rev().filter(|m| slots.contains(m)));
        break;
    }
    seen.manifests.reverse();
    Ok(seen)
}

/// The newest manifest of a store.
pub(super) fn newest(storage: &dyn Storage) -> Result<Option<u64>> {
    let slots = slots(storage)?;
    let Some(newest) = slots.last().copied() else { return Ok(None) };
    Ok(match claim_at(storage, newest)? {
        None => Some(newest),
        Some(claim) => claim.manifests.into_iter().rfind(|m| slots.contains(m)),
    })
}

/// Claims the slot behind what was seen, for manifests that begin at `next`; `false` if another process was faster.
pub(super) fn claim(storage: &dyn Storage, seen: &Seen, generation: u64, next: u64) -> Result<bool> {
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), generation);
    let token = format!("{:x}-{}", random, std::process::id());
    let claim = Claim { generation, manifests: seen.manifests.clone(), next, token };
    let text = serde_json::to_vec(&claim).map_err(|e| Error::internal(e.to_string()))?;
    storage.create(&manifest(seen.next), &claim.token, &[MAGIC, &text])
}

/// Calls `attempt` until it says that its claim stands.
pub(super) fn until_claimed<T>(storage: &dyn Storage, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..ATTEMPTS {
        if let Some(claimed) = attempt()? {
            return Ok(claimed);
        }
    }
    Err(Error::Checkpoint(format!(
        "another process runs the job of `{}`, and its checkpoints come faster than this one can take over: end it first",
        storage.place("").display()
    )))
}
