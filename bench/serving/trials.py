"""What is measured of one presence server, and how."""

import contextlib
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .programs import Load, Presence, core_events_per_second, make_certificates

# A presence server that was just started learns for 3 s what there is. A stream that it learned of
# from a data server is kept for 15 s without its publisher: all is measured in between.
_SETTLED_S = 3.5
_REQUEST_S, _RENEW_S = 4, 2
REPORTS_PER_S = 10  # of a data server


@dataclass(frozen=True)
class Size:
    """What presence has in its tables, and what asks it."""

    servers: int = 1_000
    streams: int = 100  # of each data server
    active: int = 16  # of those, in every load report
    outstanding: int = 200  # requests that wait for their answer
    connections: int = 16  # that consumers share
    sessions: int = 2_000  # of each kind, for their memory
    core_servers: int = 1_000  # in the core's tables alone, with 100 streams each
    tls: bool = True
    request_s: float = _REQUEST_S
    renew_s: float = _RENEW_S


@dataclass
class Asked:
    """Requests of one kind in all trials; lists have a value a trial."""

    per_second: list = field(default_factory=list)
    p50_ms: list = field(default_factory=list)
    p99_ms: list = field(default_factory=list)
    reports_sent: list = field(default_factory=list)  # a second
    reports_taken: list = field(default_factory=list)
    held_up: int = 0
    refused: int = 0
    presence_cpu: list = field(default_factory=list)
    load_cpu: list = field(default_factory=list)

    def add(self, answer, presence_cpu, load_cpu):
        seconds = answer["seconds"]
        self.per_second.append(answer["requests"] / seconds)
        self.p50_ms.append(answer["p50_ms"])
        self.p99_ms.append(answer["p99_ms"])
        self.reports_sent.append(answer["reports"] / seconds)
        self.reports_taken.append(answer["taken"] / seconds)
        self.held_up += answer["held_up"]
        self.refused += answer["refused"]
        self.presence_cpu.append(presence_cpu)
        self.load_cpu.append(load_cpu)


@dataclass
class Grown:
    """Memory of a presence server as sessions of one kind are added."""

    counts: list = field(default_factory=list)
    resident_bytes: list = field(default_factory=list)

    def add(self, count, resident_bytes):
        self.counts.append(count)
        self.resident_bytes.append(resident_bytes)

    @property
    def bytes_each(self):
        """Slope of the line through all points (least squares)."""
        return statistics.linear_regression(self.counts, self.resident_bytes).slope


@contextlib.contextmanager
def _stage(build, size, streams):
    with tempfile.TemporaryDirectory(prefix="penstock-presence-") as directory:
        certificates = Path(directory) / "certificates" if size.tls else None
        if certificates:
            make_certificates(certificates)
        with Presence(build, directory, streams, certificates) as presence:
            with Load(build, presence, certificates) as load:
                yield presence, load


def step_alone(build, size, trials, say):
    """Events a second of the core without an edge. Returns: [one a trial]."""
    measured = []
    for trial in range(trials):
        say(f"core, trial {trial + 1} of {trials}")
        measured.append(core_events_per_second(build, size.core_servers))
    return measured


def ask(build, size, trials, say):
    """Requests and renewals beside load reports. Each trial has a presence server of its own, to
    which data servers come back with their streams. Returns: {name: Asked}."""
    asked = {"request": Asked(), "renew": Asked()}
    for trial in range(trials):
        say(f"requests, trial {trial + 1} of {trials}")
        with _stage(build, size, size.servers * size.streams) as (presence, load):
            load.do("servers", size.servers, size.streams, size.active)
            time.sleep(max(presence.started_at + _SETTLED_S - time.monotonic(), 0))
            for verb, seconds in (("request", size.request_s), ("renew", size.renew_s)):
                _measure(presence, load, size, verb, seconds, asked[verb])
    return asked


def _measure(presence, load, size, verb, seconds, asked):
    marks = []
    answer = load.do(
        verb, seconds, size.outstanding, size.connections,
        on_mark=lambda: marks.append(
            (time.monotonic(), presence.cpu_seconds(), load.cpu_seconds())))
    (began, *before), (ended, *after) = marks
    shares = [(new - old) / (ended - began) for old, new in zip(before, after, strict=True)]
    asked.add(answer, *shares)


def grow(build, size, say):
    """Memory by kind of session, each on a connection of its own. Returns: {name: Grown}."""
    grown = {"servers": Grown(), "publishers": Grown(), "consumers": Grown()}
    most = {"servers": size.servers, "publishers": size.sessions, "consumers": size.sessions}
    with _stage(build, size, size.sessions) as (presence, load):
        for kind, points in grown.items():
            say(f"memory: {kind}")
            have = 0
            for want in (0, most[kind] // 4, most[kind] // 2, most[kind]):
                if want > have:
                    load.do(kind, want - have, *((0, 0) if kind == "servers" else ()))
                have = want
                points.add(want, presence.resident_bytes())
    return grown
