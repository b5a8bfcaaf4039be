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
    drained = stage.settle()
    before = stage.fresh_stats()
    stage.drain(drained)
    stage.settle()
    after = stage.fresh_stats()
    gaps = stage.longest_gaps_s(before)
    stage.uncordon(drained)
    return Drained(
        longest_gap_s=max(gaps),
        packets_lost=max(packets_lost(*pair) for pair in zip(before, after, strict=True)),
    )


def data_server_dies(stage):
    """Seconds from SIGKILL of the data server with all the streams to content at the last
    consumer."""
    return _lose_data_server(stage, signal.SIGKILL)


def data_server_stops(stage):
    """The same for SIGSTOP: it is there and does nothing any more."""
    return _lose_data_server(stage, signal.SIGSTOP)


def presence_is_away(stage, number, away_s):
    """Kills presence and starts it again `away_s` later. Returns Served."""
    stage.settle()
    before = stage.fresh_stats()
    stops_before = stage.stops()
    stage.presence.kill()
    time.sleep(away_s)
    stream = f"new{number}"
    publisher, consumer = stage.publish(stream), stage.consume(stream)
    stage.presence = stage.programs.presence()
    returned_at = time.monotonic()
    publisher_state(publisher, "transmitting", _SERVICE_TIMEOUT_S)
    consumer_state(consumer, "receiving", _SERVICE_TIMEOUT_S)
    served_at = time.monotonic()
    for process in (consumer, publisher):
        process.close()
    stage.settle()
    after = stage.fresh_stats()
    return Served(
        new_request_s=served_at - returned_at,
        packets_lost=max(packets_lost(*pair) for pair in zip(before, after, strict=True)),
        stops=stage.stops() - stops_before,
    )


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
