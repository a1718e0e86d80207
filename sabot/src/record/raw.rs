//! Memory that a kernel fills 64 rows at a time: uninitialised vectors, and pointers to 64 rows of one.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

use super::LANES;

/// Values, some of which may not have been written yet.
pub(super) type Raw<T> = Vec<MaybeUninit<T>>;

/// `rows` zeros: `T::default()` of every type used here is all zero bytes, which the allocator hands out for free.
pub(super) fn zeroed<T: Copy + Default>(rows: usize) -> Raw<T> {
    let mut zeros = ManuallyDrop::new(vec![T::default(); rows]);
    // SAFETY: the parts of a vector of the same layout; `MaybeUninit<T>` has the layout of `T`.
    unsafe { Vec::from_raw_parts(zeros.as_mut_ptr().cast(), zeros.len(), zeros.capacity()) }
}

/// Room for `rows` values.
pub(super) fn unwritten<T: Copy>(rows: usize) -> Raw<T> {
    let mut out = Vec::with_capacity(rows);
    // SAFETY: `MaybeUninit` needs no initialisation, and the capacity is at least `rows`.
    unsafe { out.set_len(rows) };
    out
}

/// The first `rows` values.
///
/// # Safety
/// They have all been written.
pub(super) unsafe fn written<T: Copy>(mut values: Raw<T>, rows: usize) -> Vec<T> {
    debug_assert!(rows <= values.len());
    values.truncate(rows);
    let mut values = ManuallyDrop::new(values);
    // SAFETY: as in `zeroed`; the caller promises that all values left were written.
    unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast(), values.len(), values.capacity()) }
}

/// Where 64 rows of a column are written: their values, and their validity bytes if it has nulls.
///
/// Memory of a [`Stack`], or the output itself, if that is one column: LLVM cannot tell outputs from inputs, and with
/// more of them it does not vectorise, because the tests at run time would be too many.
#[derive(Clone, Copy, Debug)]
pub struct Spots<'w> {
    values: *mut u8,
    valid: *mut u8,
    life: PhantomData<&'w mut [u8]>,
}

impl<'w> Spots<'w> {
    /// Values go straight to rows `at..at + 64` of a vector.
    #[inline(always)]
    pub(super) fn direct<T: Copy>(self, values: &'w mut Raw<T>, at: usize) -> Self {
        debug_assert!(at + LANES <= values.len());
        // SAFETY: writers are made with room for 64 rows from any row that a kernel writes at.
        Spots { values: unsafe { values.as_mut_ptr().add(at) }.cast(), ..self }
    }
    /// The validity bytes as values.
    #[inline(always)]
    pub(super) fn valid(self) -> Self {
        Spots { values: self.valid, ..self }
    }
    /// Writes a lane.
    #[inline(always)]
    pub(super) fn write<T: Copy>(self, lane: super::Lane, value: T) {
        // SAFETY: there is room for 64 values of up to 16 bytes, suitably aligned, and a lane is below 64.
        const { assert!(size_of::<T>() <= 16) };
        unsafe { self.values.cast::<T>().add(lane.index()).write(value) }
    }
    /// The 64 values as they are.
    #[inline(always)]
    pub(super) fn lanes<T: Copy>(self) -> &'w [MaybeUninit<T>; LANES] {
        // SAFETY: as for `write`, and any bytes are `MaybeUninit`.
        unsafe { &*self.values.cast() }
    }
}

/// 64 lanes of one column on the stack: room for values of up to 16 bytes, and validity bytes.
#[repr(align(64))]
pub struct Stack {
    values: MaybeUninit<[u8; LANES * 16]>,
    valid: MaybeUninit<[u8; LANES]>,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stack")
    }
}

impl Stack {
    /// Unwritten lanes.
    #[inline(always)]
    pub fn new() -> Self {
        Stack { values: MaybeUninit::uninit(), valid: MaybeUninit::uninit() }
    }
    /// Their memory.
    #[inline(always)]
    pub fn spots(&mut self) -> Spots<'_> {
        Spots { values: self.values.as_mut_ptr().cast(), valid: self.valid.as_mut_ptr().cast(), life: PhantomData }
    }
}

impl Default for Stack {
    fn default() -> Self {
        Stack::new()
    }
}

/// Which of 64 lanes to keep: as a word, and as one byte (0 or 1) each.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'k> {
    /// One bit per lane.
    pub word: u64,
    /// One byte per lane.
    pub bytes: &'k [u8; LANES],
    /// What instructions the caller runs with: [`BASE`], [`V3`] or [`V4`].
    #[cfg_attr(any(debug_assertions, not(target_arch = "x86_64")), allow(dead_code))]
    pub(crate) level: u8,
}

/// No instructions beyond the target's: as a constant parameter of kernels.
pub(crate) const BASE: u8 = 0;
/// AVX2 may be used: [`Level::V3`](crate::kernel::Level::V3).
#[cfg_attr(any(debug_assertions, not(target_arch = "x86_64")), allow(dead_code))]
pub(crate) const V3: u8 = 1;
/// AVX-512 may be used: `Level::V4`.
#[cfg_attr(any(debug_assertions, not(target_arch = "x86_64"), not(feature = "avx512")), allow(dead_code))]
pub(crate) const V4: u8 = 2;

/// Appends the kept ones of 64 lanes to rows `at..`, in order. Up to 64 rows from `at` on are overwritten.
#[inline(always)]
pub(super) fn compress<T: Copy>(from: Spots<'_>, into: &mut Raw<T>, at: usize, keep: Keep<'_>) {
    debug_assert!(at + LANES <= into.len());
    let lanes = from.lanes::<T>();
    // SAFETY: as for `Spots::of`.
    let to = unsafe { into.as_mut_ptr().add(at) };
    if keep.word == !0 {
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        if keep.level >= V3 && size_of::<T>() > 1 {
            // SAFETY: the caller runs with AVX2; 64 values on both sides, which do not overlap.
            unsafe { copy_avx2(lanes.as_ptr().cast(), to.cast(), size_of::<T>() * LANES) };
            return;
        }
        // SAFETY: room for 64 values at `to`, which are not those of `lanes`.
        unsafe { ptr::copy_nonoverlapping(lanes.as_ptr(), to, LANES) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
    if keep.level == V4 && size_of::<T>() == 8 {
        // SAFETY: the caller runs with AVX-512; 64 values of 8 bytes on both sides.
        unsafe { compress_8_avx512(lanes.as_ptr().cast(), to.cast(), keep.word) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
    if keep.level == V4 && size_of::<T>() == 4 {
        // SAFETY: the caller runs with AVX-512; 64 values of 4 bytes on both sides.
        unsafe { compress_4_avx512(lanes.as_ptr().cast(), to.cast(), keep.word) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
    if keep.level >= V3 && size_of::<T>() == 8 {
        // SAFETY: the caller runs with AVX2; 64 values of 8 bytes on both sides.
        unsafe { compress_avx2(lanes.as_ptr().cast(), to.cast(), keep.word) };
        return;
    }
    let mut n = 0;
    for (value, kept) in lanes.iter().zip(keep.bytes) {
        debug_assert!(n < LANES);
        // SAFETY: `n` grows by at most one per lane, so it is below 64.
        unsafe { *to.add(n) = *value };
        n += usize::from(*kept);
    }
}

/// For each 4-bit mask, the order of eight 4-byte halves that moves the kept 8-byte lanes to the front.
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[allow(clippy::indexing_slicing)]
static ORDER: [[u32; 8]; 16] = {
    let mut out = [[0u32; 8]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut to, mut lane) = (0, 0);
        while lane < 4 {
            if mask >> lane & 1 == 1 {
                out[mask][to] = lane as u32 * 2;
                out[mask][to + 1] = lane as u32 * 2 + 1;
                to += 2;
            }
            lane += 1;
        }
        mask += 1;
    }
    out
};

/// # Safety
/// `from` and `to` hold 64 values of 8 bytes each, and do not overlap.
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx2,popcnt")]
#[inline]
unsafe fn compress_avx2(from: *const u64, to: *mut u64, keep: u64) {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm256_permutevar8x32_epi32, _mm256_storeu_si256};
    let mut n = 0usize;
    for group in 0..16 {
        let mask = (keep >> (group * 4) & 15) as usize;
        // SAFETY: four lanes at `group * 4 <= 60`; four values at `n <= group * 4`; `mask < 16`.
        unsafe {
            let order = _mm256_loadu_si256(ORDER.as_ptr().add(mask).cast());
            let lanes = _mm256_loadu_si256(from.add(group * 4).cast());
            _mm256_storeu_si256(to.add(n).cast(), _mm256_permutevar8x32_epi32(lanes, order));
        }
        n += mask.count_ones() as usize;
    }
}

/// # Safety
/// `from` and `to` hold 64 values of 8 bytes each, and do not overlap.
#[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
#[target_feature(enable = "avx512f,popcnt")]
#[inline]
unsafe fn compress_8_avx512(from: *const u64, to: *mut u64, keep: u64) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_maskz_compress_epi64, _mm512_storeu_si512};
    let mut n = 0usize;
    for group in 0..8 {
        let mask = (keep >> (group * 8)) as u8;
        // SAFETY: eight lanes at `group * 8 <= 56`; eight values at `n <= group * 8`. A compress in registers and a whole
        // store, because a masked store of compressed lanes is slow on some machines.
        unsafe {
            let lanes = _mm512_loadu_si512(from.add(group * 8).cast());
            _mm512_storeu_si512(to.add(n).cast(), _mm512_maskz_compress_epi64(mask, lanes));
        }
        n += mask.count_ones() as usize;
    }
}

/// # Safety
/// `from` and `to` hold 64 values of 4 bytes each, and do not overlap.
#[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
#[target_feature(enable = "avx512f,popcnt")]
#[inline]
unsafe fn compress_4_avx512(from: *const u32, to: *mut u32, keep: u64) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_maskz_compress_epi32, _mm512_storeu_si512};
    let mut n = 0usize;
    for group in 0..4 {
        let mask = (keep >> (group * 16)) as u16;
        // SAFETY: sixteen lanes at `group * 16 <= 48`; sixteen values at `n <= group * 16`.
        unsafe {
            let lanes = _mm512_loadu_si512(from.add(group * 16).cast());
            _mm512_storeu_si512(to.add(n).cast(), _mm512_maskz_compress_epi32(mask, lanes));
        }
        n += mask.count_ones() as usize;
    }
}

/// Copies without a call: `memcpy` of 512 bytes costs as much as computing the 64 values.
///
/// # Safety
/// `from` and `to` hold `len` bytes each, a multiple of 128, and do not overlap.
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn copy_avx2(from: *const u8, to: *mut u8, len: usize) {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm256_storeu_si256};
    let mut at = 0;
    while at < len {
        // SAFETY: `at + 128 <= len`.
        unsafe {
            let (from, to) = (from.add(at), to.add(at));
            let a = _mm256_loadu_si256(from.cast());
            let b = _mm256_loadu_si256(from.add(32).cast());
            let c = _mm256_loadu_si256(from.add(64).cast());
            let d = _mm256_loadu_si256(from.add(96).cast());
            _mm256_storeu_si256(to.cast(), a);
            _mm256_storeu_si256(to.add(32).cast(), b);
            _mm256_storeu_si256(to.add(64).cast(), c);
            _mm256_storeu_si256(to.add(96).cast(), d);
        }
        at += 128;
    }
}
