"""Nobody gets content, or more bytes than were sent in his name, who has not proven his address."""

import struct

import world as harness
from world import consumer_state, eventually, publisher_state

DEADLINE_S = 30
VICTIM_PORT = 5555
FEED_PORT = 6000
CLOSED_STREAM_PORT = 29999
SECRET = b"content that nobody else may see"

# wire/session_messages.h and wire/ticket.h
MAGIC = bytes.fromhex("d17e50454e53544b")
JOIN, CHALLENGE, KEEPALIVE, LEAVE = 1, 2, 4, 8
JOIN_BYTES, CHALLENGE_BYTES = 256, 48
TICKET, COOKIE = slice(24, 88), slice(88, 104)
CHALLENGE_COOKIE = slice(24, 40)
TICKET_MAC_AT = 72


def type_of(payload):
    return payload[9] if payload[:8] == MAGIC else None


def message(kind, octets):
    """A well-formed message of a type, its fields zero but for its header."""
    return (MAGIC + struct.pack("!BBHI", 1, kind, octets, 0)).ljust(octets, b"\0")


def with_cookie(join, cookie):
    return join[: COOKIE.start] + cookie + join[COOKIE.stop :]


def flipped(octets, at):
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


class Stage:
    """A silent stream with one honest consumer, and the tickets another one used and left."""

    def __init__(self, world, programs, driver, *presence_words):
        self.world = world
        self.programs = programs
        programs.presence(*presence_words)
        self.server = world.add_data_server("ds1", driver)
        self.data_server = programs.data_server(self.server)
        self.pub, self.con, self.thief, self.victim = (
            world.add_host(name) for name in ("pub", "con", "thief", "victim")
        )
        self.publisher = programs.publisher(self.pub, "tv", "--udp", f"127.0.0.1:{FEED_PORT}")
        publisher_state(self.publisher, "transmitting")
        self.consumer = programs.consumer(self.con, "tv", "--stats", "--report-interval", "100ms")
        consumer_state(self.consumer, "receiving")
        stream = programs.stream("tv")
        self.publisher_address = stream["publisher_address"]
        self.port = int(stream["endpoint"].rsplit(":", 1)[1])
        self.address = (self.server.data_address, self.port)
        self.published = 0

    def publish(self, payload=SECRET):
        """One datagram of content, and waits until the honest consumer has it."""
        with self.pub.socket() as feed:
            feed.sendto(payload, ("127.0.0.1", FEED_PORT))
        self.published += 1
        self.consumer.wait_for_object(DEADLINE_S, event="stats", datagrams=self.published)

    def stolen_joins(self):
        """Both JOINs of a consumer that has joined and left: without and with its cookie."""
        capture = harness.Capture(self.con, "data0", f"udp and dst host {self.server.data_address}")
        guest = self.programs.consumer(self.con, "tv", "--stats")
        consumer_state(guest, "receiving")
        assert guest.stop() == 0
        sent = [datagram.payload for datagram in harness.datagrams_of(capture.stop())]
        joins = [p for p in sent if type_of(p) == JOIN]
        assert len(joins) >= 2 and any(type_of(p) == LEAVE for p in sent)
        assert joins[0][COOKIE] == bytes(16) != joins[-1][COOKIE]
        return joins[0], joins[-1]

    def spoof(self, payloads, **fields):
        """Sends datagrams from the thief's host in the victim's name."""
        frame = harness.UdpFrame(
            source_mac=self.victim.mac(),
            destination_mac=self.server.mac(),
            source=self.victim.data_address,
            destination=self.server.data_address,
            source_port=VICTIM_PORT,
            destination_port=self.port,
            **fields,
        )
        with harness.FrameSender(self.thief) as wire:
            for payload in payloads:
                frame.payload = payload
                wire.send(frame)

    def socket_of(self, host):
        made = host.socket()
        made.settimeout(DEADLINE_S)
        made.connect(self.address)
        return made

    def counts(self):
        return harness.counts_of(self.data_server)

    def await_rise(self, before, **rises):
        """Waits until counters have risen, by exactly so much."""
        wanted = {name: before.get(name, 0) + rise for name, rise in rises.items()}

        def risen():
            now = self.counts()
            return all(now.get(name, 0) >= count for name, count in wanted.items()) and now

        now = eventually(risen, DEADLINE_S, f"{rises} above {before}")
        assert {name: now[name] for name in wanted} == wanted


def challenge_of(prover, join):
    """The cookie that a data server sends to a JOIN without one."""
    prover.send(join)
    reply = prover.recv(2000)
    assert type_of(reply) == CHALLENGE and len(reply) == CHALLENGE_BYTES
    return reply[CHALLENGE_COOKIE]


def test_a_false_source_brings_no_content_and_fewer_bytes_than_it_cost(world, programs, driver):
    stage = Stage(world, programs, driver)
    world.stop_learning(stage.thief)  # what is sent to the victim's address does reach the victim
    join, join_with_cookie = stage.stolen_joins()
    with stage.socket_of(stage.thief) as own, stage.socket_of(stage.victim) as fence:
        own_cookie = challenge_of(own, join)
        before = stage.counts()
        at_victim = harness.Capture(stage.victim, "data0", f"udp and dst port {VICTIM_PORT}")
        stage.spoof([join] * 100)
        # A cookie belongs to the address it was sent to: neither another consumer's serves, nor
        # the thief's own.
        stage.spoof([join_with_cookie] * 50 + [with_cookie(join, own_cookie)] * 50)
        stage.publish()
        challenge_of(fence, join)  # the data server has answered all that came before
        arrived = harness.datagrams_of(at_victim.stop())
    assert [type_of(datagram.payload) for datagram in arrived] == [CHALLENGE] * 100
    assert sum(len(datagram.payload) for datagram in arrived) <= 100 * JOIN_BYTES
    stage.await_rise(before, **{"session.bad_cookie": 100, "session.challenged": 101})
    listed = programs.control(world.presence, "consumer", "list", "tv")
    assert [c["address"].split(":")[0] for c in listed] == [stage.con.data_address]


def test_a_ticket_that_was_only_seen_serves_nobody(world, programs, driver):
    """The thief proves his own address, but the session key did not pass by him."""
    stage = Stage(world, programs, driver)
    join, _ = stage.stolen_joins()
    with stage.socket_of(stage.thief) as bearer:
        own_cookie = challenge_of(bearer, join)
        before = stage.counts()
        bearer.send(with_cookie(join, own_cookie))
        stage.await_rise(before, **{"session.bad_tag": 1})
        stage.publish()
        assert silent(bearer)


def test_a_join_does_not_serve_again_elsewhere_or_too_late(world, programs, driver):
    stage = Stage(world, programs, driver, "--ticket-lifetime", "4s")
    join, join_with_cookie = stage.stolen_joins()
    before = stage.counts()
    with stage.socket_of(stage.thief) as thief:
        thief.send(join_with_cookie)
        stage.await_rise(before, **{"session.bad_cookie": 1})
        # Asked for again and again, until the ticket is out of date.
        thief.settimeout(0.5)
        replies = 0

        def expired():
            nonlocal replies
            thief.send(join)
            try:
                assert type_of(thief.recv(2000)) == CHALLENGE
                replies += 1
                return False
            except TimeoutError:
                return stage.counts().get("session.expired_ticket", 0)

        assert eventually(expired, DEADLINE_S, "the end of the ticket") >= 1
        thief.send(join)
        thief.send(join_with_cookie)
        expired_count = 2 + stage.counts()["session.expired_ticket"]
        eventually(lambda: stage.counts()["session.expired_ticket"] >= expired_count, DEADLINE_S)
        stage.publish()
        thief.settimeout(0.2)
        assert silent(thief)
    assert "session.replaced" not in stage.counts()


def silent(listener):
    listener.setblocking(False)
    try:
        return not listener.recv(2000)
    except BlockingIOError:
        return True


def test_what_is_no_proper_join_is_met_with_silence_and_counted(world, programs, driver):
    stage = Stage(world, programs, driver)
    other = programs.publisher(stage.pub, "radio", "--udp", f"127.0.0.1:{FEED_PORT + 1}")
    publisher_state(other, "transmitting")
    radio_port = int(programs.stream("radio")["endpoint"].rsplit(":", 1)[1])
    join, _ = stage.stolen_joins()
    cases = [
        ("garbage", b"\xa5" * 256, stage.port, "drop.not_publisher"),
        ("an empty datagram", b"", stage.port, "drop.not_publisher"),
        ("a JOIN without its last byte", join[:-1], stage.port, "drop.not_publisher"),
        ("a JOIN and a byte", join + b"\0", stage.port, "drop.not_publisher"),
        ("a wrong magic", flipped(join, 0), stage.port, "drop.not_publisher"),
        ("a wrong version", flipped(join, 8), stage.port, "drop.not_publisher"),
        ("a closed stream", join, CLOSED_STREAM_PORT, "drop.unknown_stream"),
        ("a wrong ticket MAC", flipped(join, TICKET_MAC_AT), stage.port, "session.bad_ticket"),
        ("a ticket for another peer", flipped(join, 40), stage.port, "session.bad_ticket"),
        ("a ticket of another role", flipped(join, 25), stage.port, "session.bad_ticket"),
        ("a ticket for another stream", join, radio_port, "session.wrong_stream"),
        ("a cookie made up", with_cookie(join, b"\1" * 16), stage.port, "session.bad_cookie"),
        ("a server's message", message(CHALLENGE, 48), stage.port, "session.wrong_direction"),
        ("a KEEPALIVE of no flow", message(KEEPALIVE, 64), stage.port, "session.unknown_flow"),
        ("a LEAVE of no flow", message(LEAVE, 48), stage.port, "session.unknown_flow"),
    ]
    with stage.thief.socket() as thief:
        thief.bind((stage.thief.data_address, 0))
        for what, payload, port, counter in cases:
            before = stage.counts()
            for _ in range(3):
                thief.sendto(payload, (stage.server.data_address, port))
            try:
                stage.await_rise(before, **{counter: 3})
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from error
        stage.publish()
        assert silent(thief)


def raw_frame(frame, options=b""):
    """The octets of a frame, with IP options if need be."""
    octets = frame.octets()
    if not options:
        return octets
    head = bytearray(octets[14:34] + options)
    head[0] = 0x40 + len(head) // 4
    head[2:4] = struct.pack("!H", struct.unpack("!H", head[2:4])[0] + len(options))
    head[10:12] = b"\0\0"
    head[10:12] = struct.pack("!H", 0xFFFF - harness.packets.ones_complement_sum(bytes(head)))
    return octets[:14] + bytes(head) + octets[34:]


MALFORMED = [
    ("a frame that ends in its IP header", "frame_too_short", {}, lambda f: raw_frame(f)[:30]),
    ("for another MAC", "not_our_mac", {"destination_mac": "02:00:00:00:00:99"}, raw_frame),
    ("IP version 6", "ip_header_invalid", {"version_and_header_length": 0x65}, raw_frame),
    ("a header of 16 bytes", "ip_header_invalid", {"version_and_header_length": 0x44}, raw_frame),
    ("a header beyond the frame", "ip_header_invalid", {"total_length": 2000}, raw_frame),
    ("shorter than its header", "ip_header_invalid", {"total_length": 19}, raw_frame),
    ("a wrong IP checksum", "ip_checksum_wrong", {"ip_checksum": 0x1234}, raw_frame),
    ("IP options", "ip_options", {}, lambda frame: raw_frame(frame, b"\1\1\1\0")),
    ("a first fragment", "ip_fragment", {"fragment": 0x2000}, raw_frame),
    ("a last fragment", "ip_fragment", {"fragment": 0x0010}, raw_frame),
    ("a UDP length of 7", "udp_length_invalid", {"udp_length": 7}, raw_frame),
    ("a UDP length beyond IP's", "udp_length_invalid", {"udp_length": 1000}, raw_frame),
    ("from 0.0.0.0", "source_invalid", {"source": "0.0.0.0"}, raw_frame),
    ("from loopback", "source_invalid", {"source": "127.0.0.1"}, raw_frame),
    ("from a group", "source_invalid", {"source": "224.0.0.1"}, raw_frame),
    ("from everybody", "source_invalid", {"source": "255.255.255.255"}, raw_frame),
    ("from our own address", "source_invalid", {"source": "10.91.0.11"}, raw_frame),
    ("from port 0", "source_invalid", {"source_port": 0}, raw_frame),
    ("in a broadcast", "link_broadcast", {"destination_mac": "ff:ff:ff:ff:ff:ff"}, raw_frame),
    ("in a multicast", "link_broadcast", {"destination_mac": "01:00:5e:00:00:01"}, raw_frame),
    ("to no stream", "unknown_stream", {"destination_port": CLOSED_STREAM_PORT}, raw_frame),
    ("from another port", "not_publisher", {"source_port": 4000}, raw_frame),
    ("from another host", "not_publisher", {"source": "10.91.0.200"}, raw_frame),
]


def test_malformed_packets_are_counted_by_name_and_never_relayed(world, programs, driver):
    stage = Stage(world, programs, driver)
    address, port = stage.publisher_address.rsplit(":", 1)
    proper = {
        "source_mac": stage.pub.mac(),
        "destination_mac": stage.server.mac(),
        "source": address,
        "destination": stage.server.data_address,
        "source_port": int(port),
        "destination_port": stage.port,
        "payload": b"must not be relayed",
    }
    # What is for nobody or for everybody the bridge sends to the consumer's host too.
    at_consumer = harness.Capture(stage.con, "data0", f"udp and dst host {stage.con.data_address}")
    with harness.FrameSender(stage.pub) as wire:
        for what, reason, fields, make in MALFORMED:
            if reason == "ip_fragment" and driver == "net_af_packet":
                continue  # it has the kernel keep fragments back (PACKET_FANOUT_FLAG_DEFRAG)
            before = stage.counts()
            wire.send(make(harness.UdpFrame(**(proper | fields))))
            try:
                stage.await_rise(before, **{f"drop.{reason}": 1})
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from error
        # The same frame without a fault is content: this is what the others would have become.
        wire.send(harness.UdpFrame(**(proper | {"payload": SECRET})))
    stage.consumer.wait_for_object(DEADLINE_S, event="stats", datagrams=1)
    content = [
        d.payload for d in harness.datagrams_of(at_consumer.stop()) if type_of(d.payload) is None
    ]
    assert content == [SECRET]
