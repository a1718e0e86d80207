//! The Postgres server.

use std::path::PathBuf;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A Postgres server of this process.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    port: u16,
}

impl Postgres {
    /// The server that all tests share.
    pub fn shared() -> Option<&'static Postgres> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        crate::needed("Postgres", SHARED.get_or_init(|| Postgres::start("postgres")))
    }
    /// A server of one's own, to be stopped.
    pub fn own(name: &str) -> Option<Postgres> {
        let started: &'static Result<Postgres, String> = Box::leak(Box::new(Postgres::start(name)));
        crate::needed("Postgres", started).map(|p| Postgres { dir: p.dir.clone(), port: p.port })
    }
    fn start(name: &str) -> Result<Postgres, String> {
        let server = Postgres { dir: crate::open_place(name), port: crate::free_port() };
        server.go(Some(std::process::id()))?;
        Ok(server)
    }
    fn go(&self, watch: Option<u32>) -> Result<(), String> {
        let (dir, port) = (self.dir.display().to_string(), self.port.to_string());
        let watch = watch.map(|w| w.to_string());
        let mut args = vec!["start", &dir, &port];
        args.extend(watch.as_deref());
        crate::script("postgres.sh", &args).map(drop)
    }
    /// Ends it as a crash would, and starts it again.
    pub fn crash(&self, away: std::time::Duration) {
        self.end();
        std::thread::sleep(away);
        self.begin();
    }
    /// Ends it as a crash would.
    pub fn end(&self) {
        crate::script("postgres.sh", &["stop", &self.dir.display().to_string()]).expect("stops");
    }
    /// `kill -9` of all its processes.
    pub fn kill(&self) {
        crate::script("postgres.sh", &["kill", &self.dir.display().to_string()]).expect("is killed");
    }
    /// Starts it again.
    pub fn begin(&self) {
        self.go(None).expect("starts again");
    }
    /// The URI of a table.
    pub fn uri(&self, table: &str, options: &str) -> String {
        format!("postgres://sabot:pass-of-tests@127.0.0.1:{}/postgres?table={table}{options}", self.port)
    }
    /// A new, empty database; its address.
    pub fn database(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {name}"));
        format!("postgres://sabot:pass-of-tests@127.0.0.1:{}/{name}", self.port)
    }
    fn connect(&self, database: &str) -> (Runtime, Client) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = format!("host=127.0.0.1 port={} user=sabot password=pass-of-tests dbname={database}", self.port);
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("connects");
            tokio::spawn(async move { connection.await.unwrap_or_default() });
            client
        });
        (runtime, client)
    }
    /// Runs statements; the rows, as text, `NULL` for null.
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.sql_in("postgres", sql)
    }
    /// The same in another database.
    pub fn sql_in(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        let (runtime, client) = self.connect(database);
        let messages = runtime.block_on(client.simple_query(sql)).unwrap_or_else(|e| panic!("{sql}: {e}: {:?}", e.as_db_error()));
        let row = |m: SimpleQueryMessage| match m {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect()),
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }
    /// Numbers of one column.
    pub fn numbers(&self, sql: &str) -> Vec<i64> {
        self.sql(sql).iter().map(|row| row.first().and_then(|n| n.parse().ok()).expect("a number")).collect()
    }
}
