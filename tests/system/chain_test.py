"""The life of a stream, step by step, as an operator and both ends see it."""

import os

import pytest
import world as harness
from world import consumer_state, eventually, publisher_state

DEADLINE_S = 30
CONTENT = ("--generate", "--rate", "20Mbit")


def kinds_of(events, stream):
    """The kinds of a stream's events up to now, in order."""
    seen = harness.json_lines(events.stdout.path)
    assert [event["sequence"] for event in seen] == sorted(event["sequence"] for event in seen)
    return [event["kind"] for event in seen if event["stream"] == stream]


def assert_in_order(kinds, *expected):
    """Each expected event happened, after the one before it."""
    rest = iter(kinds)
    for kind in expected:
        assert kind in rest, f"{kind} does not follow in {kinds}"


def assert_lowest_was_chosen(explained):
    """The rule of the design, checked against what presence says it knew: of the eligible servers
    that were not handed out within the recent period the least busy; all recent: the least busy."""
    fit = [candidate for candidate in explained["candidates"] if candidate["eligible"]]
    rested = [candidate for candidate in fit if not candidate["recent"]] or fit
    lowest = min(rested, key=lambda candidate: (candidate["projected"], candidate["server"]))
    assert explained["chosen"] == lowest["server"], explained
    assert [c["server"] for c in explained["candidates"] if c["chosen"]] == [lowest["server"]]


def candidate_of(explained, server):
    return next(c for c in explained["candidates"] if c["server"] == server)


def processes_in(host):
    return {int(pid) for pid in harness.run(["ip", "netns", "pids", host.namespace]).stdout.split()}


def children_of(pid):
    return harness.run(["ps", "-o", "pid=", "--ppid", pid], check=False).stdout.split()


def test_a_stream_lives_through_every_step(world, programs, driver):
    programs.presence("--recent-period", "60s")
    servers = {name: world.add_data_server(name, driver) for name in ("ds1", "ds2")}
    for host in servers.values():
        programs.data_server(host)
    pub, con = world.add_host("pub"), world.add_host("con")
    events = programs.events(world.presence)
    record, seen, again = (world.directory / name for name in ("record", "seen", "again"))

    words = [*CONTENT, "--close-after", "3s", "--record", record]
    publisher = programs.publisher(pub, "tv", *words)
    started = publisher_state(publisher, "transmitting")
    explained = programs.explain("tv")
    assert_lowest_was_chosen(explained)
    assert started["data_server"].startswith(servers[explained["chosen"]].data_address + ":")

    stored = eventually(
        lambda: next(
            (s for s in [programs.stream("tv")] if s["load"] and s["load"]["ring_packets"]), None
        ),
        what="content in the ring",
    )
    assert (stored["consumers"], stored["requests"]) == (0, 0)

    at_presence = harness.Capture(world.presence, "ctl0", "ip")
    carried = sum(world.presence.interface_bytes("ctl0"))
    told = programs.status()
    consumer = programs.consumer(con, "tv", "--output", seen, "--count", "6000")
    assert consumer_state(consumer, "receiving")["data_server"] == started["data_server"]
    assert consumer.wait(DEADLINE_S) == 0
    content_bytes = seen.stat().st_size
    assert content_bytes == 6000 * harness.PAYLOAD_BYTES
    carried = sum(world.presence.interface_bytes("ctl0")) - carried
    told_now = programs.status()
    for count in ("bytes_received", "bytes_sent"):
        assert 0 < told_now[count] - told[count] < content_bytes / 20
    assert carried < content_bytes / 10
    assert b"PSTCONT1" not in at_presence.stop().read_bytes()

    publisher_state(publisher, "stopped")
    publisher_state(publisher, "waiting")
    stopped_at = record.stat().st_size
    assert programs.stream("tv")["state"] == "waiting"

    second = programs.consumer(con, "tv", "--output", again, "--count", "500", "--wait", "forever")
    resumed = publisher_state(publisher, "transmitting")
    assert second.wait(DEADLINE_S) == 0
    explained = programs.explain("tv")
    assert explained["trigger"] == "consumer request"
    assert_lowest_was_chosen(explained)
    # Both are idle, and the first was handed out within the recent period.
    assert resumed["data_server"] != started["data_server"]
    assert publisher.stop() == 0
    sent = record.read_bytes()
    assert len(sent) > stopped_at
    assert seen.read_bytes() in sent
    assert again.read_bytes() in sent[stopped_at:]
    assert_in_order(
        kinds_of(events, "tv"),
        *("publish_requested", "assigned", "stream_opened", "start_sent", "transmitting"),
        *("consumer_requested", "consumer_ready", "consumer_joined", "consumer_left"),
        *("lingering", "stop_sent", "stopped", "waiting"),
        *("consumer_requested", "assigned", "stream_opened", "start_sent", "transmitting"),
        *("consumer_joined", "consumer_left"),
    )


def test_publishers_within_the_recent_period_get_different_servers(world, programs, driver):
    programs.presence("--recent-period", "60s")
    for name in ("ds1", "ds2", "ds3"):
        programs.data_server(world.add_data_server(name, driver))
    pub = world.add_host("pub")
    chosen = []
    for stream in ("one", "two", "three", "four"):
        publisher = programs.publisher(pub, stream, "--generate", "--rate", "1Mbit")
        publisher_state(publisher, "transmitting")
        explained = programs.explain(stream)
        assert_lowest_was_chosen(explained)
        assert [c["server"] for c in explained["candidates"] if c["recent"]] == sorted(
            chosen, key=[c["server"] for c in explained["candidates"]].index
        )
        if len(chosen) < 3:
            chosen.append(explained["chosen"])
    assert sorted(chosen) == ["ds1", "ds2", "ds3"]
    # The fourth found all three recent and was served all the same.
    assert all(c["recent"] and c["eligible"] for c in explained["candidates"])


def test_a_busier_server_is_not_chosen(world, programs, driver):
    programs.presence("--recent-period", "2s")
    for name in ("ds1", "ds2"):
        programs.data_server(world.add_data_server(name, driver))
    pub, con = world.add_host("pub"), world.add_host("con")
    publisher = programs.publisher(pub, "heavy", *CONTENT)
    publisher_state(publisher, "transmitting")
    busy = programs.explain("heavy")["chosen"]
    for _ in range(4):
        consumer_state(programs.consumer(con, "heavy", "--stats"), "receiving")
    idle = "ds2" if busy == "ds1" else "ds1"

    def rested_and_busier():
        loads = {name: programs.server(name) for name in (busy, idle)}
        return not loads[busy]["recent"] and (
            loads[busy]["load"]["utilisation"] > loads[idle]["projected"] + 0.01
        )

    eventually(rested_and_busier, DEADLINE_S, "a load that shows")
    publisher_state(programs.publisher(pub, "light", "--generate"), "transmitting")
    explained = programs.explain("light")
    assert_lowest_was_chosen(explained)
    assert explained["chosen"] == idle
    passed_over = candidate_of(explained, busy)
    assert passed_over["eligible"] and not passed_over["recent"]
    assert passed_over["projected"] > candidate_of(explained, idle)["projected"]


FEED = """#!/bin/sh
# A command with a child of its own, as a pipeline has: both must end.
echo $$ >> {pids}
ffmpeg -nostdin -v error -re -stream_loop -1 -i {film} -c copy -flush_packets 1 -f mpegts - | cat
"""


def test_a_command_runs_only_while_somebody_watches(world, programs, driver):
    programs.presence()
    programs.data_server(world.add_data_server("ds1", driver))
    pub, con = world.add_host("pub"), world.add_host("con")
    pids, feed, seen = (world.directory / name for name in ("pids", "feed.sh", "seen.ts"))
    film = harness.make_mpegts(world.directory / "film.ts", seconds=4)
    feed.write_text(FEED.format(pids=pids, film=film))
    words = ["--exec", f"sh {feed}", "--start", "demand", "--close-after", "500ms"]
    publisher = programs.publisher(pub, "film", *words)
    publisher_state(publisher, "waiting")
    assert programs.stream("film")["hand_outs"] == 0
    assert not pids.exists()
    for _ in range(2):
        consumer = programs.consumer(con, "film", "--output", seen, "--count", "300")
        publisher_state(publisher, "transmitting")
        assert consumer.wait(DEADLINE_S) == 0
        publisher_state(publisher, "waiting")
        eventually(lambda: processes_in(pub) == {publisher.pid}, what="the end of the command")
        eventually(lambda: children_of(publisher.pid) == [], what="the end of every child")
        assert harness.decoded_frames(seen) > 0
        os.unlink(seen)
    assert len(set(pids.read_text().split())) == 2
    assert programs.stream("film")["hand_outs"] == 2


def test_a_consumer_of_an_absent_stream_is_told_or_waits(world, programs, driver):
    programs.presence()
    programs.data_server(world.add_data_server("ds1", driver))
    pub, con = world.add_host("pub"), world.add_host("con")
    told = programs.consumer(con, "tv", "--stats", "--wait", "0s")
    assert told.wait(DEADLINE_S) == 1
    complaints = [line for line in told.stderr.text().splitlines() if not line.startswith("{")]
    assert len(complaints) == 1
    assert complaints[0].startswith("penstock-consume: ") and "tv" in complaints[0]
    patient = programs.consumer(con, "tv", "--stats", "--wait", "60s", "--count", "100")
    consumer_state(patient, "waiting")
    publisher_state(programs.publisher(pub, "tv", *CONTENT), "transmitting")
    assert patient.wait(DEADLINE_S) == 0


def test_a_consumer_that_waits_in_vain_is_told_in_time(world, programs):
    programs.presence()
    con = world.add_host("con")
    consumer = programs.consumer(con, "tv", "--stats", "--wait", "1s")
    consumer_state(consumer, "waiting")
    with pytest.raises(harness.ProcessFailed):
        consumer_state(consumer, "receiving")
    assert consumer.exit_status() == 1
