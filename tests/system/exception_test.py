"""What is not a stream's is Linux's: ARP, ICMP and other ports of the data address."""

import re

import pytest
import world as harness
from world import publisher_state

DEADLINE_S = 10
LINUX_PORT = 7777  # outside --stream-ports, 20000 to 29999
CLOSED_STREAM_PORT = 29999
MODES = [("net_af_xdp", "native"), ("net_af_xdp", "skb"), ("net_af_packet", "native")]
both_ways = pytest.mark.parametrize(("driver", "mode"), MODES)
# Of the ICMP error, not of the datagram it quotes.
PORT_UNREACHABLE = "icmp.type == 3 and icmp.code == 3"


class Stage:
    def __init__(self, world, programs, driver, mode):
        programs.presence()
        self.server = world.add_data_server("ds1", driver, mode=mode)
        programs.data_server(self.server)
        if driver == "net_af_xdp":
            assert self.server.xdp_mode() == mode
        self.pub = world.add_host("pub")
        self.address = self.server.data_address

    def fence(self):
        """Everything the data server had to answer before has been answered and has arrived."""
        assert self.pub.ping(self.address, timeout_s=DEADLINE_S) == 1


@both_ways
def test_the_data_address_answers_ping(world, programs, driver, mode):
    stage = Stage(world, programs, driver, mode)
    capture = harness.Capture(stage.pub, "data0", "icmp")
    assert stage.pub.ping(stage.address, count=5, timeout_s=DEADLINE_S) == 5
    replies = harness.rows_of(capture.stop(), "icmp.type == 0", ["eth.src", "ip.src"])
    assert replies == [[stage.server.mac(), stage.address]] * 5
    # And the data server's Linux finds its way out.
    assert stage.server.ping(stage.pub.data_address, timeout_s=DEADLINE_S) == 1


@both_ways
def test_one_arp_reply_comes_and_it_names_the_port(world, programs, driver, mode):
    stage = Stage(world, programs, driver, mode)
    capture = harness.Capture(stage.pub, "data0", "arp")
    words = ["arping", "-c", "3", "-w", str(DEADLINE_S), "-I", "data0", stage.address]
    shown = stage.pub.run(words, timeout_s=DEADLINE_S + 5).stdout
    assert re.search(r"Received 3 response", shown), shown
    stage.fence()
    path = capture.stop()
    ask = f"arp.opcode == 1 && arp.dst.proto_ipv4 == {stage.address}"
    told = f"arp.opcode == 2 && arp.src.proto_ipv4 == {stage.address}"
    asked = harness.rows_of(path, ask, ["eth.src"])
    replies = harness.rows_of(path, told, ["eth.src", "arp.src.hw_mac"])
    assert len(asked) >= 3
    assert replies == [[stage.server.mac(), stage.server.mac()]] * len(asked)


@both_ways
def test_linux_does_not_answer_for_a_stream_port(world, programs, driver, mode):
    stage = Stage(world, programs, driver, mode)
    publisher_state(programs.publisher(stage.pub, "tv", "--generate"), "transmitting")
    open_port = int(programs.stream("tv")["endpoint"].rsplit(":", 1)[1])
    capture = harness.Capture(stage.pub, "data0", "icmp")
    with stage.pub.socket() as stranger:
        for _ in range(20):
            stranger.sendto(b"not a session message", (stage.address, CLOSED_STREAM_PORT))
            stranger.sendto(b"not the publisher's", (stage.address, open_port))
    stage.fence()
    assert harness.rows_of(capture.stop(), "icmp.type == 3", ["ip.src"]) == []


@both_ways
def test_other_ports_are_those_of_linux(world, programs, driver, mode):
    stage = Stage(world, programs, driver, mode)
    capture = harness.Capture(stage.pub, "data0", "icmp")
    with stage.pub.socket() as asker, stage.server.socket() as server:
        server.bind((stage.address, LINUX_PORT))
        for one in (asker, server):
            one.settimeout(DEADLINE_S)
        for size in (0, 1, 1472):
            asker.sendto(b"q" * size, (stage.address, LINUX_PORT))
            question, source = server.recvfrom(2000)
            assert question == b"q" * size
            assert source == (stage.pub.data_address, asker.getsockname()[1])
            server.sendto(b"a" * size, source)
            assert asker.recvfrom(2000) == (b"a" * size, (stage.address, LINUX_PORT))
        # A port where nobody listens gets Linux's own answer, once.
        asker.sendto(b"anybody?", (stage.address, LINUX_PORT + 1))
        stage.fence()
    refusals = harness.rows_of(capture.stop(), PORT_UNREACHABLE, ["eth.src", "udp.dstport"])
    assert refusals == [[stage.server.mac(), str(LINUX_PORT + 1)]]
