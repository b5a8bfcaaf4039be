"""One trial of each kind: from a stage where all is well to a stage where all is well again."""

import signal
import time
from dataclasses import dataclass

from world import consumer_state, publisher_state

_CONTENT_TIMEOUT_S = 30
_SERVICE_TIMEOUT_S = 60


@dataclass(frozen=True)
class Served:
    """After presence was away: when a new request was served, in seconds since presence was ready
    again; packets lost, repeated or out of order at the worst consumer; STOPs and WAITs sent."""

    new_request_s: float
    packets_lost: int
    stops: int


@dataclass(frozen=True)
class Drained:
    """While a data server was drained: the longest time in which a consumer's program got no
    content, in seconds, and packets lost, repeated or out of order, each at the worst consumer."""

    longest_gap_s: float
    packets_lost: int


def data_server_is_drained(stage):
    """Drains the data server with all the streams; it is back in use afterwards."""
    watch = Watch(stage)
    stage.drain(watch.carrier)
    lost = watch.packets_lost()
    longest = max(watch.longest_gaps_s())
    stage.uncordon(watch.carrier)
    return Drained(longest, lost)


def data_server_dies(stage):
    """Seconds from SIGKILL of the data server with all the streams to content at the last
    consumer."""
    return _lose_data_server(stage, signal.SIGKILL)


def data_server_stops(stage):
    """The same for SIGSTOP: it is there and does nothing any more."""
    return _lose_data_server(stage, signal.SIGSTOP)


def presence_is_away(stage, number, away_s):
    """Kills presence and starts it again `away_s` later. Returns Served."""
    watch = Watch(stage)
    stage.presence.kill()
    time.sleep(away_s)
    request = NewRequest(stage, number)
    stage.presence = stage.programs.presence()
    returned_at = time.monotonic()
    return watch.served(request.served_at() - returned_at)


class Watch:
    """What becomes of the five streams from now on; the stage is settled when it begins."""

    def __init__(self, stage):
        self.carrier = stage.settle()
        self._stage = stage
        self._before = stage.fresh_stats()
        self._stops = stage.stops()

    def packets_lost(self):
        """At the worst consumer, once the stage has settled again."""
        self._stage.settle()
        after = self._stage.fresh_stats()
        return max(packets_lost(*pair) for pair in zip(self._before, after, strict=True))

    def longest_gaps_s(self):
        """Of every consumer, in what it has said of itself; see Stage.longest_gaps_s()."""
        return self._stage.longest_gaps_s(self._before)

    def served(self, new_request_s):
        lost = self.packets_lost()
        return Served(new_request_s, lost, self._stage.stops() - self._stops)


class NewRequest:
    """A stream that nobody knew before and its consumer, both asking from now on."""

    def __init__(self, stage, number):
        name = f"new{number}"
        self._publisher, self._consumer = stage.publish(name), stage.consume(name)

    def served_at(self):
        """Waits until the consumer receives; when that was, by time.monotonic(). Then both end."""
        publisher_state(self._publisher, "transmitting", _SERVICE_TIMEOUT_S)
        consumer_state(self._consumer, "receiving", _SERVICE_TIMEOUT_S)
        served_at = time.monotonic()
        for process in (self._consumer, self._publisher):
            process.close()
        return served_at


def _lose_data_server(stage, number):
    victim = stage.settle()
    survivor = stage.other(victim)
    stage.arrivals.forget()
    lost_at = time.time()
    stage.server(victim).signal(number)
    again = stage.arrivals.first_from(stage.address(survivor), stage.ports, _CONTENT_TIMEOUT_S)
    stage.server(victim).kill()
    stage.server(victim).close()
    stage.restart(victim)
    return max(again.values()) - lost_at


def packets_lost(before, after):
    """Packets that a consumer should have received between two lines of --stats and did not, or
    not once, or not in order."""
    wanted = after["last_sequence"] - before["last_sequence"]
    received = after["datagrams"] - before["datagrams"]
    wrong = sum(after[what] - before[what] for what in ("lost", "duplicates", "reordered"))
    return max(abs(wanted - received), wrong)
