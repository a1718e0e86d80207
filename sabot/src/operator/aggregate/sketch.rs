//! HyperLogLog: how many distinct values, about, in little memory.
//!
//! The sketch is that of Flajolet, Fusy, Gandouet and Meunier (2007) over 64-bit hashes, with the estimator of Ertl ("New
//! cardinality estimation algorithms for HyperLogLog sketches", 2017), which needs no tables and no switch between
//! ranges. Few values are kept as their hashes, and counted exactly.

/// Registers: 2^12. The standard error is 1.04 / sqrt(2^12) = 1.6 %.
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;
/// Distinct hashes up to which a sketch is exact: at 2 KiB, half of what the registers take.
pub(crate) const EXACT: usize = 256;
/// Hashes, with duplicates, at which they are sorted out.
const PENDING: usize = 2 * EXACT;

/// What a sketch holds is a function of the set of hashes alone: neither order nor duplicates nor the way of merging
/// change it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    /// Hashes, perhaps repeated, while there are few.
    few: Vec<u64>,
    registers: Option<Box<[u8]>>,
}

fn distinct(hashes: &mut Vec<u64>) -> usize {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len()
}

impl Sketch {
    #[inline]
    pub(crate) fn add(&mut self, hash: u64) {
        match &mut self.registers {
            Some(registers) => set(registers, hash),
            None => {
                self.few.push(hash);
                if self.few.len() >= PENDING {
                    self.settle();
                }
            }
        }
    }
    #[cold]
    fn settle(&mut self) {
        if distinct(&mut self.few) > EXACT {
            let mut registers = vec![0u8; REGISTERS].into_boxed_slice();
            self.few.drain(..).for_each(|hash| set(&mut registers, hash));
            self.few = Vec::new();
            self.registers = Some(registers);
        }
    }
    /// The sketch as bytes: the registers, or at most 2 KiB of hashes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut settled = std::borrow::Cow::Borrowed(self);
        if self.registers.is_none() {
            settled.to_mut().settle();
        }
        match &settled.registers {
            Some(registers) => out.extend_from_slice(registers),
            None => settled.few.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes())),
        }
    }
    /// Takes in a sketch that was [`written`](Self::write).
    pub(crate) fn merge(&mut self, bytes: &[u8]) {
        if bytes.len() < REGISTERS {
            bytes.as_chunks::<8>().0.iter().for_each(|hash| self.add(u64::from_le_bytes(*hash)));
            return;
        }
        if self.registers.is_none() {
            let few = std::mem::take(&mut self.few);
            let mut registers = vec![0u8; REGISTERS].into_boxed_slice();
            few.into_iter().for_each(|hash| set(&mut registers, hash));
            self.registers = Some(registers);
        }
        if let Some(registers) = &mut self.registers {
            registers.iter_mut().zip(bytes).for_each(|(a, b)| *a = (*a).max(*b));
        }
    }
    /// The number of distinct hashes, about.
    pub(crate) fn estimate(&self) -> u64 {
        let mut settled = std::borrow::Cow::Borrowed(self);
        if self.registers.is_none() {
            settled.to_mut().settle();
        }
        match &settled.registers {
            Some(registers) => estimate(registers).round() as u64,
            None => settled.few.len() as u64,
        }
    }
    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.few.capacity() * 8 + if self.registers.is_some() { REGISTERS } else { 0 }
    }
}

#[inline(always)]
fn set(registers: &mut [u8], hash: u64) {
    let at = (hash >> (64 - BITS)) as usize;
    // the position of the first one among the other bits, from 1
    let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
    if let Some(register) = registers.get_mut(at) {
        *register = (*register).max(rank);
    }
}

/// Ertl 2017, algorithm 6.
fn estimate(registers: &[u8]) -> f64 {
    const Q: usize = (64 - BITS) as usize;
    let m = REGISTERS as f64;
    let mut counts = [0u32; Q + 2];
    for r in registers {
        if let Some(count) = counts.get_mut(usize::from(*r)) {
            *count += 1;
        }
    }
    let count = |k: usize| f64::from(counts.get(k).copied().unwrap_or_default());
    let mut z = m * tau(1.0 - count(Q + 1) / m);
    for k in (1..=Q).rev() {
        z = 0.5 * (z + count(k));
    }
    z += m * sigma(count(0) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
