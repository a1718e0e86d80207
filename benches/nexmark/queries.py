"""The questions in Flink's SQL, with the columns in the order of Sabot's results.

They are those of the NEXMark suite for Flink, except that times are those of a window where the suite has none in the result, and that
the ten seconds of q7 do not include both of their ends.
"""

RANKS = """count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, count(*) FILTER (WHERE price >= 1000000) AS rank3_bids"""


def distinct(column, name):
    return f"""count(DISTINCT {column}) AS total_{name}, count(DISTINCT {column}) FILTER (WHERE price < 10000) AS rank1_{name},
    count(DISTINCT {column}) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_{name},
    count(DISTINCT {column}) FILTER (WHERE price >= 1000000) AS rank3_{name}"""


COUNTS = """SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end"""

QUERIES = {
    "q0": "SELECT auction, bidder, price, date_time, extra FROM bid",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid",
    "q5": f"""SELECT A.auction, A.num, A.endtime FROM ({COUNTS}) AS A
        JOIN (SELECT max(C.num) AS maxn, C.starttime, C.endtime FROM ({COUNTS}) AS C GROUP BY C.starttime, C.endtime) AS M
        ON A.starttime = M.starttime AND A.endtime = M.endtime AND A.num >= M.maxn""",
    "q7": """SELECT B.auction, B.price, B.bidder, B.date_time, B.extra FROM bid B
        JOIN (SELECT max(price) AS maxprice, window_end AS date_time
              FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) M
        ON B.price = M.maxprice WHERE B.date_time >= M.date_time - INTERVAL '10' SECOND AND B.date_time < M.date_time""",
    "q11": """SELECT bidder, window_start, window_end, count(*) AS bid_count
        FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end""",
    "q15": f"""SELECT CAST(FLOOR(date_time TO DAY) AS TIMESTAMP(3)) AS window_start, {RANKS}, {distinct("bidder", "bidders")}, {distinct("auction", "auctions")}
        FROM bid GROUP BY CAST(FLOOR(date_time TO DAY) AS TIMESTAMP(3))""",
    "q17": f"""SELECT auction, CAST(FLOOR(date_time TO DAY) AS TIMESTAMP(3)) AS window_start, {RANKS}, min(price) AS min_price,
        max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
        FROM bid GROUP BY auction, CAST(FLOOR(date_time TO DAY) AS TIMESTAMP(3))""",
    "q3": """SELECT P.name, P.city, P.state, A.id FROM auction A JOIN person P ON A.seller = P.id
        WHERE A.category = 10 AND (P.state = 'OR' OR P.state = 'ID' OR P.state = 'CA')""",
    "q4": """SELECT category, avg(price) AS average FROM (
            SELECT max(B.price) AS price, A.category FROM auction A, bid B
            WHERE A.id = B.auction AND B.date_time BETWEEN A.date_time AND A.expires GROUP BY A.id, A.category) GROUP BY category""",
    "q8": """SELECT P.id, P.name, P.starttime FROM (
            SELECT id, name, window_start AS starttime, window_end AS endtime
            FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(date_time), INTERVAL '10' SECOND)) GROUP BY id, name, window_start, window_end) P
        JOIN (SELECT seller, window_start AS starttime, window_end AS endtime
            FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(date_time), INTERVAL '10' SECOND)) GROUP BY seller, window_start, window_end) A
        ON P.id = A.seller AND P.starttime = A.starttime AND P.endtime = A.endtime""",
    "q9": """SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra, bidder, price, bid_time, bid_extra
        FROM (SELECT A.*, B.bidder, B.price, B.date_time AS bid_time, B.extra AS bid_extra,
                     ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.date_time ASC) AS n
              FROM auction A, bid B WHERE A.id = B.auction AND B.date_time BETWEEN A.date_time AND A.expires) WHERE n <= 1""",
    "q18": """SELECT bidder, auction, price, channel, url, date_time, extra
        FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS n FROM bid) WHERE n <= 1""",
    "q20": """SELECT B.auction, B.bidder, B.price, B.channel, B.url, B.date_time, B.extra, A.item_name, A.description, A.initial_bid, A.reserve,
            A.date_time, A.expires, A.seller, A.category, A.extra
        FROM bid B JOIN auction A ON B.auction = A.id WHERE A.category = 10""",
}

# Columns that Sabot's results have beside those, by place: keys and bounds of windows that the question does not ask for.
WITHOUT = {"q15": [0, 2], "q17": [2]}

# Questions whose answer is open where events have the same time: at most so many per second of event time where results are compared.
APART = {"q18": 1000}
