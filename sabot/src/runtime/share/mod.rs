//! A job in several processes: each runs its *share* of the tasks, and one *lead* coordinates them.
//!
//! Idea: a share is a job like any other, but that some of its channels end elsewhere ([`Carrier`]), and that whoever collects the
//! parts of its checkpoints, tells its sinks to publish and ends it is not in the same process: it says what has happened
//! ([`FromShare`]) and does what it is told ([`ToShare`]). The lead has no rows. It owns the place of the checkpoints.
//!
//! How both are carried is not said here: the messages are data, and so is the [`Share`] that a process begins with.

mod away;
mod fault;
mod lead;
mod lead_settle;
mod lead_state;
mod lease;
mod member;
mod messages;
mod meter;
mod placement;
mod run;
mod standstill;

pub(super) use away::Away;
pub(crate) use away::Up;
pub use fault::Fault;
pub use lead::{Lead, stages};
pub(crate) use member::{BEAT, Member};
pub use messages::{Counts, From, FromShare, Listed, NodeMetrics, Part, Share, ShareReport, ToShare};
pub use placement::{Placement, StageShape};
pub use run::run_share;

pub use crate::shuffle::Carrier;
