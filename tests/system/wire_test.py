"""What consumers receive, judged by tshark: every checksum right, every payload as published."""

import pytest
import world as harness
from world import consumer_state, publisher_state

DEADLINE_S = 30
SIZES = (0, 1, 63, 64, 255, 256, 257, 1316, 1471, 1472)
FEED_PORT = 6000
MAGIC = bytes.fromhex("d17e50454e53544b")  # session messages: wire/session_messages.h
# How copies leave a port: as the driver likes it best, or always chained to the shared payload.
COPY_MODES = [("net_af_xdp", "auto"), ("net_af_packet", "auto"), ("net_af_packet", "0B")]


def payload_of(size, number):
    """Bytes that no other datagram of the test has, as far as there is room for a difference."""
    return bytes((number * 37 + at * 11) % 251 for at in range(size))


class Stage:
    """A silent stream: its publisher sends what the test gives it, nothing else."""

    def __init__(self, world, programs, driver, copy_threshold):
        self.world = world
        self.programs = programs
        programs.presence()
        self.server = world.add_data_server("ds1", driver)
        programs.data_server(self.server, "--copy-threshold", copy_threshold)
        self.pub = world.add_host("pub")
        self.consumers = [world.add_host(name) for name in ("con1", "con2")]
        feed = f"127.0.0.1:{FEED_PORT}"
        self.publisher = programs.publisher(self.pub, "tv", "--udp", feed, "--close-after", "60s")
        publisher_state(self.publisher, "transmitting")
        self.flows = []
        for host in self.consumers:
            self.flows.append(programs.consumer(host, "tv", "--stats"))
            consumer_state(self.flows[-1], "receiving")
        self.stream = programs.stream("tv")
        self.port = int(self.stream["endpoint"].rsplit(":", 1)[1])
        self.captures = [
            harness.Capture(host, "data0", f"udp and src host {self.server.data_address}")
            for host in self.consumers
        ]

    def publish(self, payloads):
        """Through penstock-publish, one at a time so that the local socket keeps up."""
        with self.pub.socket() as feed:
            for payload in payloads:
                feed.sendto(payload, ("127.0.0.1", FEED_PORT))

    def publish_frames(self, payloads, **fields):
        """In the publisher's place, straight onto the wire: what its socket would not send."""
        address, port = self.stream["publisher_address"].rsplit(":", 1)
        assert address == self.pub.data_address
        frame = harness.UdpFrame(
            source_mac=self.pub.mac(),
            destination_mac=self.server.mac(),
            source=address,
            destination=self.server.data_address,
            source_port=int(port),
            destination_port=self.port,
            **fields,
        )
        with harness.FrameSender(self.pub) as wire:
            for payload in payloads:
                frame.payload = payload
                frame.padding = bytes(max(0, 60 - 42 - len(payload)))  # as Ethernet does
                wire.send(frame)

    def words_that_sum_to_zero(self):
        """For each consumer the payload of one word whose copy's checksum comes out as 0."""
        words = []
        for consumer in self.programs.control(self.world.presence, "consumer", "list", "tv"):
            address, port = consumer["address"].rsplit(":", 1)
            copy = harness.UdpFrame(
                source_mac="02:00:00:00:00:01",
                destination_mac="02:00:00:00:00:02",
                source=self.server.data_address,
                destination=address,
                source_port=self.port,
                destination_port=int(port),
                payload=bytes(2),
            )
            words.append(copy.octets()[40:42])  # the checksum: what is missing from all ones
        return words

    def judge(self, published):
        """Waits until everything has arrived, and hands every capture to the judge."""
        for consumer in self.flows:
            consumer.wait_for_object(DEADLINE_S, event="stats", datagrams=len(published))
        for capture, flow in zip(self.captures, self.flows):
            path = capture.stop()
            found = harness.datagrams_of(path)
            session = [d for d in found if d.payload.startswith(MAGIC)]
            content = [d for d in found if d not in session]
            assert {(d.source, d.source_port) for d in found} == {
                (self.server.data_address, self.port)
            }
            assert [d.payload for d in content] == published
            verdict = harness.checksums_of(path)
            assert (verdict.ip_bad, verdict.udp_bad, verdict.udp_absent) == (0, 0, 0)
            assert verdict.datagrams == len(found)


@pytest.mark.parametrize(("driver", "copy_threshold"), COPY_MODES)
def test_every_size_arrives_as_it_was_sent(world, programs, driver, copy_threshold):
    stage = Stage(world, programs, driver, copy_threshold)
    payloads = [payload_of(size, number) for number, size in enumerate(SIZES * 3)]
    stage.publish(payloads)
    stage.judge(payloads)


@pytest.mark.parametrize(("driver", "copy_threshold"), COPY_MODES)
def test_a_publisher_without_udp_checksums_is_given_them(world, programs, driver, copy_threshold):
    stage = Stage(world, programs, driver, copy_threshold)
    payloads = [payload_of(size, number) for number, size in enumerate(SIZES)]
    stage.publish_frames(payloads, udp_checksum=0)
    stage.publish_frames(payloads)
    stage.judge(payloads * 2)


@pytest.mark.parametrize(("driver", "copy_threshold"), COPY_MODES)
def test_a_checksum_that_comes_out_as_zero_is_sent_as_ones(
    world, programs, driver, copy_threshold
):
    stage = Stage(world, programs, driver, copy_threshold)
    payloads = [bytes(2), b"\xff\xff", b"\xff" * 1472, bytes(1472), b"\xff"]
    payloads += stage.words_that_sum_to_zero()  # RFC 768: 0 would say "no checksum"
    assert len(payloads) == 7
    stage.publish_frames(payloads)
    stage.publish(payloads)
    stage.judge(payloads * 2)
