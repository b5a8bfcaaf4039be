"""Programs die and come back while content flows."""

import signal
import time

import world as harness
from stage import states_of
from world import consumer_state, epochs_obeyed, eventually, publisher_state

DEADLINE_S = 40
CONTENT = ("--generate", "--rate", "4Mbit")
RECOVERED_MOST_S = 4  # all are back at once: 3 s, and some


class Stage:
    def __init__(self, world, programs, driver):
        self.world = world
        self.programs = programs
        self.presence = programs.presence()
        self.server = world.add_data_server("ds1", driver)
        self.data_server = programs.data_server(self.server)
        self.pub, self.con = world.add_host("pub"), world.add_host("con")
        self.record = world.directory / "record"
        self.seen = world.directory / "seen"
        self.publisher = self.publish(self.record)
        self.consumer = self.consume(self.seen)

    def publish(self, record):
        words = [*CONTENT, "--close-after", "1s", "--record", record]
        publisher = self.programs.publisher(self.pub, "tv", *words)
        publisher_state(publisher, "transmitting", DEADLINE_S)
        return publisher

    def consume(self, output):
        words = ["--output", output, "--wait", "forever"]
        consumer = self.programs.consumer(self.con, "tv", *words)
        consumer_state(consumer, "receiving", DEADLINE_S)
        return consumer

    def await_more(self, output, packets=400):
        """Waits until so many packets more have arrived than now."""
        wanted = output.stat().st_size + packets * harness.PAYLOAD_BYTES
        eventually(lambda: output.stat().st_size >= wanted, DEADLINE_S, f"{packets} packets more")

    def await_adoption(self):
        """Waits until a presence that has just started knows all there is of the stream, which
        its publisher has not ceased to send; what it knows."""
        self.data_server.wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")

        def taken_over():
            stream = self.programs.stream("tv")
            known = (stream["state"], stream["consumers"], stream["requests"])
            return known == ("transmitting", 1, 1) and stream["data_server"] == "ds1" and stream

        adopted = eventually(taken_over, DEADLINE_S, "adoption")
        self.await_more(self.seen)
        states = states_of(self.publisher)
        assert not {"stopped", "waiting"} & set(states[states.index("transmitting") :]), states
        return adopted

    def judge(self):
        """What the first consumer has seen is one piece of what the publisher has sent."""
        assert harness.fault_in(harness.heads_of(self.seen.read_bytes())) == ""
        assert self.seen.read_bytes() in self.record.read_bytes()


def test_presence_dies_and_comes_back_and_no_packet_is_lost(world, programs, driver):
    stage = Stage(world, programs, driver)
    stage.await_more(stage.seen)
    version = programs.stream("tv")["publisher_id"]
    stage.presence.kill()
    stage.await_more(stage.seen)  # data servers go on relaying
    programs.presence()
    ready_at = time.time()
    events = programs.events(world.presence)
    events.wait_for_object(DEADLINE_S, kind="adopted", stream="tv")
    assert stage.await_adoption()["publisher_id"] == version
    recovered = events.wait_for_object(DEADLINE_S, kind="recovered")
    assert recovered["unix_ms"] / 1000 - ready_at < RECOVERED_MOST_S

    # And the chain goes on: the last one leaves, STOP, WAIT; another asks, START.
    assert stage.consumer.stop() == 0
    publisher_state(stage.publisher, "waiting", DEADLINE_S)
    again = world.directory / "again"
    stage.consume(again)
    stage.await_more(again, 100)
    assert stage.publisher.stop() == 0
    stage.judge()


def test_content_outlives_a_presence_that_has_lost_its_store(world, programs):
    stage = Stage(world, programs, harness.DRIVERS[0])
    stage.await_more(stage.seen)
    stage.presence.kill()
    store = world.directory / "presence.db"
    store.write_bytes(b"")
    refused = programs.presence(wait=False)
    assert refused.wait(DEADLINE_S) == 1
    assert "is damaged (it is empty)" in refused.stderr.text()
    stage.await_more(stage.seen)
    store.unlink()  # the other presence begins anew, with other keys
    programs.presence()
    stage.await_adoption()
    before, after = epochs_obeyed(stage.data_server)
    assert after > before
    again = world.directory / "again"
    newcomer = stage.consume(again)
    stage.await_more(again, 100)
    for process in (newcomer, stage.consumer, stage.publisher):
        assert process.stop() == 0
    stage.judge()


def test_a_data_server_that_comes_back_is_taken_in(world, programs, driver):
    stage = Stage(world, programs, driver)
    stage.await_more(stage.seen)
    stage.data_server.kill()
    stage.data_server = programs.data_server(stage.server)
    publisher_state(stage.publisher, "transmitting", DEADLINE_S)
    stage.await_more(stage.seen)
    shown = programs.server("ds1")
    assert (shown["state"], shown["streams"], shown["consumers"]) == ("attached", 1, 1)


def test_a_data_server_that_ends_tells_everybody(world, programs, driver):
    stage = Stage(world, programs, driver)
    stage.await_more(stage.seen)
    assert stage.data_server.stop() == 0
    other = programs.data_server(world.add_data_server("ds2", driver))
    assert consumer_state(stage.consumer, "receiving", DEADLINE_S)["data_server"].startswith(
        world.hosts["ds2"].data_address
    )
    stage.await_more(stage.seen)
    assert other.stop() == 0


def test_a_publisher_that_comes_back_is_taken_in(world, programs, driver):
    stage = Stage(world, programs, driver)
    stage.await_more(stage.seen)
    assert stage.publisher.kill() == -signal.SIGKILL
    resumed = world.directory / "resumed"
    stage.publisher = stage.publish(resumed)
    stage.await_more(stage.seen)
    assert stage.publisher.stop() == 0
    assert stage.consumer.stop() == 0
    heads = harness.heads_of(stage.seen.read_bytes())
    runs = list(dict.fromkeys(head.run for head in heads))
    assert len(runs) == 2
    for run in runs:
        assert harness.fault_in([head for head in heads if head.run == run]) == ""
