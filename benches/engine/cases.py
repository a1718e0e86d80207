"""What is measured: for each case its tables with their columns, its SQL, and the same in Polars.

DuckDB and DataFusion run the same SQL, except where `sql_for` says otherwise. Columns of the result have the same names in every engine.
"""

import polars as pl

c = pl.col


class Case:
    def __init__(self, name, title, tables, sql, polars, order=(), rows="t", sql_for=None, without=()):
        self.name, self.title, self.tables, self.sql, self.polars = name, title, tables, sql, polars
        # columns that the result is sorted by; a leading "-" is descending
        self.order = order
        # the table whose rows count for rows per second
        self.rows = rows
        self.sql_for = sql_for or {}
        # engines that have no such operation
        self.without = without

    def sql_of(self, engine):
        return self.sql_for.get(engine, self.sql)


# --- user functions -------------------------------------------------------------------------------------------------
# In Sabot plain Rust functions (see `benches/engine/cases.rs`); here what a user of each engine writes to be fast:
# expressions. The loops are unrolled.

AMOUNT = "price * qty"
FEE = f"case when {AMOUNT} > 50000 then {AMOUNT} * 0.001 + 20 when {AMOUNT} > 5000 then {AMOUNT} * 0.002 else 5.0 end"
NET = f"{AMOUNT} - fee - case when k_mid % 3 = 0 then {AMOUNT} * 0.19 when k_mid % 3 = 1 then {AMOUNT} * 0.07 else 0.0 end"


def pl_fee():
    amount = c("price") * c("qty")
    return pl.when(amount > 50000).then(amount * 0.001 + 20).when(amount > 5000).then(amount * 0.002).otherwise(5.0)


def pl_net():
    amount = c("price") * c("qty")
    tax = pl.when(c("k_mid") % 3 == 0).then(amount * 0.19).when(c("k_mid") % 3 == 1).then(amount * 0.07).otherwise(0.0)
    return amount - c("fee") - tax


def luhn_sql(column, divide):
    """The check sum of the last eight digits: every second digit doubled, and its digits added."""
    terms = []
    for at in range(8):
        digit = f"({divide(column, 10**at)} % 10)" if at else f"({column} % 10)"
        terms.append(digit if at % 2 else f"case when {digit} > 4 then {digit} * 2 - 9 else {digit} * 2 end")
    return "((" + " + ".join(terms) + ") * 9) % 10"


def duck_div(a, b):
    return f"({a} // {b})"


def df_div(a, b):
    return f"({a} / {b})"


def pl_luhn(column):
    total = pl.lit(0, pl.Int64)
    for at in range(8):
        digit = (c(column) // 10**at) % 10
        total = total + (digit if at % 2 else pl.when(digit > 4).then(digit * 2 - 9).otherwise(digit * 2))
    return (total * 9) % 10


def balance_sql():
    """What is left after twelve payments."""
    b = "price * 100.0"
    for _ in range(12):
        b = f"greatest(({b}) * 1.004 - qty * 50.0, 0.0)"
    return b


def pl_balance():
    b = c("price") * 100.0
    for _ in range(12):
        b = pl.max_horizontal(b * 1.004 - c("qty") * 50.0, pl.lit(0.0))
    return b


def loops_sql(divide):
    return f"""select k_low, count(*) as n, sum(balance) as balance, cast(sum(digit) as bigint) as digits
               from (select k_low, {balance_sql()} as balance, {luhn_sql("k_high", divide)} as digit
                     from t where {luhn_sql("id", divide)} < 5) group by k_low"""


# --- shapes ---------------------------------------------------------------------------------------------------------


def group(key):
    return Case(
        f"group_{key}",
        {"k_low": "group by integer, 100 groups", "s_low": "group by string, 100 groups",
         "k_high": "group by integer, 10^6 groups", "s_high": "group by string, 10^6 groups"}[key],
        {"t": [key, "price", "qty"]},
        f"select {key}, count(*) as n, cast(sum(qty) as bigint) as q, avg(price) as p from t group by {key}",
        lambda t: t.group_by(key).agg(pl.len().alias("n"), c("qty").sum().alias("q"), c("price").mean().alias("p")),
    )


CASES = [
    Case("filter", "filter, half of the rows", {"t": ["id", "price", "qty"]},
         "select id, price, qty from t where price < 500",
         lambda t: t.filter(c("price") < 500)),
    Case("map", "map, one computed column", {"t": ["id", "price", "qty"]},
         "select id, price * qty * 1.1 as total from t",
         lambda t: t.select("id", (c("price") * c("qty") * 1.1).alias("total"))),
    Case("functions", "user functions: predicate, 2 columns, aggregate", {"t": ["k_low", "k_mid", "price", "qty"]},
         f"""select k_low, count(*) as n, sum(fee) as fees, sum(net) as net
             from (select k_low, fee, {NET} as net from (select *, {FEE} as fee from t where {AMOUNT} > 500 and k_low <> 13))
             group by k_low""",
         lambda t: t.filter((c("price") * c("qty") > 500) & (c("k_low") != 13)).with_columns(fee=pl_fee()).with_columns(net=pl_net())
                    .group_by("k_low").agg(pl.len().alias("n"), c("fee").sum().alias("fees"), c("net").sum().alias("net"))),
    Case("loops", "user functions with loops: predicate, 2 columns, aggregate", {"t": ["id", "k_low", "k_high", "price", "qty"]},
         loops_sql(duck_div),
         lambda t: t.filter(pl_luhn("id") < 5).with_columns(balance=pl_balance(), digit=pl_luhn("k_high"))
                    .group_by("k_low").agg(pl.len().alias("n"), c("balance").sum().alias("balance"), c("digit").sum().alias("digits")),
         sql_for={"datafusion": loops_sql(df_div)}),
    group("k_low"), group("s_low"), group("k_high"), group("s_high"),
    Case("join_small", "join n:1, build side of 10^3 rows", {"t": ["id", "k_mid", "price"], "small": ["k_mid", "rate"]},
         "select id, price, rate from t join small on t.k_mid = small.k_mid",
         lambda t, small: t.join(small, on="k_mid").select("id", "price", "rate")),
    Case("join_high", "join n:1, build side of 10^6 rows", {"t": ["id", "k_high", "price"], "high": ["k_high", "score"]},
         "select id, price, score from t join high on t.k_high = high.k_high",
         lambda t, high: t.join(high, on="k_high").select("id", "price", "score")),
    Case("join_one", "join 1:1, build side of 10^7 rows", {"t": ["id", "price"], "one": ["id", "v"]},
         "select t.id, price, v from t join one on t.id = one.id",
         lambda t, one: t.join(one, on="id").select("id", "price", "v")),
    Case("join_many", "join 1:n, 10^6 rows with 10^7", {"high": ["k_high", "score"], "t": ["id", "k_high"]},
         "select high.k_high, score, id from high join t on high.k_high = t.k_high",
         lambda high, t: high.join(t, on="k_high").select("k_high", "score", "id")),
    Case("sort_int", "sort by integer", {"t": ["id", "price"]},
         "select id, price from t order by id", lambda t: t.sort("id"), order=("id",)),
    Case("sort_string", "sort by string", {"t": ["s_high", "id"]},
         "select s_high, id from t order by s_high", lambda t: t.sort("s_high"), order=("s_high",)),
    Case("sort_two", "sort by integer, float descending", {"t": ["k_low", "price", "id"]},
         "select k_low, price, id from t order by k_low, price desc",
         lambda t: t.sort("k_low", "price", descending=[False, True]), order=("k_low", "-price")),
    Case("distinct_int", "distinct integers, 10^6", {"t": ["k_high"]},
         "select distinct k_high from t", lambda t: t.unique()),
    Case("distinct_string", "distinct strings, 10^6", {"t": ["s_high"]},
         "select distinct s_high from t", lambda t: t.unique()),
    # the two jobs of the earlier project
    Case("transactions", "transactions: filter, fee, suspicion, aggregate by city", {"t": ["s_low", "k_mid", "price", "qty"]},
         f"""select s_low, count(*) as n, sum(amount) as amount, sum(fee) as fees, cast(sum(case when suspicious then 1 else 0 end) as bigint) as suspicious
             from (select s_low, {AMOUNT} as amount, {FEE} as fee, {AMOUNT} > 90000 or (k_mid % 97 = 0 and {AMOUNT} > 10000) as suspicious
                   from t where {AMOUNT} > 100) group by s_low""",
         lambda t: t.filter(c("price") * c("qty") > 100)
                    .with_columns(amount=c("price") * c("qty"), fee=pl_fee())
                    .with_columns(suspicious=(c("amount") > 90000) | ((c("k_mid") % 97 == 0) & (c("amount") > 10000)))
                    .group_by("s_low").agg(pl.len().alias("n"), c("amount").sum(), c("fee").sum().alias("fees"), c("suspicious").cast(pl.Int64).sum())),
    Case("enrich", "enrichment: 10^7 rows with 1.2 * 10^6 quotes, spread, filter", {"t": ["id", "price"], "book": ["id", "bid", "ask"]},
         "select t.id, price, bid, ask, ask - bid as spread from t join book on t.id = book.id where ask - bid < 0.5",
         lambda t, book: t.join(book, on="id").with_columns(spread=c("ask") - c("bid")).filter(c("spread") < 0.5).select("id", "price", "bid", "ask", "spread")),
    Case("asof", "as-of join, 10^7 trades with 10^6 quotes, 10^3 symbols", {"trades": ["ts", "symbol", "price"], "quotes": ["ts", "symbol", "bid"]},
         "select trades.ts, trades.symbol, price, bid from trades asof join quotes on trades.symbol = quotes.symbol and trades.ts >= quotes.ts",
         lambda trades, quotes: trades.join_asof(quotes, on="ts", by="symbol", check_sortedness=False)
                                      .filter(c("bid").is_not_null()).select("ts", "symbol", "price", "bid"),
         rows="trades", without=("datafusion",)),
]
