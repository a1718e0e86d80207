"""DuckDB and Polars read the file of the CSV benchmark on one thread: `peers.py FILE`. Seconds of processor time."""

import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "1"

import duckdb  # noqa: E402
import polars as pl  # noqa: E402

TURNS = 5
FILE = sys.argv[1]
MEGABYTES = os.path.getsize(FILE) / 1e6
DUCK = {
    "id": "BIGINT",
    "at": "TIMESTAMPTZ",
    "price": "DOUBLE",
    "quantity": "INTEGER",
    "name": "VARCHAR",
    "share": "DOUBLE",
    "note": "VARCHAR",
}
POLARS = {
    "id": pl.Int64,
    "at": pl.Datetime("us", "UTC"),
    "price": pl.Float64,
    "quantity": pl.Int32,
    "name": pl.String,
    "share": pl.Float64,
    "note": pl.String,
}


def duck(columns):
    connection = duckdb.connect()
    connection.execute("set threads = 1; set timezone = 'UTC'")
    query = f"select {columns or '*'} from read_csv('{FILE}', header=true, columns={DUCK}, auto_detect=false, quote='\"', escape='\"', delim=',', new_line='\\n')"
    return connection.execute(query).to_arrow_table().num_rows


def polars(columns):
    # Polars reads times as text unless it is asked to guess; the text is parsed as a second step.
    text = {**POLARS, "at": pl.String}
    frame = pl.scan_csv(FILE, schema=text)
    if columns:
        return frame.select(columns.split(", ")).collect().height
    return frame.with_columns(pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")).collect().height


for name, columns in [("all columns", None), ("2 columns", "id, price")]:
    for engine in (duck, polars):
        best = float("inf")
        for _ in range(TURNS):
            before = time.process_time()
            rows = engine(columns)
            best = min(best, time.process_time() - before)
        print(f"{engine.__name__} {name}: {rows} rows, {best:.3f} s, {MEGABYTES / best:.0f} MB/s", flush=True)
