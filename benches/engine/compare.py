"""Sabot beside DuckDB, Polars and DataFusion on the same data.

    cargo bench -p sabot-benches --bench engine                  # 10^7 rows, 2 threads: table, and JSON and SVG in target/engine
    cargo bench -p sabot-benches --bench engine -- --smoke       # few rows, results compared, nothing timed

Options: --rows N, --threads N, --rounds N, --only WORD (part of a case's name; again for more), --mode memory|parquet,
--engines a,b, --out DIR. The peers are installed into a virtual environment in target/engine-venv, in the versions of
`requirements.txt`; the data is made once, in target/engine-data-*.

Each engine runs each case in a process of its own. The processes of a case are alive together and take turns, so that
noise of the machine meets all of them; medians are reported. Before anything is timed, results are compared: number of
rows, all columns by an order-independent hash (floats within 1e-9), and the order of sorted results.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
PEERS = ["duckdb", "polars", "datafusion"]


def in_venv():
    """Restarts itself where the peers are."""
    venv = TARGET / "engine-venv"
    python = venv / "bin" / "python"
    wanted = (HERE / "requirements.txt").read_text().split()
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        have = subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout.split()
        if not set(wanted) <= set(have):
            subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        if os.environ.get("CI"):
            sys.exit(f"the other engines cannot be installed: {e}")
        print(f"skipped: the other engines cannot be installed: {e}")
        sys.exit(0)
    os.execv(str(python), [str(python), *sys.argv])


class Worker:
    """A process that runs one case on one engine."""

    def __init__(self, engine, case, mode, threads, directory, sabot):
        self.engine, self.case = engine, case
        rest = [case.name, mode, str(threads), str(directory)]
        command = [sabot, "--worker", *rest] if engine == "sabot" else [sys.executable, str(HERE / "peer.py"), engine, *rest]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.line("ready")

    def line(self, wanted=None):
        line = self.process.stdout.readline().strip()
        if not line or (wanted and line != wanted):
            self.process.kill()
            sys.exit(f"{self.engine} failed in `{self.case.name}`")
        return line

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def check(case, workers, scratch):
    """Compares the results; returns their number of rows."""
    import digest

    first = None
    for worker in workers:
        file = pathlib.Path(scratch) / f"{worker.engine}.arrow"
        rows = worker.ask(f"write {file}")["rows"]
        found = digest.of(file, case.order) if rows else {"rows": 0}
        file.unlink(missing_ok=True)
        if first is None:
            first = worker.engine, found
        elif problem := digest.differ(first[1], found):
            sys.exit(f"`{case.name}`: {worker.engine} differs from {first[0]}: {problem}")
    return first[1]["rows"]


def measure(case, mode, args, directory, scratch):
    engines = [e for e in args.engines if e not in case.without]
    workers = [Worker(e, case, mode, args.threads, directory, args.sabot) for e in engines]
    result = {"case": case.name, "title": case.title, "mode": mode, "rows": args.rows, "out": check(case, workers, scratch), "engines": {}}
    if not args.smoke:
        for worker in workers:
            worker.ask("reset")
        samples = {e: [] for e in engines}
        for turn in range(args.rounds):
            # another one begins each time
            for worker in workers[turn % len(workers):] + workers[: turn % len(workers)]:
                samples[worker.engine].append(worker.ask("run"))
        for worker in workers:
            wall, cpu = ([s[k] for s in samples[worker.engine]] for k in ("wall", "cpu"))
            result["engines"][worker.engine] = {
                "wall": statistics.median(wall), "cpu": statistics.median(cpu), "least_wall": min(wall), "least_cpu": min(cpu),
                "peak": worker.ask("peak")["peak"],
            }
    for worker in workers:
        worker.close()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sabot", required=True)
    parser.add_argument("--smoke", "--test", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--mode", choices=["memory", "parquet"], action="append", default=[])
    parser.add_argument("--engines", type=lambda s: s.split(","), default=None)
    parser.add_argument("--out", type=pathlib.Path, default=TARGET / "engine")
    args = parser.parse_args()
    if pathlib.Path(sys.prefix) != TARGET / "engine-venv":
        in_venv()
    args.engines = args.engines or ["sabot", *(PEERS[:1] if args.smoke else PEERS)]
    args.rows = args.rows or (20_000 if args.smoke else 10_000_000)
    import cases
    import data
    import report

    directory = data.make(TARGET, args.rows)
    picked = [c for c in cases.CASES if not args.only or any(word in c.name for word in args.only)]
    known = subprocess.run([args.sabot, "--cases"], check=True, capture_output=True, text=True).stdout.split()
    if missing := set(known) ^ {c.name for c in cases.CASES}:
        sys.exit(f"cases.py and cases.rs differ: {', '.join(sorted(missing))}")
    results = []
    with tempfile.TemporaryDirectory(dir=TARGET) as scratch:
        for mode in args.mode or ["memory", "parquet"]:
            for case in picked:
                started = time.time()
                results.append(measure(case, mode, args, directory, scratch))
                if not args.smoke:
                    print(report.line(results[-1]), f"[{time.time() - started:.0f} s]", file=sys.stderr, flush=True)
    if args.smoke:
        print(f"{len(results)} results agree")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    print(report.write(args, results))


main()
