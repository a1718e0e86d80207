//! A t-digest: quantiles, about, in little memory.
//!
//! The merging digest of Dunning and Ertl ("Computing extremely accurate quantiles using t-digests", 2019) with the scale
//! function k1, which keeps clusters small towards both ends. Nothing in it is random, and a digest is a function of the
//! sequence of its values, whatever the batches in which they came.

/// Compression: clusters are at most 2 pi / DELTA * sqrt(q (1 - q)) of all values wide, which is 1.6 % at the median.
const DELTA: f64 = 200.0;
/// Values that wait to be merged. A digest of fewer values holds them all, and is exact.
pub(crate) const PENDING: usize = 512;

/// The mean of some neighbouring values, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cluster {
    mean: f64,
    weight: f64,
}

/// A t-digest of floats; NaN is not a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    /// In order of their means.
    clusters: Vec<Cluster>,
    pending: Vec<f64>,
    least: f64,
    most: f64,
}

impl Digest {
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.pending.push(value);
        if self.pending.len() >= PENDING {
            self.compress(&[]);
        }
    }
    #[cold]
    fn compress(&mut self, others: &[Cluster]) {
        let mut all: Vec<Cluster> = Vec::with_capacity(self.clusters.len() + others.len() + self.pending.len());
        self.pending.sort_unstable_by(f64::total_cmp);
        if let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) {
            let none = self.clusters.is_empty();
            self.least = if none { *first } else { self.least.min(*first) };
            self.most = if none { *last } else { self.most.max(*last) };
        }
        all.append(&mut self.clusters);
        all.extend_from_slice(others);
        all.extend(self.pending.drain(..).map(|mean| Cluster { mean, weight: 1.0 }));
        // three sorted runs: a stable merge sort joins them in linear time
        all.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        let total: f64 = all.iter().map(|c| c.weight).sum();
        let (mut before, mut limit) = (0.0, total * bound(0.0));
        let mut rest = all.into_iter();
        let Some(mut open) = rest.next() else { return };
        for c in rest {
            let weight = open.weight + c.weight;
            if before + weight <= limit {
                // equal values stay what they are, infinite ones too
                if c.mean != open.mean {
                    open.mean = (open.mean * open.weight + c.mean * c.weight) / weight;
                }
                open.weight = weight;
            } else {
                before += open.weight;
                self.clusters.push(open);
                limit = total * bound(before / total);
                open = c;
            }
        }
        self.clusters.push(open);
    }
    /// The digest as bytes: least, most, the number of clusters, clusters, values that wait.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut put = |v: f64| out.extend_from_slice(&v.to_le_bytes());
        put(self.least);
        put(self.most);
        put(self.clusters.len() as f64);
        for c in &self.clusters {
            put(c.mean);
            put(c.weight);
        }
        self.pending.iter().for_each(|v| put(*v));
    }
    /// Takes in a digest that was [`written`](Self::write). An empty digest becomes exactly that one.
    pub(crate) fn merge(&mut self, bytes: &[u8]) {
        let mut words = bytes.as_chunks::<8>().0.iter().map(|w| f64::from_le_bytes(*w));
        let (Some(least), Some(most), Some(clusters)) = (words.next(), words.next(), words.next()) else { return };
        let mut others = Vec::new();
        for _ in 0..clusters as usize {
            let (Some(mean), Some(weight)) = (words.next(), words.next()) else { return };
            others.push(Cluster { mean, weight });
        }
        if self.clusters.is_empty() && self.pending.is_empty() {
            (self.least, self.most, self.clusters) = (least, most, others);
            self.pending.extend(words);
            return;
        }
        if !others.is_empty() {
            if self.clusters.is_empty() {
                (self.least, self.most) = (least, most);
                // so that the values that wait count as well
                let (low, high) = self.pending.iter().fold((least, most), |(l, h), v| (l.min(*v), h.max(*v)));
                self.compress(&others);
                (self.least, self.most) = (low, high);
            } else {
                self.compress(&others);
                (self.least, self.most) = (self.least.min(least), self.most.max(most));
            }
        }
        words.for_each(|v| self.add(v));
    }
    /// The value at a fraction of all values, about.
    pub(crate) fn quantile(&self, fraction: f64) -> Option<f64> {
        let mut all = self.clone();
        if self.clusters.is_empty() {
            all.pending.sort_unstable_by(f64::total_cmp);
            let at = all.pending.len().checked_sub(1)? as f64 * fraction;
            let (low, part) = (at.floor() as usize, at.fract());
            let value = *all.pending.get(low)?;
            return Some(all.pending.get(low + 1).filter(|_| part > 0.0).map_or(value, |next| between(value, *next, part)));
        }
        all.compress(&[]);
        let total: f64 = all.clusters.iter().map(|c| c.weight).sum();
        // a value alone in its cluster is at its rank, a cluster of many in the middle of its ranks
        let want = fraction * (total - 1.0) + 0.5;
        // the ends are known, although merged clusters may overlap
        if fraction <= 0.0 || fraction >= 1.0 {
            return Some(if fraction <= 0.0 { all.least } else { all.most });
        }
        let (mut rank, mut value, mut before) = (0.5, all.least, 0.0);
        for c in &all.clusters {
            let middle = before + c.weight / 2.0;
            if want <= middle {
                let span = middle - rank;
                return Some(if span > 0.0 { between(value, c.mean, (want - rank) / span) } else { c.mean });
            }
            (rank, value) = (middle, c.mean);
            before += c.weight;
        }
        let span = total - 0.5 - rank;
        Some(if span > 0.0 { between(value, all.most, ((want - rank) / span).min(1.0)) } else { all.most })
    }
    /// Bytes held on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.clusters.capacity() * size_of::<Cluster>() + self.pending.capacity() * 8
    }
}

fn between(low: f64, high: f64, fraction: f64) -> f64 {
    if low == high { low } else { low + (high - low) * fraction }
}

/// How far a cluster may reach that begins at fraction `q`: one step of the scale function k1.
fn bound(q: f64) -> f64 {
    let k = (2.0 * q - 1.0).clamp(-1.0, 1.0).asin() + std::f64::consts::TAU / DELTA;
    if k >= std::f64::consts::FRAC_PI_2 { 1.0 } else { (k.sin() + 1.0) / 2.0 }
}
