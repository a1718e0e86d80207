"""NEXMark on Sabot and on Flink: the same events, the same questions, the same parallelism and checkpoint interval.

    cargo bench -p sabot-benches --bench nexmark               # results compared, then events per second of processor time
    cargo bench -p sabot-benches --bench nexmark -- --smoke    # few events, Sabot's stream beside its batch; nothing timed or downloaded

Options: --events N, --check N (events of the comparison of results), --per-second N (of event time), --threads N, --every MS (between
checkpoints), --rounds N, --only q5 (again for more), --no-flink, --latency (also how long results take at half of the measured speed),
--recovery BYTES (only: how long q18 takes to go on from a checkpoint with so much state, as JSON lines).

Flink is the PyPI package `apache-flink-libraries`, which is put into target/flink, where `benches/nexmark/flink/*.java` are compiled against it: a
driver, and the event generator ported to Java, with the same events, number by number. Both engines generate events in the process that is
measured and drop the result; Sabot is measured once more with its events in memory. Each run is a process of its own, and they take turns. What
counts is processor time, user and system, of the whole process. Flink is run with all events and with a fifth of them, and the difference is
reported too: it is without the start of the JVM, planning and warming up.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import queries

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
FLINK = TARGET / "flink"
PACKAGE = "apache-flink-libraries==2.3.0"
SMOKE = ["q0", "q1", "q3", "q4", "q5", "q7", "q8", "q9", "q11", "q13", "q15", "q17", "q18", "q20"]
TIMED = ["q1", "q4", "q5", "q7", "q9", "q11", "q17", "q18"]
# what Flink needs opened in Java 17
OPENS = ["java.util", "java.lang", "java.time", "java.util.concurrent", "java.util.concurrent.atomic", "java.nio", "java.net", "java.text",
         "java.lang.reflect", "sun.net.util"]


def flink():
    """Downloads Flink and compiles the driver; returns the class path."""
    libraries, classes = FLINK / "dist" / "pyflink" / "lib", FLINK / "classes"
    if not libraries.exists():
        wheel = FLINK / "wheel"
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheel), PACKAGE], check=True)
        for file in wheel.glob("*.whl"):
            shutil.unpack_archive(str(file), str(FLINK / "dist"), "zip")
    shutil.rmtree(classes, ignore_errors=True)
    classes.mkdir(parents=True)
    sources = [str(f) for f in sorted((HERE / "flink").glob("*.java"))]
    subprocess.run(["javac", "-cp", f"{libraries}/*", "-d", str(classes), *sources], check=True)
    shutil.copytree(HERE / "flink" / "META-INF", classes / "META-INF")
    return f"{classes}:{libraries}/*"


class Runs:
    def __init__(self, args, scratch, classpath):
        self.args, self.scratch, self.classpath, self.number = args, pathlib.Path(scratch), classpath, 0

    def fresh(self, name):
        self.number += 1
        return self.scratch / f"{name}-{self.number}"

    def sabot(self, what, query, mode, events, every=0, out=None, threads=None, per_second=None):
        """Runs Sabot once; what it says."""
        place = str(out or self.fresh("state"))
        numbers = [events, per_second or self.args.per_second, threads or self.args.threads, every]
        done = subprocess.run([self.args.sabot, what, query, mode, *map(str, numbers), place], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"Sabot failed in {query} ({mode}): {done.stderr.strip()}")
        shutil.rmtree(place, ignore_errors=True)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def flink(self, query, events, every=0, out="-"):
        """Runs Flink once; seconds of processor time and of the clock of the whole process."""
        sql = self.scratch / f"{query}.sql"
        sql.write_text(queries.QUERIES[query])
        rounds, nanos = events // 50, 1_000_000_000 // self.args.per_second
        command = ["java", "-Xmx4g", *(f"--add-opens=java.base/{p}=ALL-UNNAMED" for p in OPENS), "-cp", self.classpath, "Driver", str(sql)]
        command += [str(rounds), str(self.args.threads), str(nanos), str(every), str(self.fresh("flink")), str(out)]
        log = self.scratch / "flink.log"
        before = os.times()
        with log.open("w") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
        after = os.times()
        if done.returncode != 0:
            sys.exit(f"Flink failed in {query}:\n{log.read_text()[:6000]}")
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return {"cpu": used, "wall": after.elapsed - before.elapsed}


def rows(file, without=()):
    """The lines of a result as a multiset; fractions are cut off, since Flink's averages of whole numbers have none."""
    def cell(text):
        whole, dot, rest = text.partition(".")
        return whole if dot and whole.isdigit() and rest.isdigit() and len(rest) != 3 else text

    lines = (line.rstrip("\n").split("\t") for line in open(file))
    return collections.Counter(tuple(cell(c) for i, c in enumerate(line) if i not in without) for line in lines)


def same(query, one, other):
    (a, found), (b, wanted) = one, other
    if found != wanted or not found:
        only = [list((x - y).items())[:3] for x, y in ((found, wanted), (wanted, found))]
        sys.exit(f"{query}: {a} has {found.total()} rows, {b} has {wanted.total()}\n  only {a}: {only[0]}\n  only {b}: {only[1]}")
    return found.total()


def check(runs, query, events, with_flink):
    """Compares results: Sabot's stream from the generator and from memory, its batch, and Flink's. Returns the number of rows."""
    found = {}
    without = queries.WITHOUT.get(query, ())
    per_second = min(max(events // 40, 1), queries.APART.get(query, events))
    for mode, threads in (("generator", runs.args.threads), ("memory", runs.args.threads), ("batch", 1)):
        out = runs.fresh("rows")
        runs.sabot("--write", query, mode, events, out=out, threads=threads, per_second=per_second)
        found[mode] = rows(out, without)
        out.unlink()
    total = same(query, ("the stream", found["generator"]), ("the batch", found["batch"]))
    same(query, ("the stream from memory", found["memory"]), ("the batch", found["batch"]))
    if with_flink and query in queries.QUERIES:
        out, runs.args.per_second, kept = runs.fresh("rows"), per_second, runs.args.per_second
        runs.flink(query, events, out=out)
        runs.args.per_second = kept
        same(query, ("Sabot", found["generator"]), ("Flink", rows(out)))
        out.unlink()
    return total


def measure(runs, query):
    args = runs.args
    samples = collections.defaultdict(list)
    for _ in range(args.rounds):
        for mode in ("generator", "memory"):
            samples[mode].append(runs.sabot("--worker", query, mode, args.events, args.every))
        samples["without"].append(runs.sabot("--worker", query, "generator", args.events))
        if args.flink:
            whole, part = runs.flink(query, args.events, args.every), runs.flink(query, args.events // 5, args.every)
            samples["flink"].append(whole)
            samples["warm"].append({k: whole[k] - part[k] for k in whole})
    out = {"query": query, "checkpoints": samples["generator"][-1]["checkpoints"]}
    for name, runs_of in samples.items():
        events = args.events * 4 // 5 if name == "warm" else args.events
        out[name] = {k: statistics.median(r[k] for r in runs_of) for k in ("cpu", "wall")}
        out[name]["rate"] = events / out[name]["cpu"]
    if args.latency:
        pace = int(args.events / out["generator"]["wall"] / 2)
        out["latency"] = runs.sabot("--latency", query, "generator", pace * 12, args.every, per_second=pace) | {"pace": pace}
    return out


def recovery(runs, size):
    """A process grows q18's state to that size and dies; the next one goes on from its checkpoint, and dies when it reads the first row."""
    args = runs.args
    for _ in range(args.rounds):
        place = runs.fresh("recovery")
        # a row of state takes about 100 bytes
        numbers = [str(size // 20 // (50 * args.threads) * (50 * args.threads)), str(args.per_second), str(args.threads), "500", str(place)]
        grown = subprocess.run([args.sabot, "--grow", "q18", "generator", *numbers, str(size)], capture_output=True, text=True)
        if grown.returncode >= 0:
            sys.exit(f"no state of {size} bytes: {grown.stderr.strip()}")
        went_on = subprocess.run([args.sabot, "--recover", "q18", "generator", *numbers], capture_output=True, text=True)
        if went_on.returncode != 0:
            sys.exit(f"it did not go on: {went_on.stderr.strip()}")
        print(went_on.stdout.strip(), flush=True)
        shutil.rmtree(place)


def table(results):
    lines = ["| query | Sabot | from memory | Flink | Flink, warm | Sabot / Flink | Sabot / Flink, warm | checkpoints cost |", "|---|---|---|---|---|---|---|---|"]
    thousand = lambda r, k: f"{r[k]['rate'] / 1e3:,.0f} k" if k in r else "–"
    for r in results:
        times = [f"{r['generator']['rate'] / r[k]['rate']:.1f}" if k in r else "–" for k in ("flink", "warm")]
        cost = r["generator"]["cpu"] / r["without"]["cpu"] - 1
        lines.append(f"| {r['query']} | {' | '.join(thousand(r, k) for k in ('generator', 'memory', 'flink', 'warm'))} | {' | '.join(times)} | {cost:+.0%} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sabot", required=True)
    parser.add_argument("--smoke", "--test", action="store_true")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--check", type=int)
    parser.add_argument("--per-second", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--no-flink", dest="flink", action="store_false")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--recovery", type=int, metavar="BYTES")
    parser.add_argument("--out", type=pathlib.Path, default=TARGET / "nexmark")
    args = parser.parse_args()
    round_to = 50 * args.threads
    args.events = args.events // round_to * round_to
    checked = (args.check or (20_000 if args.smoke else 200_000)) // round_to * round_to
    with tempfile.TemporaryDirectory(dir=TARGET) as scratch:
        if args.smoke:
            runs = Runs(args, scratch, None)
            for query in SMOKE:
                total = check(runs, query, checked, False)
                runs.sabot("--worker", query, "generator", checked, 1)
                print(f"{query}: {total} rows")
            return
        if args.recovery:
            recovery(Runs(args, scratch, None), args.recovery)
            return
        runs = Runs(args, scratch, flink() if args.flink else None)
        results = []
        for query in args.only or TIMED:
            total = check(runs, query, checked, args.flink)
            print(f"{query}: {total} rows of {checked} events agree", file=sys.stderr, flush=True)
            results.append(measure(runs, query))
            print(table(results[-1:]).splitlines()[-1], results[-1].get("latency", ""), file=sys.stderr, flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "nexmark.json").write_text(json.dumps({"options": {k: str(v) for k, v in vars(args).items()}, "results": results}, indent=1))
    print(table(results))


main()
