//! Which instructions the kernels may use: decided once, at the first kernel.

use std::sync::OnceLock;

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// What the target guarantees (SSE2 on x86-64).
    Base,
    /// AVX2, BMI1, BMI2, POPCNT, LZCNT, FMA (x86-64-v3).
    V3,
}

impl Level {
    /// The best level of this machine; `SABOT_SIMD=base|v3` forces one. Debug builds have `Base` only.
    pub fn current() -> Level {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| match std::env::var("SABOT_SIMD").as_deref() {
            Ok("base") => Level::Base,
            Ok("v3") | Err(_) => Level::best(),
            Ok(other) => {
                eprintln!("sabot: SABOT_SIMD={other} is not a level; known: base, v3");
                Level::best()
            }
        })
    }
    /// The best level that this build and this machine have.
    pub fn best() -> Level {
        #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("popcnt")
            && std::arch::is_x86_feature_detected!("lzcnt")
            && std::arch::is_x86_feature_detected!("fma")
        {
            return Level::V3;
        }
        Level::Base
    }
    /// All levels that can run here.
    pub fn available() -> Vec<Level> {
        let mut all = vec![Level::Base];
        if Level::best() == Level::V3 {
            all.push(Level::V3);
        }
        all
    }
}
