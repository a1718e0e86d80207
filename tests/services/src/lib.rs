//! Real servers for tests: a Postgres and a Kafka broker that a script installs, starts on 127.0.0.1 and ends with the tests; and brokers of Kafka that
//! fail on demand, in the process of the test.
//!
//! Where one cannot be had, its tests print why and pass; with `CI=true` or `SABOT_REQUIRE_SERVICES=1` they fail.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "connectors")]
mod faulty;
#[cfg(feature = "connectors")]
mod kafka;
mod postgres;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(feature = "connectors")]
pub use faulty::{Fault, Faulty, Request};
#[cfg(feature = "connectors")]
pub use kafka::{Kafka, Seen, send};
pub use postgres::Postgres;

/// The crate's directory, with the scripts.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory for a server of this process.
fn place(name: &str) -> PathBuf {
    here().join(format!("../../target/services/{name}-{}", std::process::id()))
}

/// The same for a server that runs as another user: in the checkout if everyone may enter it, which the home of root is not, else where temporary
/// files are.
fn open_place(name: &str) -> PathBuf {
    let place = place(name);
    if std::path::absolute(&place).is_ok_and(|p| open_to_all(&p)) {
        return place;
    }
    std::env::temp_dir().join("sabot-services").join(format!("{name}-{}", std::process::id()))
}

/// Whether everyone may enter all directories above, as far as they exist.
#[cfg(unix)]
fn open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.ancestors().filter_map(|p| p.metadata().ok()).all(|m| m.permissions().mode() & 0o001 != 0)
}
#[cfg(not(unix))]
fn open_to_all(_: &Path) -> bool {
    true
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map(|a| a.port()).expect("a free port")
}

/// The directory of a Python environment with a package from PyPI, like `dbos==2.31.1`; why it cannot be had, if it cannot.
pub fn python(package: &str) -> Result<PathBuf, String> {
    script("python.sh", &[package]).map(Into::into)
}

/// Runs a script: the last line it printed, or why the server cannot be had, if it cannot.
fn script(name: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(here().join(name)).args(args).output().map_err(|e| format!("{name}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.trim().lines().last().unwrap_or_default().to_owned();
    match output.status.code() {
        Some(0) => Ok(last),
        Some(3) => Err(last),
        _ => panic!("{name} {args:?}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn places_that_others_may_enter() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let mode = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o711);
        assert!(super::open_to_all(&inner.join("not/there/yet")));
        mode(0o700);
        assert!(!super::open_to_all(&inner) && !super::open_to_all(&inner.join("not/there/yet")));
    }
}

/// The server, or nothing, with the reason printed.
pub fn needed<T>(what: &str, server: &'static Result<T, String>) -> Option<&'static T> {
    match server {
        Ok(server) => Some(server),
        Err(why) => {
            let required = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty() && v != "0" && v != "false");
            assert!(!required("CI") && !required("SABOT_REQUIRE_SERVICES"), "{what} is required here: {why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}
