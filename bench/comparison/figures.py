"""Every figure: what is measured on each side, and what it must reach.

A figure's two sides are measured in turn within one run (rounds.py); nothing here compares numbers
of different runs or machines.
"""

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peers.open_vswitch import OpenVswitch
from peers.socket_relay import SocketRelay
from peers.testpmd import Forwarder, MemifReceiver, memif_rate
from peers.wire import dropping_wire

from .disturbance import Watch
from .penstock_bench import TRIALS, PenstockBench
from .profile import Point, profile_cycles
from .rounds import Sample

SMALL, LARGE = 22, 1316  # payload bytes: a frame of one cache line, and media in MPEG-TS
CONSUMERS = 64
# The ring of one second of a stream, as far as this machine has memory for it.
HISTORY_RING_PACKETS = 65536
_ARRIVED_SHARE_MIN = 0.99
# Where packets lie in more memory than a cache holds, net_pcap's copying of them would be most of
# what is measured: a NIC writes them by itself.
_AS_FROM_A_NIC = ("--source", "instant", "--memory", "768MiB")
_ENDLESS_TRIALS = 1000  # for a run that somebody else measures, and ends


@dataclass(frozen=True)
class Bench:
    """What a figure measures with. `window_s`: measured time of a peer; ours is in `ours`."""

    ours: PenstockBench
    socket_relay: Path
    directory: Path
    window_s: float


@dataclass(frozen=True)
class Contest:
    """Both sides, set up: each call is one measurement. `peer` is None where only we are judged."""

    ours: Callable[[], Sample]
    peer: Callable[[], Sample] | None = None


@dataclass(frozen=True)
class Figure:
    """`judged`: what is held against `must` and `aim`: "ratio" (ours ÷ peer), "growth" (that minus
    1) or "value" (ours). `at_least`: whether more is better. `contest(bench)`: a context manager
    with a Contest."""

    name: str
    title: str
    peer: str
    unit: str
    judged: str
    at_least: bool
    must: float
    aim: float | None
    contest: Callable


def _figure(name, title, peer, unit, judged, limits):
    """`limits`: must and aim as they are written: (">=", 0.9, 1.1)."""
    sense, must, aim = limits

    def with_contest(function):
        FIGURES.append(
            Figure(name, title, peer, unit, judged, sense == ">=", must, aim,
                   contextlib.contextmanager(function))
        )
        return function

    return with_contest


FIGURES = []
_numbers = itertools.count(1)


def selected(names):
    """The figures called one of `names`, or by the first part of a name: `ovs` is ovs-22 and
    ovs-1316. All for no names; ValueError names what there is not."""
    for name in names:
        if not any(_is_called(figure, name) for figure in FIGURES):
            known = ", ".join(figure.name for figure in FIGURES)
            raise ValueError(f"there is no figure {name!r}; there are {known}")
    return [f for f in FIGURES if not names or any(_is_called(f, name) for name in names)]


def _is_called(figure, name):
    return figure.name == name or figure.name.startswith(f"{name}-")


def _rate(bench, consumers, payload_bytes, *words):
    """Our side, in copies a second."""

    def measure():
        row = bench.ours.replicate(consumers, payload_bytes, *words)
        return Sample(row.copies_per_second, row.why, row.repeated)

    return measure


def _cost(bench, attribute, consumers, payload_bytes, *words):
    """Our side, in what a copy costs: "ns_per_copy" or "cycles_per_copy"."""

    def measure():
        row = bench.ours.replicate(consumers, payload_bytes, *words)
        return Sample(getattr(row, attribute), row.why, row.repeated)

    return measure


def _forwarding(bench, mode):
    forwarder = Forwarder(bench.directory, mode, SMALL)
    return lambda: Watch(forwarder.cpus).sample(forwarder.measure, bench.window_s)


@_figure("chained", "N = 64, 1316 B, payload shared", "testpmd io, 22 B", "packets/s", "ratio",
         (">=", 0.90, 1.1))
def _chained(bench):
    yield Contest(_rate(bench, CONSUMERS, LARGE), _forwarding(bench, "io"))


@_figure("own-cycles", "our own cycles a copy at that point, driver and mbuf freeing excluded", "",
         "cycles", "value", ("<=", 18, 10))
def _own_cycles(bench):
    yield Contest(lambda: profile_cycles(bench, Point(CONSUMERS, LARGE)).own_sample())


@_figure("inline", "N = 64, 22 B, payload copied", "testpmd io, 22 B", "packets/s", "ratio",
         (">=", 1.25, 1.4))
def _inline(bench):
    yield Contest(_rate(bench, CONSUMERS, SMALL), _forwarding(bench, "io"))


def _open_vswitch(bench, payload_bytes):
    with OpenVswitch(bench.directory, CONSUMERS, payload_bytes) as switch:
        yield Contest(
            _rate(bench, CONSUMERS, payload_bytes),
            lambda: Watch(switch.cpus).sample(switch.measure, bench.window_s),
        )


@_figure("ovs-22", "N = 64, 22 B", "Open vSwitch-DPDK, 64 rewritten outputs, 22 B", "copies/s",
         "ratio", (">=", 11, 15))
def _open_vswitch_small(bench):
    yield from _open_vswitch(bench, SMALL)


@_figure("ovs-1316", "N = 64, 1316 B", "Open vSwitch-DPDK, 64 rewritten outputs, 1316 B",
         "copies/s", "ratio", (">=", 11, 15))
def _open_vswitch_large(bench):
    yield from _open_vswitch(bench, LARGE)


@_figure("relay", "N = 1, history off, 22 B", "testpmd 5tswap, 22 B", "packets/s", "ratio",
         (">=", 0.75, 1.0))
def _relay(bench):
    yield Contest(_rate(bench, 1, SMALL, "--history", "off"), _forwarding(bench, "5tswap"))


@_figure("large", "cost of a copy at N = 100,000, 1316 B", "ours, N = 64", "ns/copy", "ratio",
         ("<=", 1.4, 1.15))
def _large(bench):
    yield Contest(
        _cost(bench, "ns_per_copy", 100_000, LARGE), _cost(bench, "ns_per_copy", CONSUMERS, LARGE)
    )


@_figure("streams", "10,000 streams of N = 8, 1316 B, history off", "ours, 1 stream of N = 64",
         "copies/s", "ratio", (">=", 0.7, 0.9))
def _streams(bench):
    off = ["--history", "off", *_AS_FROM_A_NIC]
    yield Contest(
        _rate(bench, 8, LARGE, "--streams", 10_000, *off), _rate(bench, CONSUMERS, LARGE, *off)
    )


@_figure("two-workers", "one stream of N = 1024 over 2 workers, 1316 B", "ours, 1 worker",
         "copies/s", "ratio", (">=", 1.7, 1.9))
def _two_workers(bench):
    yield Contest(
        _rate(bench, 1024, LARGE, "--workers", 2), _rate(bench, 1024, LARGE, "--workers", 1)
    )


@_figure("memif", "N = 64, 22 B, received by memif in another process",
         "testpmd txonly, received the same way", "packets/s", "ratio", (">=", 0.65, 0.9))
def _memif(bench):
    def ours(watch, window_s):
        number = next(_numbers)
        with MemifReceiver(bench.directory, number) as receiver:
            words = bench.ours.replicate_words([CONSUMERS], [SMALL], _ENDLESS_TRIALS)
            words += ["--sink", receiver.client]
            relay = bench.ours.start(bench.directory, f"memif_relay_{number}", words)
            try:
                return receiver.rate(watch, relay.pid, window_s)
            finally:
                relay.close()

    def peer(watch, window_s):
        return memif_rate(bench.directory, next(_numbers), SMALL, watch, window_s)

    cpus = (0, 1)
    yield Contest(
        lambda: Watch(cpus).sample(ours, bench.window_s),
        lambda: Watch(cpus).sample(peer, bench.window_s),
    )


def _veth(bench, method):
    with dropping_wire() as wire:
        relay = SocketRelay(bench.socket_relay, wire, method, CONSUMERS, LARGE)
        sink = f"net_af_xdp0,iface={wire.interface}"

        def ours():
            before = wire.arrived()
            row = bench.ours.replicate(CONSUMERS, LARGE, "--sink", sink, host=wire.near)
            arrived = wire.arrived() - before
            claimed = row.copies_per_second * bench.ours.trial_s * TRIALS
            why = row.why or _not_arrived(arrived, claimed)
            return Sample(row.copies_per_second, why, row.repeated)

        yield Contest(ours, lambda: Watch(relay.cpus).sample(relay.measure, bench.window_s))


@_figure("veth", "N = 64, 1316 B, over veth by net_af_xdp", "sendmmsg over the same veth",
         "copies/s", "ratio", (">=", 2.0, 2.6))
def _veth_sendmmsg(bench):
    yield from _veth(bench, "sendmmsg")


@_figure("veth-io_uring", "N = 64, 1316 B, over veth by net_af_xdp",
         "io_uring on connected sockets over the same veth", "copies/s", "ratio", (">=", 1.0, 2.0))
def _veth_io_uring(bench):
    yield from _veth(bench, "io_uring")


def _not_arrived(arrived, claimed):
    """Why a rate is not to be trusted: the far end of the wire saw fewer packets than were sent."""
    if arrived >= _ARRIVED_SHARE_MIN * claimed:
        return ""
    return f"{claimed:.0f} copies were sent and {arrived} arrived at the far end"


@_figure("latency",
         "added latency p99, RX to last copy handed to TX, N = 64, half the highest rate", "", "µs",
         "value", ("<=", 20, 10))
def _latency(bench):
    # Of packets that the generator sent on time: what it sent late came in a burst of its own.
    def measure():
        row = bench.ours.latency(CONSUMERS, LARGE)
        return Sample(float(row["added_us"]["p99"]), row["why"], row["repeated"])

    yield Contest(measure)


@_figure("flow-memory-hot", "bytes a flow touches per copy", "", "bytes", "value",
         ("<=", 64, None))
def _flow_memory_hot(bench):
    yield Contest(lambda: Sample(bench.ours.memory()[0]))


@_figure("flow-memory-all", "all bytes of a flow", "", "bytes", "value", ("<=", 256, None))
def _flow_memory_all(bench):
    yield Contest(lambda: Sample(bench.ours.memory()[1]))


@_figure("history", "growth of a copy's cost with history on, N = 8, 1316 B",
         "ours, history off", "cycles/copy", "growth", ("<=", 0.15, 0.05))
def _history(bench):
    def cost(*words):
        return _cost(bench, "cycles_per_copy", 8, LARGE, *words, *_AS_FROM_A_NIC)

    yield Contest(
        cost("--history", "on", "--ring-packets", HISTORY_RING_PACKETS), cost("--history", "off")
    )
