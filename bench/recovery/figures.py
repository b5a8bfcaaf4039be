"""The figures of bench/failover in their order, their limits, and what became of them."""

import json
import math
from dataclasses import dataclass, field

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
    """What --only names. `trial(stage, number, away_s)` plays one; each Part reads its result."""

    name: str
    title: str
    trial: object = field(repr=False)
    parts: tuple


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


def _presence_figure(name, title, away_s):
    return Figure(
        name,
        title,
        lambda stage, number, wanted_s: presence_is_away(stage, number, away_s(wanted_s)),
        (
            Part(name, "s", {"p99": 3.0}, lambda served: served.new_request_s),
            Part(f"{name}-lost", "packets", {"p99": 0}, lambda served: served.packets_lost),
            Part(f"{name}-stops", "STOPs", {"p99": 0}, lambda served: served.stops),
        ),
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
    ),
    _presence_figure(
        "presence-down-60s",
        f"the same after {AWAY_S} s without presence (--quick: {AWAY_QUICK_S} s)",
        lambda wanted_s: wanted_s,
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


def as_table(rows):
    """The rows as aligned text."""
    lines = [_HEADINGS] + [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join(text + [f"{row.part.name}: {row.failure}" for row in rows if row.failure])


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
