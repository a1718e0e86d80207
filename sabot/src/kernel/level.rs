//! Which instructions the kernels may use: decided once, at the first kernel.

use std::sync::OnceLock;

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the target guarantees (SSE2 on x86-64).
    Base,
    /// AVX2, BMI1, BMI2, POPCNT, LZCNT, FMA (x86-64-v3).
    V3,
    /// AVX-512 F, BW, CD, DQ, VL (x86-64-v4). With cargo feature `avx512`, which compiles each kernel once more.
    #[cfg(feature = "avx512")]
    V4,
}

impl Level {
    /// The best level of this machine; `SABOT_SIMD=base|v3|v4` forces one that it has. Debug builds have `Base` only.
    pub fn current() -> Level {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let best = Level::best();
            let Ok(name) = std::env::var("SABOT_SIMD") else { return best };
            match Level::named(&name) {
                Some(level) if level <= best => level,
                Some(_) => {
                    eprintln!("sabot: this machine or build has no level {name}; using {}", best.name());
                    best
                }
                None => {
                    let known: Vec<&str> = Level::ALL.iter().map(|l| l.name()).collect();
                    eprintln!("sabot: SABOT_SIMD={name} is not a level of this build; known: {}", known.join(", "));
                    best
                }
            }
        })
    }
    /// The levels of this build.
    pub const ALL: &'static [Level] = &[
        Level::Base,
        Level::V3,
        #[cfg(feature = "avx512")]
        Level::V4,
    ];
    /// As `SABOT_SIMD` names it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Base => "base",
            Level::V3 => "v3",
            #[cfg(feature = "avx512")]
            Level::V4 => "v4",
        }
    }
    fn named(name: &str) -> Option<Level> {
        Level::ALL.iter().copied().find(|l| l.name() == name)
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
            #[cfg(feature = "avx512")]
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512cd")
                && std::arch::is_x86_feature_detected!("avx512dq")
                && std::arch::is_x86_feature_detected!("avx512vl")
            {
                return Level::V4;
            }
            return Level::V3;
        }
        Level::Base
    }
    /// All levels that can run here.
    pub fn available() -> Vec<Level> {
        Level::ALL.iter().copied().filter(|l| *l <= Level::best()).collect()
    }
}
