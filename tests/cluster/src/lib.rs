//! What the tests of the control plane share: a store of each kind, and this test binary started once more, to be killed.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sabot::cluster::store::{ControlStore, Leader, Memory, Place, Server};

/// Where the store of a test is; its directory goes with it.
pub struct Home {
    /// The store's place.
    pub place: Place,
    /// For files of the test.
    pub dir: tempfile::TempDir,
}
impl Home {
    /// A new SQLite store.
    pub fn embedded() -> Option<Home> {
        let dir = tempfile::tempdir().expect("a directory");
        Some(Home { place: Place::Directory(dir.path().join("control")), dir })
    }
    /// A new store in this process's memory.
    pub fn memory() -> Option<Home> {
        Some(Home { place: Place::Memory(Memory::default()), dir: tempfile::tempdir().expect("a directory") })
    }
    /// A new Postgres database, or none where there is no Postgres.
    #[cfg(feature = "postgres")]
    pub fn postgres() -> Option<Home> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = sabot_services::Postgres::shared()?;
        let name = format!("control_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Home { place: Place::Postgres(server.database(&name)), dir: tempfile::tempdir().expect("a directory") })
    }
    /// The address of the Postgres database.
    pub fn url(&self) -> &str {
        match &self.place {
            Place::Postgres(url) => url,
            Place::Directory(_) | Place::Memory(_) => panic!("{:?} is no database of a server", self.place),
        }
    }
    /// A file of the test.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
    /// The store.
    pub async fn store(&self) -> ControlStore {
        ControlStore::open(&self.place).await.expect("opens")
    }
    /// The store, led by this process.
    pub async fn led(&self) -> (ControlStore, Leader) {
        let store = self.store().await;
        let leader = store.lead(&here()).await.expect("leads");
        (store, leader)
    }
}

/// Runs each test over each kind of store; those behind `not in memory` need another process that reaches it, or one that dies.
#[macro_export]
macro_rules! suite {
    ($($module:ident :: $test:ident,)+ => not in memory: $($alone:ident :: $with:ident,)+) => {
        mod embedded {
            $crate::suite! { @embedded $($module::$test,)+ $($alone::$with,)+ }
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $crate::suite! { @postgres $($module::$test,)+ $($alone::$with,)+ }
        }
        mod memory {
            $crate::suite! { @memory $($module::$test,)+ }
        }
    };
    (@$kind:ident $($module:ident :: $test:ident,)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let home = tokio::task::spawn_blocking($crate::Home::$kind).await.unwrap();
            let Some(home) = home else { return };
            super::$module::$test(home).await;
        })+
    };
}

/// This process, as a server.
pub fn here() -> Server {
    Server::here("127.0.0.1:1", now())
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| i64::try_from(t.as_millis()).unwrap_or(0))
}

/// The place as a variable of the environment has it.
pub fn place_text(place: &Place) -> String {
    match place {
        Place::Directory(dir) => dir.display().to_string(),
        Place::Memory(_) => panic!("another process cannot reach what is in memory"),
        Place::Postgres(url) => url.clone(),
    }
}

/// A number that looks random.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The environment's variable that says to a test binary that it is a child, and of what.
pub const CHILD: &str = "SABOT_CLUSTER_CHILD";

/// This test binary, as a child that runs the test `name` and nothing else.
pub struct Once {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}
impl Once {
    /// Starts it.
    pub fn start(name: &str, role: &str, variables: &[(&str, &str)]) -> Once {
        let me = std::env::current_exe().expect("this binary");
        let mut command = Command::new(me);
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, role).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Once { child, lines }
    }
    /// Reads until a line that begins so; what follows on it.
    pub fn until(&mut self, begin: &str) -> String {
        for line in self.lines.by_ref() {
            // what the harness writes of the test has no line end before the test's own
            let line = line.expect("readable");
            if let Some(at) = line.find(begin) {
                return line.get(at + begin.len()..).unwrap_or_default().trim().to_owned();
            }
        }
        panic!("the child ended without `{begin}`: {:?}", self.child.wait());
    }
    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
    /// Waits until it ends well.
    pub fn end(mut self) {
        for _ in self.lines.by_ref() {}
        let status = self.child.wait().expect("waited for");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        // of a test that failed; one that is stopped would hold its output open for ever
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap_or_default();
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// Adds a line to a file, as a whole.
pub fn note(file: &Path, line: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("opens");
    file.write_all(format!("{line}\n").as_bytes()).expect("writes");
}

/// The lines of a file.
pub fn notes(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The tools of DBOS from PyPI, of the last version that knows the tables which the crate makes; none where they cannot be had, with the reason printed.
/// Later ones must never be let near: they change the tables.
#[cfg(feature = "postgres")]
pub fn dbos_tools() -> Option<&'static Path> {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static TOOLS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || Ok(sabot_services::python("dbos==2.31.1")?.join("bin/dbos"));
    sabot_services::needed("dbos from PyPI", TOOLS.get_or_init(make)).map(PathBuf::as_path)
}

/// A Python with `pyarrow` from PyPI; none where it cannot be had, with the reason printed.
pub fn pyarrow() -> Option<&'static Path> {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || Ok(sabot_services::python("pyarrow==26.0.1")?.join("bin/python"));
    sabot_services::needed("pyarrow from PyPI", PYTHON.get_or_init(make)).map(PathBuf::as_path)
}
