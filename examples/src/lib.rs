//! Examples of Sabot, from ten lines (`examples/hello.rs`) to a real job (`src/bin/flight_delays.rs`).

pub mod nexmark;

/// The path of a file of the nycflights13 data, which is part of the repository: `flights`, `airlines`, `airports`,
/// `planes`, `weather`.
pub fn nycflights13(name: &str) -> String {
    format!("{}/data/nycflights13/{name}.parquet", env!("CARGO_MANIFEST_DIR"))
}
