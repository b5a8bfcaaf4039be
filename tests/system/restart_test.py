"""Programs die and come back while content flows."""

import signal

import world as harness
from world import consumer_state, eventually, publisher_state

DEADLINE_S = 40
CONTENT = ("--generate", "--rate", "4Mbit")


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


def test_presence_dies_and_comes_back_and_no_packet_is_lost(world, programs, driver):
    stage = Stage(world, programs, driver)
    stage.await_more(stage.seen)
    version = programs.stream("tv")["publisher_id"]
    stage.presence.kill()
    stage.await_more(stage.seen)  # data servers go on relaying
    programs.presence()
    stage.data_server.wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    events = programs.events(world.presence)
    events.wait_for_object(DEADLINE_S, kind="adopted", stream="tv")

    def taken_over():
        stream = programs.stream("tv")
        known = (stream["state"], stream["consumers"], stream["requests"], stream["data_server"])
        return known == ("transmitting", 1, 1, "ds1") and stream

    assert eventually(taken_over, DEADLINE_S, "adoption")["publisher_id"] == version
    stage.await_more(stage.seen)

    # And the chain goes on: the last one leaves, STOP, WAIT; another asks, START.
    assert stage.consumer.stop() == 0
    publisher_state(stage.publisher, "waiting", DEADLINE_S)
    again = world.directory / "again"
    stage.consume(again)
    stage.await_more(again, 100)
    assert stage.publisher.stop() == 0
    heads = harness.heads_of(stage.seen.read_bytes())
    assert harness.fault_in(heads) == ""
    assert stage.seen.read_bytes() in stage.record.read_bytes()


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
