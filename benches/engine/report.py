"""Results as Markdown, JSON and SVG."""

import json
import os
import platform

NAMES = {"sabot": "Sabot", "duckdb": "DuckDB", "polars": "Polars", "datafusion": "DataFusion"}
COLORS = {"sabot": "#d1495b", "duckdb": "#edae49", "polars": "#00798c", "datafusion": "#66a182"}

# Figures of the earlier project that were measured over the whole work with checked results: what it did, rows per
# second, and the case here that does the same or more.
EARLIER = [
    ("filter (Arrow kernel, 10^6 rows)", 190e6, "filter"),
    ("map", 154e6, "map"),
    ("group by city (10^6 rows)", 2.3e6, "group_s_low"),
    ("hash join (10^5 x 10^5)", 16.5e6, "join_one"),
    ("distinct", 1.36e6, "distinct_int"),
    ("10^7 transactions: filter, fee, aggregate by city, suspicion", 8.6e6, "transactions"),
]
# its enrichment, complete, with loading: seconds
ENRICHMENT = 2.3


def best_peer(result):
    peers = {e: v["wall"] for e, v in result["engines"].items() if e != "sabot"}
    return min(peers, key=peers.get) if peers else None


def ratio(result, what="wall"):
    """Sabot's time over that of the quickest peer (by `what`)."""
    peers = [v[what] for e, v in result["engines"].items() if e != "sabot"]
    mine = result["engines"].get("sabot")
    return mine[what] / min(peers) if mine and peers else None


def line(result):
    cells = [f"{NAMES[e]} {v['wall']:.3f}/{v['cpu']:.3f}" for e, v in result["engines"].items()]
    r, q = ratio(result), ratio(result, "cpu")
    return f"{result['mode']:8} {result['case']:16} " + "  ".join(cells) + (f"  ratio wall {r:.2f} cpu {q:.2f}" if r else "")


def table(results, engines):
    out = ["| case | " + " | ".join(NAMES[e] for e in engines) + " | Sabot / best peer: wall | processor |", "|---|" + "---|" * (len(engines) + 2)]
    for r in results:
        cells = []
        for e in engines:
            v = r["engines"].get(e)
            cells.append(f"{v['wall'] * 1e3:.0f} / {v['cpu'] * 1e3:.0f} / {v['peak'] / 2**20:.0f}" if v else "–")
        w, c = ratio(r), ratio(r, "cpu")
        cells += [f"{w:.2f}" if w else "–", f"{c:.2f}" if c else "–"]
        out.append(f"| {r['title']} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def earlier(results):
    found = {(r["case"], r["mode"]): r["engines"].get("sabot") for r in results}
    out = ["| earlier project | its rows per second | Sabot, in memory | times |", "|---|---|---|---|"]
    for what, its, case in EARLIER:
        v = found.get((case, "memory"))
        if v:
            ours = next(r["rows"] for r in results if r["case"] == case) / v["wall"]
            out.append(f"| {what} | {its / 1e6:.1f} M | {ours / 1e6:.1f} M | {ours / its:.1f} |")
    v = found.get(("enrich", "parquet"))
    if v:
        out.append(f"| enrichment, 10^7 with 1.2 * 10^6 rows, complete, with loading | {ENRICHMENT} s | {v['wall']:.2f} s (from Parquet) | {ENRICHMENT / v['wall']:.1f} |")
    return "\n".join(out)


def svg(results, engines):
    """Bars: time over that of the best peer, one group per case."""
    row, bar, left, width = 12 * len(engines) + 14, 11, 330, 760
    most = 4.0
    height = 60 + row * len(results) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 60}" height="{height}" font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="white"/><text x="10" y="20" font-size="14">Wall time relative to the best peer (shorter is better; cut at {most:.0f})</text>']
    for i, e in enumerate(engines):
        out.append(f'<rect x="{10 + 110 * i}" y="30" width="10" height="10" fill="{COLORS[e]}"/><text x="{24 + 110 * i}" y="39">{NAMES[e]}</text>')
    scale = (width - left) / most
    out.append(f'<line x1="{left + scale:.1f}" y1="50" x2="{left + scale:.1f}" y2="{height - 10}" stroke="#999" stroke-dasharray="3"/>')
    for i, r in enumerate(results):
        y = 56 + row * i
        out.append(f'<text x="{left - 8}" y="{y + row / 2 - 4:.1f}" text-anchor="end">{r["title"]} ({r["mode"]})</text>')
        peer = best_peer(r)
        unit = r["engines"][peer]["wall"] if peer else r["engines"]["sabot"]["wall"]
        for j, e in enumerate(engines):
            v = r["engines"].get(e)
            if v:
                times = v["wall"] / unit
                length = min(times, most) * scale
                out.append(f'<rect x="{left}" y="{y + 12 * j}" width="{length:.1f}" height="{bar}" fill="{COLORS[e]}"/>'
                           f'<text x="{left + length + 4:.1f}" y="{y + 12 * j + 9}" font-size="9">{times:.2f} ({v["wall"] * 1e3:.0f} ms)</text>')
    return "\n".join([*out, "</svg>\n"])


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as info:
        model = next((l.split(":")[1].strip() for l in info if l.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def write(args, results):
    engines = [e for e in args.engines if any(e in r["engines"] for r in results)]
    text = [f"{args.rows} rows, {args.threads} threads, median of {args.rounds} turns; {machine()}.",
            "Per engine: wall time in ms / processor time (user and system) in ms / peak memory in MiB."]
    for mode, title in (("memory", "In memory"), ("parquet", "From Parquet")):
        of_mode = [r for r in results if r["mode"] == mode]
        if of_mode:
            text += ["", f"### {title}", "", table(of_mode, engines)]
    text += ["", "### The earlier project", "", earlier(results)]
    text = "\n".join(text) + "\n"
    (args.out / "engine.md").write_text(text)
    document = {"rows": args.rows, "threads": args.threads, "rounds": args.rounds, "machine": machine(), "load": os.getloadavg(), "results": results}
    (args.out / "engine.json").write_text(json.dumps(document, indent=1) + "\n")
    (args.out / "engine.svg").write_text(svg(results, engines))
    return text
