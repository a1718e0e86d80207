//! A table of a Postgres server, as data.

use serde::{Deserialize, Serialize};

use super::uri::{Address, Uri};
use crate::secret::Secret;
use crate::{Error, Result};

/// The port of Postgres.
const PORT: u16 = 5432;

/// A table of a Postgres server, and how rows are stored in it.
///
/// ```
/// use sabot::connect::PostgresTable;
/// # fn main() -> sabot::Result<()> {
/// let table = PostgresTable::from_uri("postgres://ana:hunter2@db.example/shop?table=sales.orders&key=id")?;
/// assert_eq!((table.host.as_str(), table.port, table.database.as_str()), ("db.example", 5432, "shop"));
/// assert!(!format!("{table:?}").contains("hunter2"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresTable {
    /// The server's name or address.
    pub host: String,
    /// Its port, 5432 by default.
    pub port: u16,
    /// The user; without one, that of the environment variable `PGUSER` of the process that writes.
    #[serde(default)]
    pub user: Option<String>,
    /// The password; without one, that of the environment variable `PGPASSWORD` of the process that writes.
    #[serde(default)]
    pub password: Option<Secret<String>>,
    /// The database.
    pub database: String,
    /// The table: `name`, or `schema.name`.
    pub table: String,
    /// Columns that identify a row: a row replaces the one with the same values in these. None: every row is added.
    #[serde(default)]
    pub key: Vec<String>,
    /// Whether the table is created if it does not exist.
    #[serde(default)]
    pub create: bool,
}

impl PostgresTable {
    /// A table as a user writes it: `postgres://user:password@host:port/database?table=name&key=a,b&create=true`. In user and password
    /// `%40` stands for the character of that number.
    ///
    /// # Errors
    /// [`Error::Usage`] if a part is missing or an option is unknown.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let Uri { path, mut options, shown, .. } = Uri::parse(uri)?;
        let refused = |what: &str| Error::usage(format!("`{shown}` {what}; write `postgres://user@host/database?table=name`"));
        let address = Address::parse(path, &shown)?;
        let [(host, port)] = address.hosts.as_slice() else { return Err(refused("does not name one server")) };
        if address.path.is_empty() || address.path.contains('/') {
            return Err(refused("does not name a database"));
        }
        let table = options.take("table")?;
        let key = options.take_list("key")?;
        let create = options.take_bool("create")?.unwrap_or(false);
        options.finish("a Postgres sink", &["table", "key", "create"])?;
        let table = table.filter(|t| !t.is_empty()).ok_or_else(|| refused("does not name a table"))?;
        let (user, password) = (address.user, address.password.map(Secret::new));
        let database = address.path;
        Ok(PostgresTable { host: host.clone(), port: port.unwrap_or(PORT), user, password, database, table, key, create })
    }
    /// What identifies the table, without the password.
    pub(crate) fn without_secrets(&self) -> Self {
        PostgresTable { password: None, ..self.clone() }
    }
}

impl std::fmt::Display for PostgresTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table `{}` at {}:{}/{}", self.table, self.host, self.port, self.database)
    }
}
