"""Both sides in turn: ours, peer, ours, peer …, so that what drifts drifts for both."""

import re
import statistics
import time
from dataclasses import dataclass

ROUNDS_MIN = 5  # what a median is worth taking of
ROUNDS_FACTOR_MAX = 2  # rounds run for each that may count, where some are disturbed


@dataclass(frozen=True)
class Sample:
    """One measurement of one side. `why`: what makes it untrustworthy, "" for nothing. `repeated`:
    readings that were disturbed and taken again."""

    value: float
    why: str = ""
    repeated: int = 0


@dataclass(frozen=True)
class Spread:
    """Several values: their median and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))


def summary(whys, what):
    """Each kind of reason once, as it was said first, with how many of the `what` it is of: reasons
    that differ in their numbers only are of one kind. `whys`: one for each, "" for none."""
    kinds = {}
    for why in filter(None, whys):
        kinds.setdefault(re.sub(r"[\d.]+", "#", why), []).append(why)
    total = len(whys)
    return [f"{same[0]} ({len(same)} of {total} {what})" if total > 1 else same[0]
            for _, same in sorted(kinds.items())]


@dataclass(frozen=True)
class Series:
    """What one side showed in the rounds that count."""

    samples: list

    @property
    def values(self):
        return [sample.value for sample in self.samples]

    @property
    def reasons(self):
        """Why samples are untrustworthy, each kind of reason once."""
        return summary([sample.why for sample in self.samples], "rounds")

    @property
    def repeated(self):
        return sum(sample.repeated for sample in self.samples)


def run_rounds(ours, peer, rounds, patience_s, progress=lambda number: None):
    """(our Series, the peer's Series or None). `ours` and `peer` each make one Sample; `peer` may
    be None. The side that begins alternates.

    As many rounds as begin within `patience_s`, but at least ROUNDS_MIN and at most `rounds`. Those
    with a sample that is not to be trusted do not count, and others follow within the same time; if
    too few are left, the others count, too, with their reasons.
    """
    good, bad = [], []
    began = time.monotonic()
    for number in range(ROUNDS_FACTOR_MAX * rounds):
        late = time.monotonic() - began > patience_s
        if len(good) == rounds or (late and len(good) + len(bad) >= ROUNDS_MIN):
            break
        progress(number)
        samples = _one_round(ours, peer, number)
        (bad if any(sample.why for sample in samples if sample) else good).append(samples)
    counted = good if len(good) >= ROUNDS_MIN else (good + bad)[:rounds]
    sides = [Series(list(side)) for side in zip(*counted)]
    return sides[0], None if peer is None else sides[1]


def _one_round(ours, peer, number):
    """(our Sample, the peer's or None), the other side first every second time."""
    if peer is None:
        return ours(), None
    if number % 2 == 0:
        first = ours()
        return first, peer()
    first = peer()
    return ours(), first
