"""Runs penstock-bench and reads the JSON it prints."""

import json
import re
from dataclasses import dataclass

from world import CommandFailed, Process, run

from . import MeasurementFailed

TRIALS = 3  # of which the median counts
# Percentiles are taken over all of these: short ones, so that many stay undisturbed.
LATENCY_TRIALS, LATENCY_TRIAL_TIME = 30, "10ms"
_POINT_TIMEOUT_S = 60  # 10,000 streams or 100,000 flows take a while to install


@dataclass(frozen=True)
class Row:
    """One line of `penstock-bench replicate`: a point of its sweep."""

    consumers: int
    payload_bytes: int
    copies_per_second: float
    ns_per_copy: float
    cycles_per_copy: float
    copies_in_all: int  # from the workers' start to their end
    repeated: int  # trials that were disturbed
    why: str  # it cannot be trusted; "" if it can


def rows_of(text):
    """The Rows of `penstock-bench replicate --json -`; MeasurementFailed if it is none."""
    document = _document(text, "replicate")
    try:
        return [
            Row(
                consumers=row["consumers"],
                payload_bytes=row["payload_bytes"],
                copies_per_second=float(row["copies_per_second"]["median"]),
                ns_per_copy=float(row["ns_per_copy"]),
                cycles_per_copy=float(row["cycles_per_copy"]),
                copies_in_all=row["copies_in_all"],
                repeated=row["copies_per_second"]["repeated"],
                why=_why(row),
            )
            for row in document["rows"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementFailed(f"penstock-bench replicate: unexpected JSON: {error!r}") from error


def latency_rows_of(text):
    """The rows of `penstock-bench latency --json -` as they are, each with its "why"."""
    rows = _document(text, "latency").get("rows")
    if not rows or any("p99" not in row.get("added_us", ()) for row in rows):
        raise MeasurementFailed("penstock-bench latency: its JSON has no added_us.p99")
    return [row | {"why": _why(row)} for row in rows]


def memory_of(text):
    """(hot bytes per flow, all bytes per flow) of `penstock-bench memory --json -`."""
    document = _document(text, "memory")
    try:
        row = document["rows"][0]
        return float(row["hot_bytes_per_flow"]), float(row["bytes_per_flow"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise MeasurementFailed(f"penstock-bench memory: unexpected JSON: {error!r}") from error


def drivers_of(text):
    """The drivers in the environment that penstock-bench prints; none if it is no such JSON."""
    try:
        drivers = json.loads(text)["environment"]["drivers"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return set()
    return {driver for driver in drivers.split(", ") if driver}


def _why(row):
    return "" if row.get("trusted", True) else row.get("why") or "penstock-bench does not trust it"


def _document(text, benchmark):
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise MeasurementFailed(f"penstock-bench {benchmark} printed no JSON: {error}") from error
    if not isinstance(document, dict):
        raise MeasurementFailed(f"penstock-bench {benchmark}: its JSON is no object")
    return document


class PenstockBench:
    """The program, with the time of one trial. Thread: the main thread (start())."""

    def __init__(self, program, trial_s):
        self.program = program
        self.trial_s = trial_s
        self.drivers = set()  # DPDK's, of all runs so far

    def replicate(self, consumers, payload_bytes, *words, host=None):
        """One Row, the median of TRIALS. `words`: further options; `host`: in whose namespace."""
        arguments = self.replicate_words([consumers], [payload_bytes], TRIALS) + list(words)
        return rows_of(self._run(arguments, host))[0]

    def sweep(self, consumers, payloads_bytes, trials):
        """Rows of all combinations, each the median of `trials`."""
        words = self.replicate_words(consumers, payloads_bytes, trials)
        return rows_of(self._run(words, None, len(consumers) * len(payloads_bytes)))

    def replicate_words(self, consumers, payloads_bytes, trials):
        """The arguments of one run; short trials, so that few are hit by what disturbs."""
        words = ["replicate", "--consumers", ",".join(map(str, consumers)), "--payload"]
        words += [",".join(map(str, payloads_bytes)), "--trials", trials, "--trial-time"]
        return [str(word) for word in (*words, f"{round(self.trial_s * 1000)}ms", "--json", "-")]

    def latency(self, consumers, payload_bytes):
        """The row of one latency run at half the highest rate."""
        words = ["latency", "--consumers", consumers, "--payload", payload_bytes]
        words += ["--trials", LATENCY_TRIALS, "--trial-time", LATENCY_TRIAL_TIME, "--json", "-"]
        return latency_rows_of(self._run(words, None))[0]

    def memory(self):
        return memory_of(self._run(["memory", "--json", "-"], None))

    def start(self, directory, name, words):
        """Starts it to run beside something else; returns the Process."""
        return Process(name, [self.program, *words], directory)

    def _run(self, words, host, points=1):
        arguments = [str(word) for word in (self.program, *words)]
        try:
            done = (host.run if host else run)(arguments, points * _POINT_TIMEOUT_S)
        except CommandFailed as error:
            raise MeasurementFailed(_short(str(error))) from error
        self.drivers |= drivers_of(done.stdout)
        return done.stdout


def _short(message):
    """A failed command in one line: what it said, without its words before that."""
    said = re.split(r": status -?\d+: ", message, maxsplit=1)[-1]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else message
