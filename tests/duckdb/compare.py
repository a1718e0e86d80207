"""Compares results of Sabot with DuckDB's over the same files, row by row.

usage: compare.py --bin DIR [--threads 1,3] [--only NAME]

DIR holds the built programs `questions`, `flight_delays` and `examples/daily_drag`. Without the module `duckdb` a
virtual environment is made in target/duckdb-venv. Floats may differ by 1e-9 relative, everything else is exact.
Exit code: 0 all equal, 1 some differ, 3 no DuckDB to be had.
"""

import argparse
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import joins

DUCKDB = "duckdb==1.5.6"
ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data" / "nycflights13"


def in_venv():
    """Restarts itself in a virtual environment that has DuckDB."""
    venv = ROOT / "target" / "duckdb-venv"
    python = venv / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        have = subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
        if DUCKDB not in have.split():
            subprocess.run([str(python), "-m", "pip", "install", "-q", DUCKDB], check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"no DuckDB: {e}", file=sys.stderr)
        sys.exit(3)
    os.execv(str(python), [str(python), *sys.argv])


# A view with UTC timestamps: the files hold instants, Sabot writes them without a zone.
F = f"(select * replace (time_hour at time zone 'UTC' as time_hour) from '{DATA}/flights.parquet')"
W = f"(select * replace (time_hour at time zone 'UTC' as time_hour) from '{DATA}/weather.parquet')"
P = f"'{DATA}/planes.parquet'"
A = f"'{DATA}/airlines.parquet'"
ROUTE = "carrier, flight, origin, time_hour, dest"


def hours(name, hours):
    """Start of the window of this many hours, aligned to the epoch."""
    return f"make_timestamp(epoch_us({name}) // {hours * 3600000000} * {hours * 3600000000})"


class Question:
    def __init__(self, name, sql, program="questions", params=(), sources=("flights",), sink="out", ordered=False):
        self.name, self.sql, self.program, self.params = name, sql, program, params
        self.sources, self.sink, self.ordered = sources, sink, ordered


# Random rows: nulls, duplicates, skew (half of the rows have key 0), infinities, text of all lengths, times out of order.
RANDOM = """select i as id, case when random() < 0.1 then null when random() < 0.5 then 0 else (random() * 30)::bigint end as k,
    case when random() < 0.2 then null else repeat('ab', (random() * 12)::int) || (random() * 40)::int end as name,
    case when random() < 0.2 then null when random() < 0.02 then 'inf'::double when random() < 0.3 then 1.5 else random() * 1000 - 300 end as x,
    case when random() < 0.3 then null else (random() * 100)::bigint - 50 end as n,
    case when random() < 0.2 then null else (random() * 10000)::decimal(12, 3) end as d,
    case when random() < 0.3 then null else random() < 0.8 end as b,
    timestamp '2020-01-01' + interval 1 second * (i * 5 + random() * 3000)::bigint as ts
    from range({rows}) t(i)"""
MEASURES = """count(distinct name) as names, count(distinct x) as xs, count(distinct d) as ds, var_samp(n) as var, var_pop(d::double) as var_pop,
    stddev_samp(n) as stddev, stddev_pop(n) as stddev_pop, quantile_cont(n, 0.9) as q, median(x) as m, quantile_cont(d::double, 0.25) as dq,
    first(name order by ts, id) as first_name, last(name order by ts, id) as last_name, last(d order by ts, id) as last_d,
    list(name order by ts, id) as words, list(n order by ts, id) as ns, bool_or(b) as any_b, bool_and(b) as all_b, bool_or(x > 690) as high,
    {about} as about_names, {near} as near_q"""


def overlapping(size, slide):
    """Random rows once per window of these many minutes that holds them."""
    size, slide = size * 60000000, slide * 60000000
    return f"""(select r.*, make_timestamp(s) as window_start, make_timestamp(s + {size}) as window_end
               from random r, generate_series(0, {size // slide}) g(i), lateral (select (epoch_us(ts) // {slide} - i) * {slide} as s)
               where s + {size} > epoch_us(ts))"""


QUESTIONS = [
    Question(
        "daily_drag",
        f"""select carrier, {hours("time_hour", 24)} as window_start, {hours("time_hour", 24)} + interval 1 day as window_end,
               avg(dep_delay * 100.0::double / distance) as drag, count(*) as flights
            from {F} where distance >= 500 group by all""",
        program="examples/daily_drag", params=("--minimum_miles", "500"), sink="daily",
    ),
    Question(
        "flight_delays",
        f"""with storms as (select * from {W} where visib < 3.0 or (visib is not null and (coalesce(wind_speed, 0) > 30.0
                            or coalesce(precip, 0) > 0.1))),
               slow as (select f.*, s.visib from {F} f join storms s using (origin, time_hour) where arr_delay is not null),
               named as (select regexp_replace(a.name, '( Air Lines| Airlines| Airways| Corporation| Inc\\.| Co\\.).*$', '') as airline,
                            s.origin || '-' || s.dest as route,
                            case when p.year is null then 'unknown' when 2013 - p.year <= 5 then '0-5'
                                 when 2013 - p.year <= 15 then '6-15' else '16+' end as age, arr_delay, distance, visib
                        from slow s left join {P} p using (tailnum) join {A} a using (carrier))
            select airline, route, age, count(*) as flights, sum(arr_delay) * 100.0::double / sum(distance) as lost,
                   quantile_disc(arr_delay, 0.9) as nine_of_ten, sum(case when arr_delay >= 60 then 1 else 0 end)::bigint as very_late,
                   avg(visib) as visib
            from named group by all having count(*) >= 2 order by lost desc, airline, route, age limit 1000""",
        program="flight_delays", params=("--minimum_flights", "2", "--top", "1000"),
        sources=("flights", "weather", "planes", "airlines"), sink="worst", ordered=True,
    ),
    Question(
        "by_carrier_origin",
        f"""select carrier, origin, count(*) as rows, count(dep_delay) as known, sum(dep_delay)::bigint as total, min(dep_delay) as least,
               max(arr_delay) as most, avg(arr_delay) as mean_delay, sum(distance)::bigint as miles, min(tailnum) as first_tail,
               max(dest) as last_dest from {F} group by all""",
    ),
    Question(
        "weather_days",
        f"""select origin, month, day, count(*) as hours, count(temp) as temps, max(temp) as warm, min(temp) as cold, avg(temp) as temp,
               count(wind_gust) as gusts, max(wind_gust) as gust, sum(wind_gust) as gust_sum, sum(wind_dir)::bigint as direction,
               avg(wind_dir) as direction_mean, sum(visib) as visib from {W} group by all""",
        sources=("weather",),
    ),
    Question("by_tailnum", f"select tailnum, count(*) as rows, sum(air_time)::bigint as air from {F} group by all"),
    Question(
        "overall",
        f"""select count(*) as rows, sum(air_time)::bigint as air, avg(air_time) as mean_air, max(distance) as far
            from {F} where distance >= 1000""",
        params=("--minimum", "1000"),
    ),
    Question(
        "overall",
        f"""select count(*) as rows, sum(air_time)::bigint as air, avg(air_time) as mean_air, max(distance) as far
            from {F} where distance >= 100000""",
        params=("--minimum", "100000"),
    ),
    Question(
        "null_filters",
        f"""select carrier, flight, origin, time_hour, tailnum, dep_delay - arr_delay as gain,
               distance * 60.0::double / air_time as speed, 100 // air_time as over
            from {F} where dep_delay - arr_delay > 20 and (dep_delay % 3 <> 0 or tailnum is null)""",
    ),
    Question(
        "nulls_only",
        f"""select month, day, carrier, flight, origin, dep_delay, arr_delay, dep_delay - arr_delay as gain
            from {F} where dep_delay is null or arr_delay is null""",
    ),
    Question(
        "worst",
        f"""select dep_delay, {ROUTE} from {F} order by dep_delay desc nulls last, carrier, flight, origin, time_hour, dest limit 500""",
        params=("--top", "500"), ordered=True,
    ),
    Question(
        "nulls_sorted",
        f"""select tailnum, arr_delay, {ROUTE} from {F} where month = 2
            order by tailnum nulls first, arr_delay desc nulls first, carrier, flight, origin, time_hour, dest""",
        ordered=True,
    ),
    Question(
        "planes_of",
        f"""select {ROUTE}, f.tailnum, p.tailnum is not null as found, p.year, p.model
            from {F} f left join {P} p on f.tailnum = p.tailnum""".replace("carrier, flight", "f.carrier, f.flight"),
        sources=("flights", "planes"),
    ),
    Question(
        "null_keys",
        f"""with tails as (select tailnum, count(*) as flown from {F} group by all)
            select {ROUTE}, f.tailnum, t.flown from {F} f left join tails t on f.tailnum = t.tailnum where month = 1 and day <= 10""",
    ),
    Question(
        "same_plane",
        f"""select a.tailnum, a.flight, b.flight as next_flight, a.dest, b.origin as next_origin, a.time_hour as hour, b.time_hour as next_hour
            from {F} a join {F} b on a.tailnum = b.tailnum where a.month = 1 and a.day = 1 and b.month = 1 and b.day = 2""",
    ),
    Question(
        "hourly",
        f"""select origin, {hours("time_hour", 1)} as window_start, {hours("time_hour", 1)} + interval 1 hour as window_end, count(*) as rows,
               count(dep_delay) as known, avg(dep_delay) as delay, max(dep_delay) as most from {F} group by all""",
    ),
    Question(
        "weekly",
        f"""with hours as (select origin, carrier, {hours("time_hour", 1)} as h, count(*) as rows, sum(distance)::bigint as miles
                          from {F} group by all)
            select carrier, {hours("h", 168)} as window_start, {hours("h", 168)} + interval 7 day as window_end, count(*) as hours,
                   sum(rows)::bigint as rows, sum(miles)::bigint as miles, max(rows) as busiest from hours group by all""",
    ),
    Question(
        "both",
        f"""with u as (select * from {F} where origin = 'JFK' union all select * from {F} where distance > 2000)
            select carrier, count(*) as rows, sum(distance)::bigint as miles, avg(air_time) as air from u group by all""",
    ),
    Question("distinct_routes", f"select distinct carrier, origin, dest, tailnum from {F}"),
    Question("distinct_weather", f"select distinct origin, temp, wind_dir, wind_gust from {W}", sources=("weather",)),
    Question(
        "first_of_tail",
        f"""select tailnum, {ROUTE} from (select * replace (time_hour at time zone 'UTC' as time_hour)
               from read_parquet('{DATA}/flights.parquet', file_row_number = true))
            qualify row_number() over (partition by tailnum order by file_row_number) = 1""",
    ),
    Question(
        "top_all",
        f"select arr_delay, {ROUTE} from {F} order by arr_delay desc nulls last, carrier, flight, origin, time_hour, dest limit 333",
        params=("--n", "333"), ordered=True,
    ),
    Question(
        "top_of_tail",
        f"""select tailnum, arr_delay, {ROUTE} from {F}
            qualify row_number() over (partition by tailnum order by arr_delay desc nulls first, carrier, flight, origin, time_hour, dest) <= 3""",
        params=("--n", "3"),
    ),
    Question(
        "in_both_months",
        f"select carrier, dest, tailnum from {F} where month = 6 intersect select carrier, dest, tailnum from {F} where month = 7",
    ),
    Question(
        "in_one_month",
        f"select carrier, dest, tailnum from {F} where month = 6 except select carrier, dest, tailnum from {F} where month = 7",
    ),
    Question(
        "running",
        f"""select carrier, time_hour, flight, origin, dest, row_number() over o as n, lag(dep_delay) over o as before,
               lag(tailnum, 3) over o as third, lead(dest, 2) over o as after, sum(distance) over r::bigint as miles,
               sum(dep_delay) over r::bigint as delay, count(dep_delay) over r as known, min(arr_delay) over r as least,
               max(tailnum) over r as most, avg(dep_delay - arr_delay) over r as mean_gain
            from {F} where month <= 3 window o as (partition by carrier order by time_hour, flight, origin, dest),
               r as (partition by carrier order by time_hour, flight, origin, dest rows between unbounded preceding and current row)""",
    ),
    Question(
        "ranks",
        f"""select carrier, time_hour, flight, origin, dest, rank() over o as rank, dense_rank() over o as dense, percent_rank() over o as share
            from {F} where month = 2 window o as (partition by origin, day order by dep_delay desc nulls last)""",
    ),
    Question(
        "day_share",
        f"""select origin, month, day, temp, count(*) over d as hours, max(temp) over d as warm, min(temp) over d as cold,
               count(wind_gust) over d as gusts, avg(wind_gust) over d as gust from {W} window d as (partition by origin, month, day)""",
        sources=("weather",),
    ),
    Question("of_nothing", f"select distinct carrier, dest, tailnum from {F} where distance > 4000"),
]

# Over random rows, and over none.
RANDOM_QUESTIONS = [
    Question("measures", f"select k, {MEASURES} from random group by all".format(about=True, near=True), sources=("random",)),
    Question(
        "measures_all",
        f"select {MEASURES} from random".format(about=True, near="case when count(x) > 0 then true end"),
        sources=("random",),
    ),
    Question(
        "in_order",
        """select k, first(id order by id) as first_id, last(name order by id) as last_name, list(x order by id) as xs from random group by all""",
        sources=("random",),
    ),
    Question(
        "hopping",
        f"""select k, window_start, window_end, count(*) as rows, sum(n)::bigint as total, avg(n) as mean, first(id order by ts, id) as first_id,
               list(id order by ts, id) as ids, count(distinct name) as names, median(x) as middle, stddev_samp(n) as spread, max(d) as most
            from {overlapping(60, 25)} group by all""",
        sources=("random",),
    ),
    Question(
        "pausing",
        """select k, min(ts) as window_start, max(ts) + interval 2 minute as window_end, count(*) as rows, sum(n)::bigint as total, avg(n) as mean,
               first(id order by ts, id) as first_id, list(id order by ts, id) as ids, count(distinct name) as names, median(x) as middle, max(d) as most
            from (select *, sum(begins) over (partition by k order by ts, id) as session
                  from (select *, case when ts < lag(ts) over (partition by k order by ts, id) + interval 2 minute then 0 else 1 end as begins from random))
            group by k, session""",
        sources=("random",),
    ),
    Question(
        "hopping_far",
        f"select window_start, window_end, k, count(*) as rows from {overlapping(120, 7)} group by all".replace("select window_start, window_end, k", "select k, window_start, window_end"),
        sources=("random",),
    ),
    Question(
        "plain_measures",
        """select k, count(*) as rows, count(x) as xs, sum(n)::bigint as total, avg(n) as mean, sum(d) as exact, min(name) as low_name,
               max(name) as high_name, min(x) as low_x, max(x) as high_x, min(d) as low_d, max(b) as high_b, max(ts) as last
            from random group by all""",
        sources=("random",),
    ),
    Question(
        "tumbling_windows",
        """select k, make_timestamp(epoch_us(ts) // 5400000000 * 5400000000) as window_start,
               make_timestamp((epoch_us(ts) // 5400000000 + 1) * 5400000000) as window_end, count(*) as rows, sum(n)::bigint as total,
               max(name) as most
            from random group by all""",
        sources=("random",),
    ),
    Question(
        "in_an_order",
        "select x, name, k, id from random order by x desc nulls last, name nulls first, k nulls last, id",
        sources=("random",), ordered=True,
    ),
    Question(
        "first_rows", "select id, n from random where n > 20 order by id limit 10", params=("--n", "20"), sources=("random",), ordered=True,
    ),
    Question(
        "best_of_key",
        """select k, n, name, id from random
            qualify row_number() over (partition by k order by n desc nulls last, name nulls first, id) <= 4""",
        params=("--rows", "4"), sources=("random",),
    ),
    Question(
        "ranks_of_key",
        """select k, id, rank() over o as rank, dense_rank() over o as dense, percent_rank() over o as share
            from random window o as (partition by k order by n desc nulls last)""",
        sources=("random",),
    ),
    Question(
        "running_of_key",
        """select k, id, row_number() over o as place, lag(name) over o as before, lag(id, 3) over o as third, lead(x) over o as after,
               sum(n) over r::bigint as total, count(x) over r as known, min(d) over r as least, max(name) over r as most
            from random window o as (partition by k order by n nulls last, id),
               r as (partition by k order by n nulls last, id rows between unbounded preceding and current row)""",
        sources=("random",),
    ),
    Question("distinct_of_random", "select distinct k, n, b from random", sources=("random",)),
    Question(
        "in_both_halves", "select k, n from random where x < 100 intersect select k, n from random where x >= 100", sources=("random",),
    ),
    Question("in_one_half", "select k, n from random where x < 100 except select k, n from random where x >= 100", sources=("random",)),
    Question(
        "halves",
        """select k, count(*) as rows, sum(n)::bigint as total, avg(n) as mean
            from (select k, n from random where x < 300 union all select k, n from random where x >= 100) group by all""",
        sources=("random",),
    ),
]


def same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=0.0) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


def in_order(relation):
    """All rows, in an order that both sides have: floats last and rounded, since they may differ a little, lists not at all."""
    exact, rounded = [], []
    for name, kind in zip(relation.columns, map(str, relation.types)):
        name = f'"{name}"'
        if kind in ("FLOAT", "DOUBLE"):
            rounded.append(f"printf('%.6g', {name})")
        elif not kind.endswith("[]"):
            exact.append(name)
    terms = exact + rounded
    return relation.order(", ".join(terms)).fetchall() if terms else relation.fetchall()


WANTED = {}


def wanted_of(duckdb, question, data):
    """Names, types and rows that DuckDB has for a question over these data: asked once."""
    if (data, question.sql) not in WANTED:
        found = duckdb.sql(question.sql)
        rows = found.fetchall() if question.ordered else in_order(found)
        WANTED[data, question.sql] = found.columns, [str(t) for t in found.types], rows
    return WANTED[data, question.sql]


def check(duckdb, question, directory, threads, extension, sources, note, data="flights"):
    """Runs a question and compares its rows with DuckDB's over `data`, a name for what the sources hold."""
    out = pathlib.Path(directory) / f"{question.name}-{threads}.{extension}"
    command = [str(BIN / question.program), "run", question.program.split("/")[-1] if question.program != "questions" else question.name]
    command += [*question.params, "--threads", str(threads), "--sink", f"{question.sink}={out}"]
    for s in question.sources:
        command += ["--source", f"{s}={sources}/{s}.{note or 'parquet'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    label = f"{question.name} {' '.join(question.params)} ({threads} threads, {note or 'parquet'} -> {extension})"
    if done.returncode != 0:
        return f"{label}: exit code {done.returncode}: {done.stderr.strip()}"
    names, types, b = wanted_of(duckdb, question, data)
    if extension == "csv":
        columns = {n: t for n, t in zip(names, types)}
        got = duckdb.read_csv(str(out), columns=columns, null_padding=False, header=True)
    else:
        got = duckdb.sql(f"select * from '{out}'")
    if got.columns != names:
        return f"{label}: columns {got.columns}, DuckDB has {names}"
    a = got.fetchall() if question.ordered else in_order(got)
    out.unlink()
    if len(a) != len(b):
        return f"{label}: {len(a)} rows, DuckDB has {len(b)}"
    for n, (x, y) in enumerate(zip(a, b)):
        if not all(map(same, x, y)):
            return f"{label}: row {n} differs\n  sabot  {x}\n  duckdb {y}"
    print(f"ok  {label}: {len(a)} rows")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--threads", default="1,3")
    parser.add_argument("--only")
    args = parser.parse_args()
    global BIN
    BIN = pathlib.Path(args.bin).resolve()
    try:
        import duckdb
    except ImportError:
        in_venv()
    if DUCKDB.split("==")[1] != duckdb.__version__:
        in_venv()
    duckdb.sql("set timezone = 'UTC'")
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        for n, question in enumerate(q for q in QUESTIONS if args.only in (None, q.name)):
            for i, threads in enumerate(map(int, args.threads.split(","))):
                extension = "csv" if (n + i) % 2 else "parquet"
                failures.append(check(duckdb, question, directory, threads, extension, DATA, None))
        for name, folder in joins.write(duckdb, directory).items():
            for table in ("a", "b"):
                duckdb.sql(f"create or replace view {table} as from '{folder}/{table}.parquet'")
            for question in (Question(n, sql, sources=("a", "b")) for n, sql in joins.QUESTIONS.items() if args.only in (None, n)):
                for threads in (1, 2, 3, 8):
                    failures.append(check(duckdb, question, directory, threads, "parquet", folder, None, name))
        # the same rows from CSV files that DuckDB wrote
        for name, sql in {"flights": F, "weather": W}.items():
            duckdb.sql(f"copy {sql} to '{directory}/{name}.csv' (header, delimiter ',', nullstr 'NA', timestampformat '%Y-%m-%dT%H:%M:%S')")
        for question in QUESTIONS:
            if question.program == "questions" and "planes" not in question.sources and args.only in (None, question.name):
                failures.append(check(duckdb, question, directory, 2, "parquet", directory, "csv"))
        duckdb.sql("select setseed(0.42)")
        for rows in (20000, 700, 1, 0):
            duckdb.sql(f"copy ({RANDOM.format(rows=rows)}) to '{directory}/random.parquet' (row_group_size 2048)")
            duckdb.sql(f"create or replace table random as from '{directory}/random.parquet'")
            for question in RANDOM_QUESTIONS:
                if args.only in (None, question.name):
                    for threads in (1, 2, 3, 8):
                        failures.append(check(duckdb, question, directory, threads, "parquet", directory, None, rows))
    failures = [f for f in failures if f]
    for f in failures:
        print(f"DIFFERENT  {f}")
    print(f"{len(failures)} differences")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
