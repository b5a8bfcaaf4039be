"""What the tests of faults share: one stream, somewhere, and how one sees that it goes on."""

import time

import world as harness
from world import consumer_state, eventually, last_stats, newest_sequence, publisher_state

DEADLINE_S = 40
DRIVER = harness.DRIVERS[0]
CONTENT = ("--generate", "--rate", "4Mbit")


class Stage:
    """One stream on the first of two data servers, with one consumer."""

    def __init__(self, world, programs, driver=DRIVER, servers=("ds1", "ds2"), running=None):
        """`running`: (host, process) of those data servers that run already, and presence."""
        self.world = world
        self.programs = programs
        if running is None:
            programs.presence()
            host = world.add_data_server(servers[0], driver)
            running = {servers[0]: (host, programs.data_server(host))}
        self.hosts = {name: host for name, (host, _) in running.items()}
        self.servers = {name: process for name, (_, process) in running.items()}
        self.pub, self.con = world.add_host("pub"), world.add_host("con")
        self.publisher = self.publish("tv")
        self.consumer = self.consume("tv")
        for name in servers[1:]:
            self.hosts[name] = world.add_data_server(name, driver)
            self.servers[name] = programs.data_server(self.hosts[name])

    def publish(self, stream):
        publisher = self.programs.publisher(self.pub, stream, *CONTENT, "--close-after", "1s")
        publisher_state(publisher, "transmitting", DEADLINE_S)
        return publisher

    def place_new(self, stream):
        """Publishes another stream; the data server that presence gave it."""
        self.publish(stream)
        return self.programs.stream(stream)["data_server"]

    def consume(self, stream, wait="forever"):
        words = ["--stats", "--report-interval", "100ms", "--wait", wait]
        consumer = self.programs.consumer(self.con, stream, *words)
        consumer_state(consumer, "receiving", DEADLINE_S)
        return consumer

    def await_more(self, packets=200):
        wanted = newest_sequence(self.consumer) + packets
        eventually(lambda: newest_sequence(self.consumer) >= wanted, DEADLINE_S, "more packets")

    def await_move(self, name):
        """Waits until publisher and consumer are at a data server; when, by our clock."""
        address = self.hosts[name].data_address
        for await_state, process, state in (
            (publisher_state, self.publisher, "transmitting"),
            (consumer_state, self.consumer, "receiving"),
        ):
            # It may be told its old place once more before.
            while not await_state(process, state, DEADLINE_S)["data_server"].startswith(
                f"{address}:"
            ):
                pass
        return time.monotonic()

    def await_empty(self, name):
        """Waits until presence has taken a data server back, and it carries nothing."""

        def is_empty():
            shown = self.programs.server(name)
            return (shown["state"], shown["streams"], shown["consumers"]) == ("attached", 0, 0)

        eventually(is_empty, DEADLINE_S, f"{name} without streams")

    def content_from(self, name):
        """A capture of what a data server sends to the consumer from now on."""
        address = self.hosts[name].data_address
        return harness.Capture(self.con, "data0", f"udp and src host {address}")


def only_server(world, programs, *words, **started):
    """What a Stage takes as running: ds1, started like this."""
    host = world.add_data_server("ds1", DRIVER)
    return {"ds1": (host, programs.data_server(host, *words, **started))}


def consumers_that_wait(programs, host, stream):
    """Of two consumers the one that waits for ever, and what the other one, which waits for 1 s,
    said at its end."""
    hasty = programs.consumer(host, stream, "--stats", "--wait", "1s")
    patient = programs.consumer(host, stream, "--stats", "--wait", "forever")
    consumer_state(patient, "waiting", DEADLINE_S)
    assert hasty.wait(DEADLINE_S) == 1
    return patient, hasty.stderr.text()


def contents_of(capture):
    return [d for d in harness.datagrams_of(capture.stop()) if d.payload.startswith(b"PSTCONT1")]


def lost_nothing(consumer):
    stats = last_stats(consumer)
    return (stats["lost"], stats["duplicates"], stats["reordered"]) == (0, 0, 0)


def states_of(publisher):
    """All states it has said it was in."""
    return [said["state"] for said in harness.json_lines(publisher.stdout.path)]
