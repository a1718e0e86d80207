//! Sums of floats from which values can be taken away again without a trace.

/// The exact sum of floats, as a list of floats of which none overlaps another (Shewchuk, "Adaptive precision floating-point arithmetic and
/// fast robust geometric predicates", 1997; Python's `math.fsum` adds up the same way). So a value that is taken away leaves what there would be
/// without it, and the order of values does not matter.
///
/// Cost: a few additions per value for each float of the list, of which there are two or three unless magnitudes differ wildly.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exact(Vec<f64>);

/// `a + b` as the nearest float and what is left.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let (a, b) = if a.abs() < b.abs() { (b, a) } else { (a, b) };
    let sum = a + b;
    (sum, b - (sum - a))
}

/// `a * b` as the nearest float and what is left (Dekker).
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let split = |x: f64| {
        let big = x * 134_217_729.0; // 2^27 + 1
        let high = big - (big - x);
        (high, x - high)
    };
    let product = a * b;
    let ((ah, al), (bh, bl)) = (split(a), split(b));
    let rest = al * bl - (((product - ah * bh) - al * bh) - ah * bl);
    (product, rest)
}

impl Exact {
    /// Adds a finite value; false if the sum is beyond all floats.
    pub(super) fn add(&mut self, value: f64) -> bool {
        let (mut value, mut kept) = (value, 0);
        for i in 0..self.0.len() {
            let Some(part) = self.0.get(i).copied() else { break };
            let (sum, rest) = two_sum(value, part);
            if !sum.is_finite() {
                return false;
            }
            if rest != 0.0 {
                if let Some(slot) = self.0.get_mut(kept) {
                    *slot = rest;
                }
                kept += 1;
            }
            value = sum;
        }
        self.0.truncate(kept);
        if value != 0.0 {
            self.0.push(value);
        }
        true
    }
    /// Adds `sign` times the square of a value; false if that is beyond all floats.
    pub(super) fn add_square(&mut self, value: f64, sign: f64) -> bool {
        let (product, rest) = two_product(value, value);
        product.is_finite() && rest.is_finite() && self.add(sign * product) && self.add(sign * rest)
    }
    /// The nearest float.
    pub(super) fn value(&self) -> f64 {
        let mut parts = self.0.iter().rev().copied();
        let Some(mut sum) = parts.next() else { return 0.0 };
        let mut rest = 0.0;
        for part in parts.by_ref() {
            (sum, rest) = two_sum(sum, part);
            if rest != 0.0 {
                break;
            }
        }
        // half way between two floats it depends on what lies below
        if let Some(below) = parts.next()
            && ((rest < 0.0 && below < 0.0) || (rest > 0.0 && below > 0.0))
        {
            let twice = rest * 2.0;
            let up = sum + twice;
            if up - sum == twice {
                sum = up;
            }
        }
        sum
    }
    /// The sum of squared distances from the mean of `n` values, times `n`: `n * squares - sum^2`. `None` if it is beyond all floats.
    pub(super) fn spread(n: f64, sum: &Exact, squares: &Exact) -> Option<f64> {
        let mut out = Exact::default();
        let mut add = |a: f64, b: f64, sign: f64| {
            let (product, rest) = two_product(a, b);
            product.is_finite() && rest.is_finite() && out.add(sign * product) && out.add(sign * rest)
        };
        let all = squares.0.iter().all(|part| add(n, *part, 1.0)) && sum.0.iter().all(|a| sum.0.iter().all(|b| add(*a, *b, -1.0)));
        all.then(|| out.value().max(0.0))
    }
    pub(super) fn parts(&self) -> &[f64] {
        &self.0
    }
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * 8
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::Exact;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 11
    }

    /// What is taken away leaves nothing, whatever the magnitudes and the order.
    #[test]
    fn values_leave_without_a_trace() {
        let mut seed = 7;
        for _ in 0..200 {
            let n = 1 + random(&mut seed) as usize % 40;
            let values: Vec<f64> = (0..n)
                .map(|_| {
                    let scale = 10f64.powi((random(&mut seed) % 60) as i32 - 30);
                    (random(&mut seed) % 2_000_001) as f64 / 1_000_000.0 * scale - scale
                })
                .collect();
            let half = n / 2;
            let mut sum = Exact::default();
            assert!(values.iter().all(|v| sum.add(*v)));
            // in another order than they came
            assert!(values[..half].iter().rev().all(|v| sum.add(-v)));
            let mut rest = Exact::default();
            assert!(values[half..].iter().rev().all(|v| rest.add(*v)));
            assert_eq!(sum.value().to_bits(), rest.value().to_bits());
            assert!(values[half..].iter().all(|v| sum.add(-v)));
            assert_eq!((sum.value(), sum.parts().len()), (0.0, 0));
        }
    }

    #[test]
    fn small_beside_large() {
        let mut sum = Exact::default();
        for v in [1e300, 1.0, -1e300, 1e-300] {
            assert!(sum.add(v));
        }
        assert_eq!(sum.value(), 1.0);
        assert!(!(sum.add(f64::MAX) && sum.add(f64::MAX)));
    }

    #[test]
    fn spread_is_that_of_integers() {
        let mut seed = 3;
        for _ in 0..100 {
            let values: Vec<i64> = (0..20).map(|_| 1_000_000_000 + (random(&mut seed) % 1000) as i64).collect();
            let (mut sum, mut squares) = (Exact::default(), Exact::default());
            assert!(values.iter().all(|v| sum.add(*v as f64) && squares.add_square(*v as f64, 1.0)));
            let (n, s) = (i128::from(20), values.iter().map(|v| i128::from(*v)).sum::<i128>());
            let q: i128 = values.iter().map(|v| i128::from(*v) * i128::from(*v)).sum();
            assert_eq!(Exact::spread(20.0, &sum, &squares), Some((n * q - s * s) as f64));
        }
    }
}
