"""One engine, one case, in a process of its own: `peer.py ENGINE CASE memory|parquet THREADS DIRECTORY`.

Prints `ready` when data is loaded; then one answer (JSON) per line of input: `run` runs and times, `write FILE` runs and
stores the result (Arrow IPC), `reset` forgets the peak of memory, `peak` tells it.
"""

import json
import os
import pathlib
import resource
import sys
import time

engine, name, mode, threads, directory = sys.argv[1:6]
os.environ["POLARS_MAX_THREADS"] = threads
os.environ["TOKIO_WORKER_THREADS"] = threads
os.environ["RAYON_NUM_THREADS"] = threads

import cases  # noqa: E402 (Polars reads its variables when it is loaded)

CASE = next(case for case in cases.CASES if case.name == name)
FILES = {table: str(pathlib.Path(directory) / f"{table}.parquet") for table in CASE.tables}


def duckdb():
    import duckdb

    con = duckdb.connect(config={"threads": int(threads)})
    for table, file in FILES.items():
        if mode == "memory":
            con.execute(f"create table {table} as select {', '.join(CASE.tables[table])} from '{file}'")
        else:
            con.execute(f"create view {table} as select * from '{file}'")
    sql = CASE.sql_of(engine)
    return lambda: con.execute(sql).to_arrow_table()


def datafusion():
    import datafusion

    con = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(int(threads)))
    for table, file in FILES.items():
        con.register_parquet(table, file)
        if mode == "memory":
            # what DataFusion itself decodes, in as many partitions as threads
            batches = con.table(table).select(*CASE.tables[table]).collect()
            con.deregister_table(table)
            con.register_record_batches(table, [batches[i :: int(threads)] for i in range(int(threads))])
    sql = CASE.sql_of(engine)
    return lambda: con.sql(sql).collect()


def polars():
    import polars as pl

    if mode == "memory":
        frames = [pl.read_parquet(file, columns=CASE.tables[table]).lazy() for table, file in FILES.items()]
    else:
        frames = [pl.scan_parquet(file).select(CASE.tables[table]) for table, file in FILES.items()]
    newest = pl.CompatLevel.newest()
    how = os.environ.get("SABOT_BENCH_POLARS", "auto")
    return lambda: CASE.polars(*frames).collect(engine=how).to_arrow(compat_level=newest)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def write(result, file):
    import pyarrow as pa

    table = pa.Table.from_batches(result) if isinstance(result, list) else result
    # views share buffers, all of which would be written with each batch
    plain = [pa.field(f.name, pa.large_string()) if f.type == pa.string_view() else f for f in table.schema]
    table = table.cast(pa.schema(plain))
    with pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    return table.num_rows


def main():
    run = {"duckdb": duckdb, "datafusion": datafusion, "polars": polars}[engine]()
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["run"]:
                wall, used = time.perf_counter(), cpu()
                result = run()
                wall, used = time.perf_counter() - wall, cpu() - used
                rows = sum(b.num_rows for b in result) if isinstance(result, list) else result.num_rows
                answer = {"wall": wall, "cpu": used, "rows": rows}
                del result
            case ["write", file]:
                answer = {"rows": write(run(), file)}
            case ["reset"]:
                pathlib.Path("/proc/self/clear_refs").write_text("5")
                answer = {}
            case ["peak"]:
                answer = {"peak": peak()}
            case other:
                raise SystemExit(f"unknown request {other}")
        print(json.dumps(answer), flush=True)


main()
