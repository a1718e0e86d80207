"""Every join over random rows: nulls, duplicates, skew, empty sides."""

import pathlib
import random


def nearest(key):
    """The nearest row of b for each row of a, by comparing all; of two the earlier. Times of b differ."""
    return f"""select a.id as l, (select b.id from b where {key}
                   order by abs(epoch_us(b.ts) - epoch_us(a.ts)), b.ts limit 1) as r from a"""


QUESTIONS = {
    "join_inner": "select a.id as l, b.id as r, a.g from a join b on a.k = b.k and a.g = b.g and a.v <= b.v",
    "join_left": "select a.id as l, b.id as r, b.g from a left join b on a.k = b.k and a.v % 3 = b.v % 3",
    "join_right": "select a.id as l, b.id as r, a.g, b.k from a right join b on a.g = b.g and a.k = b.k + 1",
    "join_full": "select a.id as l, b.id as r, a.v from a full join b on a.k = b.k and a.g = b.g",
    "join_semi": "select a.id as l, a.g from a where exists (from b where b.id % 3 = 0 and a.k = b.k and a.v < b.v)",
    "join_anti": "select a.id as l, a.k from a where not exists (from b where b.id % 3 = 0 and a.k = b.k and a.g = b.g)",
    "asof_backward": "select a.id as l, b.id as r, b.v from a asof left join b on a.k = b.k and a.ts >= b.ts",
    "asof_forward": """select a.id as l, case when b.ts - a.ts <= interval 3 minute then b.id end as r
                       from a asof left join b on a.k = b.k and a.g = b.g and a.ts <= b.ts""",
    "asof_nearest": nearest("a.k = b.k"),
    "asof_global": """select a.id as l, case when a.ts - b.ts <= interval 30 second then b.id end as r
                      from a asof left join (from b where id % 2 = 0) b on a.ts >= b.ts""",
    "interval": """select a.id as l, b.id as r from a join b on a.k = b.k
                   and b.ts - a.ts between -interval 5 minute and interval 90 second""",
}
# rows of a, rows of b, keys, share of the commonest key
SETS = {"plain": (1200, 900, 60, 0.0), "skew": (300, 200, 5, 0.8), "few_b": (800, 7, 20, 0.1), "no_a": (0, 300, 9, 0.0), "no_b": (300, 0, 9, 0.0)}


def write(duckdb, directory):
    """Writes a.parquet and b.parquet of each set; returns the directories."""
    out = {}
    for name, (rows_a, rows_b, keys, skew) in SETS.items():
        chance = random.Random(name)
        folder = pathlib.Path(directory) / f"joins-{name}"
        folder.mkdir()
        for table, rows in {"a": rows_a, "b": rows_b}.items():
            # times of b differ, so that SQL's answer is unique; times of a may not
            times = chance.sample(range(7200), rows) if table == "b" else [chance.randrange(7200) for _ in range(rows)]
            values = []
            for n in range(rows):
                key = 0 if chance.random() < skew else chance.randrange(keys)
                row = [n, key, f"'g{chance.randrange(3)} which is not short'", chance.randrange(100)]
                row = [row[0]] + ["null" if chance.random() < 0.1 else v for v in row[1:]]
                values.append(f"({', '.join(map(str, row))}, timestamp '2024-01-01' + interval {times[n]} second)")
            body = f"from (values {', '.join(values)}) t(id, k, g, v, ts)" if values else ""
            body = body or "from (select 0 id, 0 k, '' g, 0 v, timestamp '2024-01-01' ts) where false"
            sql = f"select id::bigint id, k::bigint k, g::varchar g, v::bigint v, ts {body}"
            duckdb.sql(f"copy ({sql}) to '{folder}/{table}.parquet' (row_group_size 2048)")
        out[name] = folder
    return out
