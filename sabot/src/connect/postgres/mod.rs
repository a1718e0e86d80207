//! Rows into a table of Postgres.
//!
//! `client` speaks with the server, `columns` says which type holds which, `text` writes rows as `COPY` reads them, `store` puts rows into the
//! table, `epochs` notes which checkpoints have arrived, `sink` is the connector.

mod client;
mod columns;
mod epochs;
mod sink;
mod store;
mod text;

#[cfg(feature = "cluster-postgres")]
pub(crate) use client::error as postgres_error;
pub use sink::PostgresSink;
