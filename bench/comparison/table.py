"""Outcomes of figures, judged, as a table for people and as JSON for programs."""

from dataclasses import dataclass

from .figures import Figure
from .rounds import Series, Spread

_HEADINGS = ("figure", "ours", "peer", "ratio", "must", "aim", "met")
_SCALES = ((1e6, "M"), (1e3, "k"))
DISTURBED = "disturbed"  # how penstock-bench begins to say that trials were
_PLAIN_MAX = 10_000  # below it no prefix helps


@dataclass(frozen=True)
class Outcome:
    """One figure after its rounds. `failure`: why there are no values; "" if there are."""

    figure: Figure
    ours: Series | None = None
    peer: Series | None = None
    failure: str = ""

    @property
    def ratio(self):
        """The median of the rounds' ratios, so that what drifts from round to round has no part in
        it; None where there is no peer or nothing was measured."""
        return self.ratio_spread.median if self.ratio_spread else None

    @property
    def ratio_spread(self):
        """Spread of the ratios of the rounds."""
        if not self.ours or not self.peer:
            return None
        pairs = zip(self.ours.values, self.peer.values, strict=True)
        return Spread.of([ours / peer for ours, peer in pairs])

    @property
    def judged(self):
        """What is held against the limits; None if nothing was measured."""
        if not self.ours:
            return None
        if self.figure.judged == "value":
            return Spread.of(self.ours.values).median
        return self.ratio - 1 if self.figure.judged == "growth" else self.ratio

    def reaches(self, limit):
        if self.judged is None or limit is None:
            return False
        return self.judged >= limit if self.figure.at_least else self.judged <= limit

    @property
    def met(self):
        """Whether it reaches its `must`, whatever made us slower than we are. Any other doubt, and
        all about the peer, is one too many."""
        ours = self.ours.reasons if self.ours else []
        doubts = [reason for reason in ours if not _only_slows(reason)]
        if self.peer:
            doubts += self.peer.reasons
        return self.reaches(self.figure.must) and not doubts

    @property
    def why(self):
        """Why it was not measured, or is not to be trusted; "" for a good one."""
        if self.failure:
            return self.failure
        reasons = []
        for side, series in (("ours", self.ours), ("peer", self.peer)):
            if series:
                reasons += [f"{side}: {reason}" for reason in series.reasons]
        return "; ".join(reasons)


def _only_slows(reason):
    """Whether the trials were only disturbed: that takes time from us and gives us nothing."""
    return all(part.startswith(DISTURBED) for part in reason.split("; "))


def json_row(outcome):
    """The outcome as an object: figure, ours, peer, ratio, must and met, and what explains them."""
    figure = outcome.figure
    ratio = outcome.ratio
    if ratio is not None and figure.judged == "growth":
        ratio -= 1
    return {
        "figure": figure.name,
        "title": figure.title,
        "ours": _median(outcome.ours),
        "peer": _median(outcome.peer),
        "ratio": ratio,
        "must": figure.must,
        "aim": figure.aim,
        "sense": ">=" if figure.at_least else "<=",
        "judged": figure.judged,
        "met": outcome.met,
        "aim_met": outcome.reaches(figure.aim) and outcome.met,
        "peer_title": figure.peer,
        "unit": figure.unit,
        "spread": {
            "ours": _ends(outcome.ours and Spread.of(outcome.ours.values)),
            "peer": _ends(outcome.peer and Spread.of(outcome.peer.values)),
            "ratio": _ends(outcome.ratio_spread),
        },
        "rounds": len(outcome.ours.samples) if outcome.ours else 0,
        "repeated": sum(series.repeated for series in (outcome.ours, outcome.peer) if series),
        "trusted": not outcome.why,
        "why": outcome.why,
    }


def table_rows(outcomes):
    """The cells of the table, headings first."""
    return [_HEADINGS, *(_cells(outcome) for outcome in outcomes)]


def aligned(rows):
    """Cells as text in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def markdown(rows):
    """Cells as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def scaled(value):
    """A number with four digits that count: "123.4 M", "9.871"."""
    if abs(value) >= _PLAIN_MAX:
        for scale, prefix in _SCALES:
            if abs(value) >= scale:
                return f"{value / scale:.4g} {prefix}"
    return f"{value:.4g}"


def _cells(outcome):
    figure = outcome.figure
    return (
        figure.name,
        _side(outcome.ours, figure.unit),
        f"{_side(outcome.peer, figure.unit)}, {figure.peer}" if outcome.peer else "–",
        _ratio_cell(outcome),
        _limit(figure, figure.must),
        _limit(figure, figure.aim),
        _verdict(outcome),
    )


def _side(series, unit):
    if not series:
        return "–"
    spread = Spread.of(series.values)
    return f"{scaled(spread.median)} {unit} ({scaled(spread.least)} – {scaled(spread.most)})"


def _ratio_cell(outcome):
    if outcome.ratio is None:
        return "–"
    spread = outcome.ratio_spread
    if outcome.figure.judged == "growth":
        low, high = (f"{value - 1:+.1%}" for value in (spread.least, spread.most))
        return f"{outcome.judged:+.1%} ({low} – {high})"
    return f"{outcome.ratio:.2f} ({spread.least:.2f} – {spread.most:.2f})"


def _limit(figure, limit):
    if limit is None:
        return "–"
    sign = "≥" if figure.at_least else "≤"
    return f"{sign} {limit:.0%}" if figure.judged == "growth" else f"{sign} {limit:g}"


def _verdict(outcome):
    if outcome.met:
        verdict = "yes, and the aim" if outcome.reaches(outcome.figure.aim) else "yes"
        return f"{verdict}, though {outcome.why}" if outcome.why else verdict
    return f"NO: {outcome.why}" if outcome.why else "NO"


def _median(series):
    return Spread.of(series.values).median if series else None


def _ends(spread):
    return [spread.least, spread.most] if spread else None
