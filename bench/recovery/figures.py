"""The figures of bench/failover in their order, their limits, and what became of them."""

import json
import math
from dataclasses import dataclass, field

from comparison.table import aligned

from .leadership import (
    etcd_leader_is_killed,
    etcd_quorum_is_lost,
    leader_is_killed,
    leader_is_paused,
)
from .trials import (
    data_server_dies,
    data_server_is_drained,
    data_server_stops,
    presence_is_away,
)

_HEADINGS = ("figure", "p50", "p99", "most", "must", "met", "trials")
AWAY_S, AWAY_QUICK_S, AWAY_TINY_S = 60, 10, 1  # presence, in presence-down-60s


@dataclass(frozen=True)
class Part:
    """One row of the table: which value of a trial, and what it must not exceed.

    `must`: limits by percentile ("p50", "p99"); `value`: from what a trial returned.
    """

    name: str
    unit: str
    must: dict
    value: object = field(repr=False, default=lambda result: result)


@dataclass(frozen=True)
class Figure:
    """What --only names. `trial(stage, number, away_s)` plays one; each Part reads its result.

    `on_etcd`: which Stage it needs. `waits`: nearly all of a trial's time nothing is to be done but
    to wait, so that several stages may play it at once.
    """

    name: str
    title: str
    trial: object = field(repr=False)
    parts: tuple
    on_etcd: bool = False
    waits: bool = False


@dataclass
class Row:
    """A Part after its trials. `failure`: why there are fewer trials than wanted; "" if not."""

    part: Part
    values: list
    failure: str = ""

    def percentile(self, share):
        """Nearest rank: a value that was measured. With fewer than 100 trials p99 is the most."""
        if not self.values:
            return None
        return sorted(self.values)[math.ceil(share * len(self.values)) - 1]

    @property
    def met(self):
        shown = {"p50": self.percentile(0.5), "p99": self.percentile(0.99)}
        return (
            bool(self.values)
            and not self.failure
            and all(shown[which] <= limit for which, limit in self.part.must.items())
        )

    def as_object(self):
        """What --json writes."""
        said = {
            "figure": self.part.name,
            "unit": self.part.unit,
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "must": self.part.must,
            "met": self.met,
            "trials": len(self.values),
            "values": self.values,
        }
        return said | ({"failure": self.failure} if self.failure else {})


def _served_parts(name, most_s):
    return (
        Part(name, "s", {"p99": most_s}, lambda served: served.new_request_s),
        Part(f"{name}-lost", "packets", {"p99": 0}, lambda served: served.packets_lost),
        Part(f"{name}-stops", "STOPs", {"p99": 0}, lambda served: served.stops),
    )


def _presence_figure(name, title, away_s, waits):
    return Figure(
        name,
        title,
        lambda stage, number, wanted_s: presence_is_away(stage, number, away_s(wanted_s)),
        _served_parts(name, 3.0),
        waits=waits,
    )


def _leader_figure(name, title, trial):
    stale = Part(f"{name}-stale", "commands", {"p99": 0}, lambda led: led.stale_commands)
    return Figure(
        name,
        title,
        lambda stage, number, away_s: trial(stage, number),
        (*_served_parts(name, 6.0), stale),
        on_etcd=True,
    )


FIGURES = (
    Figure(
        "data-server-killed",
        "from SIGKILL of the data server that carries everything to content at every consumer",
        lambda stage, number, away_s: data_server_dies(stage),
        (Part("data-server-killed", "s", {"p50": 0.5, "p99": 2.0}),),
    ),
    Figure(
        "data-server-stopped",
        "the same from its SIGSTOP",
        lambda stage, number, away_s: data_server_stops(stage),
        (Part("data-server-stopped", "s", {"p99": 2.5}),),
    ),
    Figure(
        "drain",
        "longest gap in the content of any consumer while its data server is drained; packets lost",
        lambda stage, number, away_s: data_server_is_drained(stage),
        (
            Part("drain", "s", {"p99": 0.1}, lambda drained: drained.longest_gap_s),
            Part("drain-lost", "packets", {"p99": 0}, lambda drained: drained.packets_lost),
        ),
    ),
    _presence_figure(
        "presence-killed",
        "from presence ready again after SIGKILL to a new request served; packets lost, STOPs",
        lambda wanted_s: 0,
        waits=False,
    ),
    _presence_figure(
        "presence-down-60s",
        f"the same after {AWAY_S} s without presence (--quick: {AWAY_QUICK_S} s)",
        lambda wanted_s: wanted_s,
        waits=True,
    ),
    _leader_figure(
        "leader-killed",
        "from SIGKILL of the presence server that leads to a new request served; packets lost, "
        "STOPs, commands of a stale leader applied",
        leader_is_killed,
    ),
    _leader_figure(
        "leader-paused",
        "the same from its SIGSTOP; it resumes when another one leads, with an order at its door",
        leader_is_paused,
    ),
    _leader_figure(
        "etcd-leader-killed", "the same from SIGKILL of the leader of etcd", etcd_leader_is_killed
    ),
    _leader_figure(
        "etcd-quorum-lost",
        "2 of 3 members of etcd are down, until nobody leads: the same from when etcd leads again",
        etcd_quorum_is_lost,
    ),
)


def selected(names):
    """The figures with these names, in our order; all if there are none. ValueError: unknown."""
    known = [figure.name for figure in FIGURES]
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is none of {', '.join(known)}")
    return [figure for figure in FIGURES if not names or figure.name in names]


def as_json(rows):
    return json.dumps([row.as_object() for row in rows], indent=2) + "\n"


def table_rows(rows):
    """The cells of the table, headings first."""
    return [_HEADINGS, *(_cells(row) for row in rows)]


def as_table(rows):
    """The rows as aligned text."""
    failures = [f"{row.part.name}: {row.failure}" for row in rows if row.failure]
    return "\n".join([aligned(table_rows(rows)), *failures])


def _cells(row):
    values = [_shown(row.percentile(share), row.part.unit) for share in (0.5, 0.99, 1)]
    must = ", ".join(
        f"{which} ≤ {_shown(limit, row.part.unit)}" for which, limit in row.part.must.items()
    )
    return (row.part.name, *values, must, "yes" if row.met else "NO", str(len(row.values)))


def _shown(value, unit):
    if value is None:
        return "-"
    return f"{value:.3f} s" if unit == "s" else f"{value} {unit}"
