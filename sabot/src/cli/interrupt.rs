//! Ctrl-C: the first asks an endless job to end gracefully, and cancels a job that ends by itself, because a part of its
//! result would look whole; the next cancels, the third ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{INTERRUPTED, say};
use crate::runtime::Control;

/// How often the user has asked to end.
#[derive(Clone, Default)]
pub(super) struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// Listens from now on. Without a handler (another one is in place) Ctrl-C ends the process as usual.
    pub(super) fn listen(control: &Control, endless: bool) -> Self {
        let interrupts = Interrupts::default();
        let (count, control) = (Arc::clone(&interrupts.0), control.clone());
        let _ = ctrlc::set_handler(move || match count.fetch_add(1, SeqCst) {
            0 if endless => {
                say("stopping: the sources end here, what was read is finished; Ctrl-C again to cancel");
                control.stop();
            }
            0 | 1 => control.cancel(),
            _ => std::process::exit(INTERRUPTED),
        });
        interrupts
    }
    /// Whether the user asked at all.
    pub(super) fn any(&self) -> bool {
        self.0.load(SeqCst) > 0
    }
}
