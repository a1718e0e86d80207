"""Makes the Parquet files that all engines read: deterministic, by row number."""

import pathlib

import duckdb
import pyarrow.parquet as pq

# Another number makes new files.
VERSION = 1


def tables(n):
    """SQL of each table, for `n` rows in the large ones."""
    high = max(n // 10, 10)  # distinct values of a high-cardinality key
    day = 86_400_000_000
    return {
        # the fact table: what nearly every case reads
        "t": f"""
            with r as (select i, hash(i) as a, hash(i + 1000000000) as b, hash(i + 2000000000) as c, hash(i + 3000000000) as d
                       from range({n}) as s(i))
            select (row_number() over (order by d, i))::bigint - 1 as id,
                   (a % 100)::bigint as k_low,
                   (b % 1000)::bigint as k_mid,
                   (c % {high})::bigint as k_high,
                   'city ' || lpad((a % 100)::varchar, 2, '0') as s_low,
                   'customer-' || lpad((c % {high})::varchar, 7, '0') as s_high,
                   ((a // 128) % 100000)::double / 100 as price,
                   ((b // 1024) % 100 + 1)::bigint as qty
            from r order by i""",
        # one row per `id`, in another order
        "one": f"select i::bigint as id, (hash(i + 4000000000) % 1000)::bigint as v from range({n}) as s(i) order by hash(i + 5000000000), i",
        # one row per `k_mid`
        "small": "select i::bigint as k_mid, (hash(i + 6000000000) % 10000)::double / 10000 as rate from range(1000) as s(i)",
        # one row per `k_high`
        "high": f"select i::bigint as k_high, (hash(i + 7000000000) % 1000)::bigint as score from range({high}) as s(i) order by hash(i + 8000000000), i",
        # bids and asks for one in eight of the `id`s
        "book": f"""select (hash(i + 13000000000) % {n})::bigint as id, (hash(i + 14000000000) % 10000)::double / 100 as bid,
                           (hash(i + 14000000000) % 10000 + hash(i + 15000000000) % 100)::double / 100 as ask
                    from range({n} * 12 // 100) as s(i) order by i""",
        # prices and quotes of a day in order of time, for 1000 symbols
        "trades": f"""select make_timestamp({day}::bigint * i // {n}) as ts, 'SYM' || lpad((hash(i + 9000000000) % 1000)::varchar, 4, '0') as symbol,
                             (hash(i + 10000000000) % 100000)::double / 100 as price from range({n}) as s(i) order by i""",
        "quotes": f"""select make_timestamp({day}::bigint * i // {high}) as ts, 'SYM' || lpad((hash(i + 11000000000) % 1000)::varchar, 4, '0') as symbol,
                             (hash(i + 12000000000) % 100000)::double / 100 as bid from range({high}) as s(i) order by i""",
    }


def make(root, n):
    """Writes what is missing; returns the directory."""
    directory = pathlib.Path(root) / f"engine-data-{n}-v{VERSION}"
    directory.mkdir(parents=True, exist_ok=True)
    for name, sql in tables(n).items():
        path = directory / f"{name}.parquet"
        if path.exists():
            continue
        con = duckdb.connect()
        table = con.execute(sql).to_arrow_table()
        part = path.with_suffix(".part")
        pq.write_table(table, part)  # pyarrow's defaults: 1,048,576 rows per group, snappy, dictionaries
        part.rename(path)
    return directory
