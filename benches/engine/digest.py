"""What must be equal in the results of all engines."""

import duckdb
import pyarrow as pa


def of(file, order):
    """Number of rows; per result a hash of all exact columns, and sums of the float columns, also weighted by the rest of the row."""
    with pa.memory_map(str(file)) as source:
        table = pa.ipc.open_file(source).read_all()
        con = duckdb.connect()
        con.register("result", table)
        exact, floats = [], []
        for field in sorted(table.schema, key=lambda f: f.name):
            t, name = field.type, f'"{field.name}"'
            if pa.types.is_floating(t) or pa.types.is_decimal(t):
                floats.append(f"{name}::double")
            elif pa.types.is_integer(t) or pa.types.is_boolean(t):
                exact.append(f"{name}::bigint")
            elif pa.types.is_timestamp(t):
                exact.append(f"epoch_us({name})")
            else:
                exact.append(f"{name}::varchar")
        key = f"hash({', '.join(exact)})" if exact else "0::ubigint"
        # sums of hashes, wide enough not to overflow; and the weight of a row, small enough to keep floats exact
        parts = ["count(*)", f"sum({key}::hugeint)"]
        parts += [p for f in floats for p in (f"sum({f})", f"sum({f} * ({key} % 1000)::double)", f"min({f})", f"max({f})")]
        values = con.execute(f"select {', '.join(parts)} from result").fetchone()
        found = {"rows": values[0], "hash": values[1], "floats": values[2:], "columns": sorted(table.schema.names)}
        if order:
            found["sorted"] = is_sorted(table, order)
        return found


def is_sorted(table, order):
    """Whether each row is not before the one above it: compared column by column, most significant first."""
    import pyarrow.compute as pc

    if table.num_rows < 2:
        return True
    undecided, wrong = None, None
    for name in order:
        column = table[name.lstrip("-")].combine_chunks()
        above, below = column.slice(0, len(column) - 1), column.slice(1)
        if name.startswith("-"):
            above, below = below, above
        bad, same = pc.greater(above, below), pc.equal(above, below)
        if undecided is not None:
            bad, same = pc.and_(undecided, bad), pc.and_(undecided, same)
        wrong = bad if wrong is None else pc.or_(wrong, bad)
        undecided = same
    return not pc.any(wrong).as_py()


def differ(a, b):
    """The first difference, if any."""
    for what in ("rows", "columns", "hash"):
        if a.get(what) != b.get(what):
            return f"{what} {a.get(what)} and {b.get(what)}"
    for x, y in zip(a.get("floats", ()), b.get("floats", ())):
        if abs(x - y) > 1e-9 * max(abs(x), abs(y), 1.0):
            return f"float aggregates {x!r} and {y!r}"
    for found in (a, b):
        if found.get("sorted") is False:
            return "one of them is not sorted"
    return None
