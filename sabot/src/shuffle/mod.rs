//! How rows travel between tasks: partitioners, and in-process channels counted in bytes.
//!
//! An exchange edge gives every producer instance one channel to every consumer instance. Rows are routed; marks go to
//! all channels, in band, so that a channel alone tells its consumer what has been delivered.

mod by_number;
mod channel;
#[cfg(feature = "cluster")]
pub mod flight;
mod message;
mod outlet;
mod partition;
mod remote;
pub mod session;

pub use by_number::ByNumber;
pub use channel::Channel;
pub use message::Message;
pub use outlet::Outlet;
pub use partition::Partitioner;
pub use remote::{Carrier, Host, LinkId, Links, Remote};
