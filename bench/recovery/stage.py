"""What every figure plays on: presence, one or three of them on an etcd, data servers, five streams
and their consumers."""

import itertools
import json
import random
import time
from dataclasses import dataclass

from world import (
    CommandFailed,
    EtcdCluster,
    PresenceCluster,
    consumer_state,
    epochs_obeyed,
    eventually,
    json_lines,
    publisher_state,
)

from .arrivals import Arrivals

STREAMS = 5
# Small datagrams at a rate that two CPUs carry to everybody: 100 packets/s, so content that flows
# again is seen within 10 ms.
_CONTENT = ("--generate", "--payload", "100", "--rate", "80kbit")
_WATCH = ("--stats", "--report-interval", "1s", "--wait", "forever")
_READY_TIMEOUT_S = 60
_TAIL_BYTES = 4096  # several lines of a consumer's --stats
_DUTIES = ("cordoned", "draining", "drained")  # states of a data server that an operator ordered
_PHASE_S = 1.0  # of heartbeats, which are the slowest thing that goes round


class Stage:
    """Programs in a world, ready when the constructor returns: all streams on one data server,
    each with its share of the consumers, and a second data server with nothing to do."""

    def __init__(self, world, programs, driver, consumers, on_etcd=False):
        """`on_etcd`: `presences`, three of them, on the three members of `etcd`, in the place of
        `presence` alone."""
        self.programs = programs
        self._world = world
        self.presence = self.etcd = self.presences = None
        if on_etcd:
            self.etcd = EtcdCluster(world, world.add_presence())
            self.presences = PresenceCluster(programs, self.etcd.store)
        else:
            self.presence = programs.presence()
        self._hosts = {name: world.add_data_server(name, driver) for name in ("ds1", "ds2")}
        self._servers = {"ds1": programs.data_server(self._hosts["ds1"])}
        self._pub, self._con = world.add_host("pub"), world.add_host("con")
        self.streams = [f"tv{number}" for number in range(STREAMS)]
        self.publishers = [self.publish(stream) for stream in self.streams]
        for publisher in self.publishers:
            publisher_state(publisher, "transmitting", _READY_TIMEOUT_S)
        each = consumers // STREAMS
        self.consumers = [self.consume(stream) for stream in self.streams for _ in range(each)]
        for consumer in self.consumers:
            consumer_state(consumer, "receiving", _READY_TIMEOUT_S)
        self.arrivals = Arrivals(self._con)
        self.ports = self.arrivals.ports(len(self.consumers), _READY_TIMEOUT_S)
        self._servers["ds2"] = programs.data_server(self._hosts["ds2"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.arrivals.__exit__()
        if self.etcd:
            self.etcd.close()

    def publish(self, stream):
        return self.programs.publisher(self._pub, stream, *_CONTENT, "--close-after", "60s")

    def consume(self, stream):
        return self.programs.consumer(self._con, stream, *_WATCH)

    def address(self, server):
        return self._hosts[server].data_address

    def server(self, name):
        return self._servers[name]

    def other(self, name):
        return next(other for other in self._hosts if other != name)

    def restart(self, name):
        self._servers[name] = self.programs.data_server(self._hosts[name])

    def settle(self):
        """Waits until presence knows of all streams, that they are transmitted and that every
        consumer has its flow, and then for a random part of a heartbeat, so that trials do not
        all begin at the same point of it. Returns the data server that carries the streams."""
        carrier = eventually(self._carrier, _READY_TIMEOUT_S, "every stream on one data server")
        time.sleep(random.uniform(0, _PHASE_S))
        return carrier

    def _carrier(self):
        carriers = set()
        for name in self.streams:
            try:
                stream = self.programs.stream(name)
            except CommandFailed:
                return None  # one that has just come to lead knows of no stream yet
            each = len(self.consumers) // STREAMS
            if (stream["state"], stream["consumers"], stream["requests"]) != (
                "transmitting",
                each,
                each,
            ):
                return None
            carriers.add(stream["data_server"])
        return carriers.pop() if len(carriers) == 1 else None

    def fresh_stats(self):
        """What every consumer says of itself from now on: its next line of --stats."""
        sizes = [consumer.stdout.path.stat().st_size for consumer in self.consumers]

        def newer(consumer, size):
            return consumer.stdout.path.stat().st_size > size and _newest_line(consumer)

        return [
            eventually(lambda c=consumer, s=size: newer(c, s), _READY_TIMEOUT_S, "--stats")
            for consumer, size in zip(self.consumers, sizes, strict=True)
        ]

    def longest_gaps_s(self, since):
        """Of every consumer, the longest time in which its program got no content, in the lines
        of --stats that followed those of `since` (fresh_stats())."""
        return [
            max(
                said["longest_gap_ms"]
                for said in json_lines(consumer.stdout.path)
                if said["event"] == "stats" and said["datagrams"] > line["datagrams"]
            )
            / 1000
            for consumer, line in zip(self.consumers, since, strict=True)
        ]

    def drain(self, server):
        """Returns when nothing is on it any more."""
        self.programs.control(
            self._world.presence, "server", "drain", server, "--deadline", "60s", timeout_s=90
        )

    def uncordon(self, server):
        self.programs.control(self._world.presence, "server", "uncordon", server)

    def order_drain(self, presence, server):
        """Has an operator ask for a drain at the address of this presence server and no other; the
        command, whose connection the machine of that server has taken."""
        words = ["--insecure", "--presence", presence, "server", "drain", server]
        command = self.programs.start(
            self._world.presence, "penstockctl", *words, "--deadline", "1s"
        )
        shown = ["ss", "-Htnp", "state", "established", f"dst {presence}"]
        eventually(
            lambda: not command.running()
            or f"pid={command.pid}," in self._world.presence.run(shown).stdout,
            _READY_TIMEOUT_S,
            "a connection of penstockctl",
        )
        return command

    def stops(self):
        """How often the publishers of the five streams were told to cease up to now."""
        outputs = [publisher.stdout.text() for publisher in self.publishers]
        told = [state for output in outputs for state, _ in _states(output)]
        return sum(state in ("stopped", "waiting") for state in told)

    def obeyed(self):
        """What the clients of the five streams and the data servers did up to now because a
        presence server said so."""
        clients = [publisher.stdout for publisher in self.publishers]
        clients += [consumer.stderr for consumer in self.consumers]
        return Obeyed(
            changes=sum(changes_in(output.text()) for output in clients),
            falls=sum(falls_in(epochs_obeyed(server)) for server in self._servers.values()),
            duties=sum(
                self.programs.server(name)["state"] in _DUTIES for name in self._servers
            ),
        )


@dataclass(frozen=True)
class Obeyed:
    """Changes of clients' states, data servers' attachments to a leader of a lower epoch than the
    one before, and data servers that an operator has taken out."""

    changes: int
    falls: int
    duties: int

    def since(self, before):
        """How many of them since `before`."""
        return (
            self.changes - before.changes + self.falls - before.falls + self.duties - before.duties
        )


def changes_in(text):
    """How often a client changed its state or its place, by its output. It says the same again
    when it attaches to another presence server: that is none."""
    return sum(before != after for before, after in itertools.pairwise(_states(text)))


def falls_in(epochs):
    """How often an epoch is lower than the one before."""
    return sum(after < before for before, after in itertools.pairwise(epochs))


def _states(text):
    """The states a client said it was in, and at which data server."""
    said = [said for said in json_lines(text) if said.get("event") == "state"]
    return [(one["state"], one["data_server"]) for one in said]


def _newest_line(consumer):
    """The last whole line of --stats; the file may be long."""
    with consumer.stdout.path.open("rb") as file:
        file.seek(max(0, consumer.stdout.path.stat().st_size - _TAIL_BYTES))
        lines = file.read().rpartition(b"\n")[0].split(b"\n")
    return json.loads(lines[-1]) if lines[-1] else None
