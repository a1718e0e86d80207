//! Who leads. One server at a time writes to a store and runs its workflows.
//!
//! An embedded store is led by who has the lock of its directory, which the operating system gives back when the process ends, however it does. Each
//! leadership has a number greater than those before, its [`Fence`]; every write names it. On Postgres the place is a lock of a session that the leader
//! keeps open: when it is lost, [`Leader::lost`] says so, and the server has to stop being leader at once.

use std::fs::File;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Server;

/// The number of a leadership: of two, the greater leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(pub u64);
impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a try to lead.
#[derive(Debug)]
pub enum Claim {
    /// This server leads.
    Leads(Leader),
    /// Another does; who, if it has said so yet.
    Held(Option<Server>),
}

/// The leader's place. Dropped, it is free.
#[derive(Debug)]
pub struct Leader {
    fence: Fence,
    lost: watch::Receiver<Option<String>>,
    _keeps: Keeps,
}
#[derive(Debug)]
#[expect(dead_code, reason = "held until it is dropped")]
enum Keeps {
    Lock(File, watch::Sender<Option<String>>),
    Memory(std::sync::Arc<()>, watch::Sender<Option<String>>),
    #[cfg(feature = "cluster-postgres")]
    Session(super::postgres::Held),
}
impl Leader {
    pub(super) fn embedded(fence: Fence, lock: File) -> Self {
        let (sender, lost) = watch::channel(None);
        Leader { fence, lost, _keeps: Keeps::Lock(lock, sender) }
    }
    pub(super) fn memory(fence: Fence, place: std::sync::Arc<()>) -> Self {
        let (sender, lost) = watch::channel(None);
        Leader { fence, lost, _keeps: Keeps::Memory(place, sender) }
    }
    #[cfg(feature = "cluster-postgres")]
    pub(super) fn postgres(held: super::postgres::Held) -> Self {
        Leader { fence: held.fence, lost: held.lost.clone(), _keeps: Keeps::Session(held) }
    }
    /// Its number.
    pub fn fence(&self) -> Fence {
        self.fence
    }
    /// Whether this server still leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.lost.borrow().is_none()
    }
    /// Waits until it does not: why, as a sentence. The leader of an embedded store never loses its place while it lives.
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => why.clone(),
            _ => "the leader's place was given back".to_owned(),
        }
    }
}

impl Server {
    /// This process, reached at an address, from a time on.
    pub fn here(address: impl Into<String>, since: i64) -> Self {
        let host = super::super::host_name().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "this machine".to_owned());
        Server { pid: std::process::id(), host, address: address.into(), since }
    }
}
