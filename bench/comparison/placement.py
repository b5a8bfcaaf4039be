"""How evenly streams are spread: report.md, placement.json and plots of bench/placement."""

import json

from peers.packages import ensure_packages

from . import plots
from .table import markdown

_BURSTS = "bursts"
_NOT_DRAWN = "least busy by figures alone"  # beside it nothing else could be told apart
_VARIED_SERVERS = 100
_HEAD = """# How evenly placement spreads streams

- commit: {commit}
- `bench/placement`, simulated: the same figures on any machine

A trial: data servers of one size, simulated for {seconds} of which the second half counts. Every
100 ms the utilisation of the busiest is divided by the mean of all; a trial's figure is the mean of
that. After 600 s one in seven of the first streams is left, after 150 s six of ten: what is
simulated for less shows less of a difference.

- Streams: 8 a data server on average, which together take 0.3 of it. They live 300 s on average
  (exponential). Sizes are drawn from a bounded Pareto distribution (shape 1.5, the largest 20 times
  the least): the largest alone takes as much as a data server carries on average. How large one is
  nobody knows before it is measured.
- They come in bursts, 20 s apart on average, each within 100 ms, of a size that varies
  (exponential): on average one stream for every second data server, often two for each.
- A stream grows to its size: a quarter of its consumers is there at once, the last after 1.5 s.
- Data servers report every 100 ms, each at its own moment. All policies see the same figures and
  place the same streams; they differ by seed from trial to trial. At the beginning all data servers
  have the same number of streams. Nothing bounds what a data server is given: what is over 1
  would be lost in reality.

| policy | what it does |
|---|---|
| least busy, recent period | the presence core as it is shipped, step by step |
| least busy, no recent period | the same with `--recent-period 0s` |
| two choices, our reserve | of two at random the one that the presence core projects lower |
| two choices | of two at random the one with the lower figure |
| least busy by figures alone | the lowest figure of all; nothing is reserved |
| round robin, random | no figures |
| clairvoyant | the lowest of all, knowing what every stream already placed will take in the end: \
about what can be reached at all without moving streams |
"""
_TABLE = """
## {title}

{table}
"""
_NOTE = """
mean: of the trials; in brackets the least and the greatest of them. p99: over a trial's time, mean
of the trials. than ours: how much more it is than ours with the same streams, ± what it may be off
by (two standard errors). refused: streams nobody could take at once.

Least busy by figures alone is not drawn.

![Peak to mean by the number of data servers](servers.svg)
"""
_VARIED = """
## {servers} data servers, other streams

As above, but with many small bursts (2 s apart), with streams that take 30 s to grow, with 3
streams a data server of the same sum, with streams of one size.

{table}

![Peak to mean with other streams](streams.svg)
"""


def write_report(folder, rows, commit):
    """`rows`: what penstock-simulate --placement --json wrote."""
    ensure_packages(plots.PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "placement.json").write_text(json.dumps(rows, indent=2) + "\n")
    text = _HEAD.format(commit=commit, seconds=_seconds_text(rows))
    bursts = [row for row in rows if row["scenario"] == _BURSTS]
    for servers in sorted({row["servers"] for row in bursts}):
        mine = [row for row in bursts if row["servers"] == servers]
        text += _TABLE.format(title=f"{servers:,} data servers", table=markdown(_cells(mine)))
    text += _NOTE
    plots.draw(servers_script(bursts, folder / "servers.svg"))
    varied = [row for row in rows if row["scenario"] != _BURSTS]
    if varied:
        base = [row for row in bursts if row["servers"] == _VARIED_SERVERS]
        text += _VARIED.format(servers=_VARIED_SERVERS, table=markdown(_varied_cells(varied)))
        plots.draw(streams_script(base + varied, folder / "streams.svg"))
    (folder / "report.md").write_text(text)


def servers_script(rows, file):
    """A line for each policy over the number of data servers, with least and greatest trial."""
    policies = _drawn(rows)
    data = "".join(
        plots.block(f"p{place}", [(row["servers"] * (1 + 0.04 * (place - len(policies) / 2)),
                                   row["peak_to_mean"], row["least"], row["greatest"])
                                  for row in rows if row["policy"] == policy])
        for place, policy in enumerate(policies)
    )
    lines = ", ".join(f"$p{place} with yerrorlines title '{policy}'"
                      for place, policy in enumerate(policies))
    head = plots.HEAD.format(file=file, title="Peak-to-mean utilisation", x="data servers",
                             y="busiest / mean of all")
    return f"{data}{head}set logscale x 10\nset yrange [1:*]\nplot {lines}\n"


def streams_script(rows, file):
    """Columns for each kind of streams, one a policy."""
    policies, scenarios = _drawn(rows), _in_order(rows, "scenario")
    figures = {(row["scenario"], row["policy"]): row["peak_to_mean"] for row in rows}
    data = plots.block("f", [
        (f'"{scenario}"', *(figures[scenario, policy] for policy in policies))
        for scenario in scenarios
    ])
    columns = ", ".join(f"$f using {place + 2}:xtic(1) title '{policy}'"
                        for place, policy in enumerate(policies))
    head = plots.HEAD.format(file=file, title=f"{_VARIED_SERVERS} data servers", x="streams",
                             y="busiest / mean of all")
    style = "set style data histogram\nset style fill solid 0.7\nset xtics rotate by -15\n"
    return f"{data}{head}{style}set yrange [1:*]\nplot {columns}\n"


def _seconds_text(rows):
    """"600 s (10,000 data servers: 300 s),": the longest, and who had less."""
    by_servers = {row["servers"]: row["seconds"] for row in rows}
    longest = max(by_servers.values())
    less = [f"{servers:,} data servers: {seconds:.0f} s" for servers, seconds in by_servers.items()
            if seconds != longest]
    return f"{longest:.0f} s{' (' + '; '.join(less) + ')' if less else ''},"


def _drawn(rows):
    return [policy for policy in _in_order(rows, "policy") if policy != _NOT_DRAWN]


def _in_order(rows, key):
    return list(dict.fromkeys(row[key] for row in rows))


def _figures(row):
    if row["more_than_ours"] == 0 and row["more_than_ours_uncertainty"] == 0:
        more = "–"
    else:
        more = f"{row['more_than_ours']:+.2f} ± {row['more_than_ours_uncertainty']:.2f}"
    return (f"{row['peak_to_mean']:.2f} ({row['least']:.2f} – {row['greatest']:.2f})",
            f"{row['p99']:.2f}", more, f"{row['refused']:,} of {row['placed'] + row['refused']:,}",
            str(row["trials"]))


def _cells(rows):
    return [("policy", "mean", "p99", "than ours", "refused", "trials"),
            *((row["policy"], *_figures(row)) for row in rows)]


def _varied_cells(rows):
    return [("streams", "policy", "mean", "p99", "than ours", "refused", "trials"),
            *((row["scenario"], row["policy"], *_figures(row)) for row in rows)]
