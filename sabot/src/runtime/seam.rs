//! Places where a test may kill the process: `SABOT_CRASH_AT=written:3` aborts at the third checkpoint that was written.
//! Debug builds only.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The process dies here if it was told to.
pub(super) fn seam(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    static WHERE: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let chosen = WHERE.get_or_init(|| {
        let text = std::env::var("SABOT_CRASH_AT").ok()?;
        let (name, times) = text.split_once(':')?;
        Some((name.to_owned(), times.parse().ok()?))
    });
    if let Some((chosen, times)) = chosen
        && chosen == name
        && PASSED.fetch_add(1, SeqCst) + 1 == *times
    {
        std::process::abort();
    }
}
