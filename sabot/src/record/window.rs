//! Proofs of position: the tokens that let accessors read without a bounds check.
//!
//! A [`Window`] is up to 64 rows of a batch, a [`Lane`] one row of a window. Only this crate makes them, and only from
//! a batch whose columns were all checked to hold that many rows, so safe accessors may rely on them.

/// The rows of a window: one validity word, one predicate word.
pub const LANES: usize = 64;

/// Up to [`LANES`] consecutive rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    base: usize,
    len: usize,
}

impl Window {
    /// The window of `len` rows that starts at row `base`.
    ///
    /// # Safety
    /// `len <= LANES`, and every column that is read through this window has at least `base + len` rows.
    #[inline(always)]
    pub(crate) unsafe fn new(base: usize, len: usize) -> Self {
        debug_assert!(len <= LANES);
        Window { base, len }
    }
    /// Number of the first row.
    #[inline(always)]
    pub fn base(self) -> usize {
        self.base
    }
    /// Number of rows, at most [`LANES`].
    #[inline(always)]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.len
    }
}

/// One row of a [`Window`].
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    index: usize,
    text: bool,
}

impl Lane {
    /// Lane `lane` of the current window.
    ///
    /// # Safety
    /// `lane` is less than the length of the window whose chunks are read with it.
    #[inline(always)]
    pub(crate) unsafe fn new(lane: usize) -> Self {
        debug_assert!(lane < LANES);
        Lane { index: lane, text: true }
    }
    /// The same, for code that reads no text: text columns read as empty. In the branch-free loops even a read that nobody
    /// uses would do harm, because finding text means finding out how it is encoded.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    #[inline(always)]
    pub(crate) unsafe fn with_text(lane: usize, text: bool) -> Self {
        debug_assert!(lane < LANES);
        Lane { index: lane, text }
    }
    /// Whether text is read.
    #[inline(always)]
    pub(crate) fn text(self) -> bool {
        self.text
    }
    /// Number of the row within its window.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.index
    }
}
