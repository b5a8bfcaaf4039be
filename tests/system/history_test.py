"""Consumers that ask for the past get it, in order, and then the present without a seam."""

import math
import time

import world as harness
from world import consumer_state, eventually, publisher_state

DEADLINE_S = 30
BITS_PER_SECOND = 6_000_000
PACKETS_PER_SECOND = BITS_PER_SECOND / 8 / harness.PAYLOAD_BYTES
LIVE_PACKETS = 600  # to be seen after the past is over
CLOCK_SLACK_S = 0.1  # between the publisher's clock and arrival at the data server


class Stage:
    """A stream that has been running long enough to have a past."""

    def __init__(self, world, programs, driver, past_packets, *data_server_words):
        self.world = world
        self.programs = programs
        programs.presence()
        programs.data_server(world.add_data_server("ds1", driver), *data_server_words)
        self.pub, self.con = world.add_host("pub"), world.add_host("con")
        self.record = world.directory / "record"
        words = ["--generate", "--rate", f"{BITS_PER_SECOND}bit", "--close-after", "60s"]
        self.publisher = programs.publisher(self.pub, "tv", *words, "--record", self.record)
        publisher_state(self.publisher, "transmitting")
        eventually(lambda: self.arrived() >= past_packets, DEADLINE_S, "a past")
        self._joiners = 0

    def arrived(self):
        """Packets the data server has surely received: its newest report is a little old."""
        load = self.programs.stream("tv")["load"]
        return load["packets_in"] if load else 0

    def sent(self):
        """Packets the publisher has surely sent: it writes down what it has handed over."""
        return self.record.stat().st_size // harness.PAYLOAD_BYTES

    def join(self, history, packets):
        """Starts a consumer for so much history and so many packets; its process and its file."""
        self._joiners += 1
        output = self.world.directory / f"seen_{self._joiners}"
        words = ["--output", output, "--history", history, "--count", packets]
        return self.programs.consumer(self.con, "tv", *words), output

    def finish(self, consumer, output):
        """Lets it end by itself; what it received."""
        assert consumer.wait(DEADLINE_S) == 0, consumer.describe("did not end well")
        heads = harness.heads_of(output.read_bytes())
        assert harness.fault_in(heads) == ""
        return heads


def test_a_number_of_packets(world, programs, driver):
    stage = Stage(world, programs, driver, 600)
    at_least = stage.arrived()
    consumer, output = stage.join("500", 500 + LIVE_PACKETS)
    consumer_state(consumer, "receiving")
    heads = stage.finish(consumer, output)
    at_most = stage.sent()
    assert at_least - 500 <= heads[0].sequence
    # It joined before it saw the first packet that is not history.
    assert heads[0].sequence <= at_most - 500 - LIVE_PACKETS + 1
    stage.publisher.stop()
    assert output.read_bytes() in stage.record.read_bytes()


def test_a_duration(world, programs, driver):
    stage = Stage(world, programs, driver, math.ceil(2.5 * PACKETS_PER_SECOND))
    asked_at = time.time()
    consumer, output = stage.join("2s", math.ceil(2 * PACKETS_PER_SECOND) + LIVE_PACKETS)
    consumer_state(consumer, "receiving")
    joined_at = time.time()
    heads = stage.finish(consumer, output)
    assert asked_at - 2 - CLOCK_SLACK_S <= heads[0].sent_at_s <= joined_at - 2 + CLOCK_SLACK_S


def test_no_history_begins_with_the_present(world, programs, driver):
    stage = Stage(world, programs, driver, 300)
    at_least = stage.arrived()
    consumer, output = stage.join("none", LIVE_PACKETS)
    assert stage.finish(consumer, output)[0].sequence >= at_least


def test_more_than_the_ring_holds_gives_the_ring(world, programs, driver):
    stage = Stage(world, programs, driver, 800, "--ring-packets", "512")
    at_least = stage.arrived()
    consumer, output = stage.join("100000", 512 + LIVE_PACKETS)
    heads = stage.finish(consumer, output)
    assert at_least - 512 <= heads[0].sequence <= stage.sent() - 512 - LIVE_PACKETS + 1


def test_several_at_once(world, programs, driver):
    stage = Stage(world, programs, driver, 900)
    at_least = stage.arrived()
    asked = ["800", "100", "1s", "none", "500", "800"]
    joined = [stage.join(history, 800 + LIVE_PACKETS) for history in asked]
    firsts = [stage.finish(*consumer)[0].sequence for consumer in joined]
    for history, first in zip(asked, firsts):
        if history.isdigit():
            assert at_least - int(history) <= first
    assert max(firsts[0], firsts[5]) < min(firsts[1], firsts[3])
