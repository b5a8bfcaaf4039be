"""penstock-presence and the load on it, each on a CPU of its own."""

import json
import os
import re
import select
import subprocess
import time
from pathlib import Path

from comparison import ROOT, MeasurementFailed
from world import run

_PRESENCE_CPU, _LOAD_CPU = 1, 0
_READY = re.compile(r"ready presence listen=(\S+)")
_START_TIMEOUT_S = 10
_ANSWER_TIMEOUT_S = 120
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# As bench/README.md has penstock-presence run with tables of that size.
_PRESENCE_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def make_certificates(directory):
    """What presence proves by who it is, and what it is checked against."""
    run([ROOT / "tools" / "certificates", directory, "presence=127.0.0.1"])


def core_events_per_second(build, servers):
    """What the presence core alone takes, in a process of its own that fills tables of that size."""
    words = [build / "bench" / "penstock-bench-micro", "--benchmark_format=json",
             f"--benchmark_filter=presence_core/servers:{servers}/"]
    done = run([*_pinned(_PRESENCE_CPU), *words], timeout_s=_ANSWER_TIMEOUT_S,
               environment={**os.environ, **_PRESENCE_ENVIRONMENT})
    measured = json.loads(done.stdout)["benchmarks"]
    if len(measured) != 1 or "items_per_second" not in measured[0]:
        raise MeasurementFailed(f"presence_core/servers:{servers} was not measured: {measured}")
    return measured[0]["items_per_second"]


def _pinned(cpu):
    return ["taskset", "-c", str(cpu)] if os.cpu_count() > max(_PRESENCE_CPU, _LOAD_CPU) else []


class Program:
    """A program that says lines on standard output. Ends with the `with` statement."""

    def __init__(self, words, cpu, environment=None):
        self._name = Path(words[0]).name
        self._process = subprocess.Popen(
            [*_pinned(cpu), *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        os.set_blocking(self._process.stderr.fileno(), False)
        self._text = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            stream.close()

    def say(self, line):
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def line(self, timeout_s):
        """The next line of its standard output."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self._process.stdout], [], [], max(left, 0))
            more = os.read(self._process.stdout.fileno(), 65_536) if readable else b""
            if not more:
                why = "ended" if readable else f"said nothing for {timeout_s} s"
                errors = (self._process.stderr.read() or b"").decode(errors="replace").strip()
                raise MeasurementFailed(f"{self._name} {why}: {errors[-500:]}")
            self._text += more
        line, self._text = self._text.split(b"\n", 1)
        return line.decode()

    def cpu_seconds(self):
        """Time it has had a CPU since it was started."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # utime, stime: proc(5)

    def resident_bytes(self):
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s*(\d+) kB$", text, re.MULTILINE)[1]) * 1024


class Presence(Program):
    """A presence server that has just been started, with a new store."""

    def __init__(self, build, directory, streams, certificates):
        super().__init__(
            [build / "src/presence/penstock-presence", "--listen", "127.0.0.1:0", "--store",
             Path(directory) / "presence.db", "--streams", streams, "--consumers", 1_000_000,
             *(("--tls-cert", certificates / "presence.pem", "--tls-key",
                certificates / "presence.key") if certificates else ())],
            _PRESENCE_CPU, _PRESENCE_ENVIRONMENT)
        ready = _READY.match(self.line(_START_TIMEOUT_S))
        if ready is None:
            raise MeasurementFailed("penstock-presence did not say where it listens")
        self.address = ready[1]
        self.started_at = time.monotonic()


class Load(Program):
    """Data servers, publishers and consumers of a presence server."""

    def __init__(self, build, presence, certificates):
        super().__init__(
            [build / "bench/penstock-presence-load", presence.address,
             *(("--tls-ca", certificates / "authority.pem") if certificates else ())], _LOAD_CPU)

    def do(self, *words, on_mark=lambda: None):
        """One command (see bench/presence_load/main.cc). Returns: its answer.

        `on_mark` is called when a measurement begins and when it ends."""
        self.say(" ".join(map(str, words)))
        while True:
            answer = json.loads(self.line(_ANSWER_TIMEOUT_S))
            if "mark" not in answer:
                break
            on_mark()
        if not answer["ok"]:
            raise MeasurementFailed(f"the load could not be made: {' '.join(map(str, words))}")
        return answer
