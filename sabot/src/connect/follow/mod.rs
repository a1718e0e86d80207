//! Files that grow, and directories that get files, as a source that does not end.
//!
//! `source` finds the files, `format` says how they are read, `lines` reads a file that grows line by line, `whole` one that appears as a whole.

mod format;
mod lines;
mod source;
mod whole;

pub use source::FollowSource;
