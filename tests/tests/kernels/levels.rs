//! That a build which is to test every level of the machine does.

use sabot::kernel::Level;

/// `.ci/run` sets `SABOT_EVERY_LEVEL` for a build with optimised kernels: a debug build has the base level only.
#[test]
fn every_level_of_the_machine() {
    let levels = Level::available();
    println!("levels: {}", levels.iter().map(|l| l.name()).collect::<Vec<_>>().join(", "));
    if std::env::var_os("SABOT_EVERY_LEVEL").is_none() {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        assert!(levels.contains(&Level::V3) || !std::arch::is_x86_feature_detected!("avx2"), "{levels:?}");
        #[cfg(feature = "avx512")]
        assert!(levels.contains(&Level::V4) || !std::arch::is_x86_feature_detected!("avx512vl"), "{levels:?}");
    }
}
