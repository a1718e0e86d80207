//! A join's state where rows come out by key group: the build side, and the rows that wait.

use std::collections::BTreeMap;

use crate::operator::by_group::ByGroup;
use crate::operator::{Frozen, GroupState, ipc};
use crate::{Error, Result};

/// Rows that a key group has sent, in a snapshot's metadata.
const EMITTED: &str = "sabot.emitted";

/// By key group: the length of the build side's state, that state, and the rows that wait.
pub(super) fn write(build: Frozen, out: ByGroup) -> Frozen {
    Frozen::new(move || {
        let mut states: BTreeMap<u16, Vec<u8>> = build.write()?.into_iter().map(|s| (s.group, s.bytes)).collect();
        let sent = (0u16..).zip(out.emitted()).filter(|(_, rows)| **rows > 0).map(|(group, _)| group);
        for group in out.groups().into_iter().chain(sent) {
            states.entry(group).or_default();
        }
        let mut all = Vec::new();
        for (group, state) in states {
            let mut bytes = (state.len() as u64).to_le_bytes().to_vec();
            bytes.extend(state);
            let emitted = out.emitted().get(usize::from(group)).copied().unwrap_or_default();
            ipc::push(&ipc::tagged(&out.waiting(group)?, [(EMITTED.to_owned(), emitted.to_string())])?, &mut bytes)?;
            all.push(GroupState { group, bytes });
        }
        Ok(all)
    })
}

/// Gives `out` its rows; returns the state of the build side, if it has any.
pub(super) fn read(state: &GroupState, out: &mut ByGroup) -> Result<Option<GroupState>> {
    let broken = || Error::Checkpoint("the state of a join is cut short".into());
    let mut bytes = state.bytes.as_slice();
    let head = crate::record::take(&mut bytes, 8)?.first_chunk::<8>().copied().unwrap_or_default();
    let length = usize::try_from(u64::from_le_bytes(head)).map_err(|_| broken())?;
    let build = crate::record::take(&mut bytes, length)?.to_vec();
    let waiting = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
    let emitted = ipc::tag(&waiting, EMITTED).and_then(|t| t.parse().ok()).ok_or_else(broken)?;
    let groups = vec![state.group; waiting.num_rows()];
    out.put(waiting, &groups)?;
    out.set_emitted(state.group, emitted);
    Ok((!build.is_empty()).then_some(GroupState { group: state.group, bytes: build }))
}
