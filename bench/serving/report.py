"""Outcomes of bench/presence: judged, as a table for people, as JSON, as a folder of results."""

import json
import statistics
from dataclasses import dataclass

from comparison.rounds import Spread
from comparison.table import markdown

from .trials import REPORTS_PER_S

REQUESTS_MUST = 10_000
CORE_EVENTS_MUST = 1_000_000
# Data servers report by their own clocks, and so many a second more or less in a short time are
# those that were on their way when it began or ended.
_LOST_SHARE_MAX = 0.01
_KIB = 1024
_TLS = """TLS: presence shows a certificate, \
which those who call check; theirs would
cost something when they connect, and nothing later."""
_PLAINTEXT = "Plaintext."

_HEAD = """# What one presence server carries

{facts}

{servers:,} data servers that report {reports} times a second, each on a connection of its own, \
with {active} streams in
every report; {streams:,} streams in the tables, learned from them. {trials} trials, each with a \
presence server of its
own; medians, in brackets the least and the most. Presence has CPU 1, everything else CPU 0: data
servers, consumers and what measures them. {transport}

A request is a session of its own: opened on one of {connections} connections that are there \
already, asked for a
stream, answered with where to join and a ticket, ended. A renewal asks for a new ticket in a
session that stays. {outstanding} wait for their answer at any time (closed loop).

The core alone (`penstock-bench-micro --benchmark_filter=presence_core`, a process of its own a
trial) has {core_servers:,} data servers, 100 streams of each and half as many consumers in its tables.

{table}

Memory is what penstock-presence (RSS) grows by with each session, all of them on connections of
their own, by a line through {points} points.
"""


@dataclass(frozen=True)
class Row:
    """One figure. `values`: what was measured, of which `value` is the middle."""

    figure: str
    unit: str
    values: list
    must: float | None = None
    at_least: bool = True

    @property
    def value(self):
        return statistics.median(self.values)

    @property
    def met(self):
        if self.must is None:
            return None
        return self.value >= self.must if self.at_least else self.value <= self.must


def rows_of(core, asked, grown, size):
    rows = [Row("core-events", "/s", core, CORE_EVENTS_MUST)]
    for verb, name in (("request", "requests"), ("renew", "renewals")):
        one = asked[verb]
        must = REQUESTS_MUST if verb == "request" else None
        rows += [
            Row(name, "/s", one.per_second, must),
            Row(f"{name}-p50", "ms", one.p50_ms),
            Row(f"{name}-p99", "ms", one.p99_ms),
            Row(f"{name}-refused", "", [one.refused], 0, at_least=False),
            Row(f"{name}-reports-taken", "/s", one.reports_taken,
                size.servers * REPORTS_PER_S * (1 - _LOST_SHARE_MAX)),
            Row(f"{name}-reports-held-up", "", [one.held_up], 0, at_least=False),
            Row(f"{name}-presence-cpu", "CPUs", one.presence_cpu),
            Row(f"{name}-load-cpu", "CPUs", one.load_cpu),
        ]
    for kind, name in (("servers", "data-server"), ("publishers", "publisher"),
                       ("consumers", "consumer")):
        rows.append(Row(f"memory-{name}", "KiB", [grown[kind].bytes_each / _KIB]))
    return rows


def as_json(rows):
    objects = [
        {"figure": row.figure, "unit": row.unit, "median": row.value, "must": row.must,
         "met": row.met, "trials": len(row.values), "values": row.values}
        for row in rows
    ]
    return json.dumps(objects, indent=2) + "\n"


def as_table(rows):
    cells = [("figure", "median", "must", "met")]
    for row in rows:
        spread = Spread.of(row.values)
        text = f"{_number(spread.median)} {row.unit}".strip()
        if len(row.values) > 1:
            text += f" ({_number(spread.least)} .. {_number(spread.most)})"
        must = "" if row.must is None else f"{'≥' if row.at_least else '≤'} {_number(row.must)}"
        cells.append((row.figure, text, must, {None: "", True: "yes", False: "NO"}[row.met]))
    return markdown(cells)


def write_report(folder, rows, size, trials, environment):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "presence.json").write_text(as_json(rows))
    facts = "\n".join(f"- {what}: {text}" for what, text in environment.items())
    (folder / "report.md").write_text(_HEAD.format(
        facts=facts, servers=size.servers, reports=REPORTS_PER_S, active=size.active,
        streams=size.servers * size.streams, trials=trials, core_servers=size.core_servers,
        transport=_TLS if size.tls else _PLAINTEXT,
        connections=size.connections, outstanding=size.outstanding, table=as_table(rows),
        points=4))


def _number(value):
    return f"{value:,.0f}" if value == 0 or abs(value) >= 100 else f"{value:.3g}"
