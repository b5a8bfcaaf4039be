"""The control network fails in ways of its own; content does not notice."""

import os
import struct
import time

from stage import (
    CONTENT,
    DEADLINE_S,
    DRIVER,
    Stage,
    consumers_that_wait,
    lost_nothing,
    only_server,
    states_of,
)
from world import consumer_state, eventually, json_lines, last_stats, publisher_state
from world.relay import DelayingRelay

SILENCE_MOST_S = 2.5  # a data server is dead after 1 s, and the rest as for one that is
CPU_SHARE_MOST = 0.2  # one that reads all it can get takes a whole CPU
HERD = 1000
HERD_BACK_MOST_S = 30  # its thousand clients share this machine with presence, and cost more
MANY_FILES = ("prlimit", "--nofile=16384:")


def events_of(watcher, **fields):
    """How many of these events a watcher has said so far."""
    said = json_lines(watcher.stdout.path)
    return sum(fields.items() <= event.items() for event in said)


def cpu_seconds(process):
    """Time a process has had a CPU. Source: proc(5), /proc/[pid]/stat fields 14 and 15."""
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_data_server_that_is_not_heard_is_replaced_and_does_not_flap(world, programs):
    stage = Stage(world, programs)
    events = programs.events(world.presence)
    stage.await_more()
    cut_at = time.monotonic()
    world.deafen(world.presence, stage.hosts["ds1"], True)
    assert stage.await_move("ds2") - cut_at < SILENCE_MOST_S
    stage.await_more(1200)  # 3 s of content
    assert programs.server("ds1")["state"] == "gone"
    assert events_of(events, kind="server_gone", data_server="ds1") == 1
    returned = events_of(events, kind="server_attached", data_server="ds1")
    world.deafen(world.presence, stage.hosts["ds1"], False)
    eventually(
        lambda: events_of(events, kind="server_attached", data_server="ds1") > returned,
        DEADLINE_S,
        "ds1 back",
    )
    assert stage.place_new("early") == "ds2"
    considered = {c["server"]: c for c in programs.explain("early")["candidates"]}
    assert "it was silent" in considered["ds1"]["ineligible_reason"]
    stage.await_empty("ds1")
    stage.await_more(1200)
    assert stage.place_new("later") == "ds1", "steady again"
    assert events_of(events, kind="server_gone", data_server="ds1") == 1
    assert programs.stream("tv")["data_server"] == "ds2"
    assert last_stats(stage.consumer)["duplicates"] == 0


def test_a_data_server_is_judged_by_when_its_reports_come_not_by_what_they_say(world, programs):
    programs.presence()
    address, _, port = programs.presence_addresses()[0].partition(":")
    with DelayingRelay(world.presence, (address, int(port))) as relay:
        stage = Stage(
            world, programs, running=only_server(world, programs, presence=[relay.address])
        )
        stage.await_more()
        relay.delay_s = 5
        eventually(lambda: programs.server("ds1")["state"] != "attached", 2, "ds1 is not young")
        assert stage.place_new("new") == "ds2"
        stage.await_move("ds2")
        # By now what it said before, and says as if nothing were, has come in, 5 s old.
        stage.await_more(3000)
        assert stage.place_new("newer") == "ds2"
        relay.delay_s = 0
        stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
        stage.await_empty("ds1")
        assert last_stats(stage.consumer)["duplicates"] == 0


def test_a_storm_of_load_reports_costs_presence_little(world, programs):
    presence = programs.presence()
    storm_host = world.add_host("rogue")
    target = programs.presence_addresses()[0]
    storm = programs.start(storm_host, "control-load", "storm", target, "ds9", "6")
    storm.wait_for_object(DEADLINE_S, event="welcome")
    began_at, began_cpu = time.monotonic(), cpu_seconds(presence)
    stormed = storm.wait_for_object(DEADLINE_S, event="stormed")
    share = (cpu_seconds(presence) - began_cpu) / (time.monotonic() - began_at)
    assert stormed["reports"] > 100, "more than presence has to take"
    assert share < CPU_SHARE_MOST


def test_streams_outlive_a_long_absence_of_presence_and_newcomers_are_told_soon(world, programs):
    presence = programs.presence("--ticket-lifetime", "2s")
    running = only_server(world, programs, "--lease", "3s", "--keepalive", "1s")
    stage = Stage(world, programs, servers=("ds1",), running=running)
    stage.await_more()
    presence.kill()
    asked_at = time.monotonic()
    newcomer = programs.consumer(stage.con, "tv", "--stats", "--wait", "1s")
    assert newcomer.wait(DEADLINE_S) == 1
    assert time.monotonic() - asked_at < 10
    assert "no presence server has answered" in newcomer.stderr.text()
    assert "ask again in 5s" in newcomer.stderr.text()
    stage.await_more(11_400)  # 30 s of content: ten leases, fifteen lives of a ticket
    programs.presence("--ticket-lifetime", "2s")
    second = stage.consume("tv")
    eventually(lambda: programs.stream("tv")["consumers"] == 2, DEADLINE_S, "both are known")
    stage.await_more()
    assert lost_nothing(stage.consumer) and lost_nothing(second)
    states = states_of(stage.publisher)
    assert states[-1] == "transmitting" and "stopped" not in states


def test_a_ticket_serves_while_presence_is_away(world, programs):
    presence = programs.presence()
    running = only_server(world, programs)
    stage = Stage(world, programs, servers=("ds1",), running=running)
    late = world.add_host("late")
    world.carry(late, False)
    newcomer = programs.consumer(late, "tv", "--stats", "--wait", "forever")
    consumer_state(newcomer, "joining", DEADLINE_S)
    presence.kill()
    world.carry(late, True)
    consumer_state(newcomer, "receiving", DEADLINE_S)
    programs.presence()
    stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    eventually(lambda: programs.stream("tv")["consumers"] == 2, DEADLINE_S, "both are known")
    stage.await_more()
    assert lost_nothing(stage.consumer) and lost_nothing(newcomer)


def test_monotonic_clocks_of_hosts_may_differ(world, programs):
    def clock(days):
        offset = str(days * 86_400)
        return ("unshare", "--time", "--monotonic", offset, "--boottime", offset)

    presence = programs.presence("--ticket-lifetime", "2s", under=clock(1))
    running = only_server(world, programs, under=clock(3))
    stage = Stage(world, programs, servers=("ds1",), running=running)
    stage.await_more(1500)  # longer than a ticket
    presence.kill()
    programs.presence("--ticket-lifetime", "2s", under=clock(300))
    second = stage.consume("tv")
    stage.await_more(1500)
    assert programs.server("ds1")["state"] == "attached"
    assert lost_nothing(stage.consumer) and lost_nothing(second)


class WallClock:
    """The wall clock of every program that is started from now on."""

    def __init__(self, world, programs):
        self._path = world.directory / "wall_clock"
        self._path.write_bytes(bytes(8))
        programs.environment = {
            "LD_PRELOAD": str(programs.path("wall-clock")),
            "WALL_CLOCK_SHIFT": str(self._path),
        }

    def shift(self, hours):
        with self._path.open("r+b") as file:  # in place: programs have it mapped
            file.write(struct.pack("=q", hours * 3_600_000_000_000))


def test_a_jump_of_the_wall_clock_moves_nothing(world, programs):
    clock = WallClock(world, programs)
    programs.presence("--ticket-lifetime", "2s")
    events = programs.events(world.presence)
    stage = Stage(world, programs, servers=("ds1",), running=only_server(world, programs))
    stage.await_more()
    before = time.time()
    clock.shift(1)
    stage.await_more(1500)  # longer than a ticket
    early = stage.consume("tv")
    clock.shift(-1)
    stage.await_more(1500)
    late = stage.consume("tv")
    stage.await_more()
    assert stage.place_new("other") == "ds1"
    assert all(lost_nothing(consumer) for consumer in (stage.consumer, early, late))
    assert events_of(events, kind="server_attached") == 1
    assert events_of(events, kind="publish_requested", stream="tv") == 1
    assert events_of(events, kind="consumer_left") == 0
    shown = [event["unix_ms"] / 1000 for event in json_lines(events.stdout.path)]
    assert max(shown) - before > 3000 and min(shown) - before < -3000, "their clock did jump"


def test_a_herd_of_consumers_comes_back_to_a_restarted_presence(world, programs):
    presence = programs.presence(under=MANY_FILES)
    programs.data_server(world.add_data_server("ds1", DRIVER), "--consumers-max", str(2 * HERD))
    pub, con = world.add_host("pub"), world.add_host("con")
    publisher = programs.publisher(pub, "tv", "--generate", "--rate", "64kbit")
    publisher_state(publisher, "transmitting", DEADLINE_S)
    target = programs.presence_addresses()[0]
    words = ["herd", target, "tv", str(HERD), con.data_address]
    herd = programs.start(con, "control-load", *words, under=MANY_FILES)
    herd.wait_for_object(4 * DEADLINE_S, event="answered")
    presence.kill()
    programs.presence(under=MANY_FILES)
    events = programs.events(world.presence)
    herd.wait_for_object(HERD_BACK_MOST_S, event="answered", times=2)
    assert events_of(events, kind="server_gone") == 0, "it is heard in the throng"
    eventually(lambda: programs.stream("tv")["consumers"] == HERD, DEADLINE_S, "all are there")
    states = states_of(publisher)
    assert states[-1] == "transmitting" and "stopped" not in states


def test_while_all_data_servers_are_full_everybody_waits_and_is_told_why(world, programs):
    programs.presence("--server-streams", "1")
    programs.data_server(world.add_data_server("ds1", DRIVER))
    pub, con = world.add_host("pub"), world.add_host("con")
    first = programs.publisher(pub, "one", *CONTENT)
    publisher_state(first, "transmitting", DEADLINE_S)
    consumer_state(programs.consumer(con, "one", "--stats"), "receiving", DEADLINE_S)
    second = programs.publisher(pub, "two", *CONTENT)
    publisher_state(second, "waiting", DEADLINE_S)
    patient, told = consumers_that_wait(programs, con, "two")
    assert "no data server can take the stream now; ask again in 1s" in told
    assert "ds1 because it has 1 streams and takes no more" in programs.explain("two")["reason"]
    assert first.stop() == 0
    publisher_state(second, "transmitting", DEADLINE_S)
    consumer_state(patient, "receiving", DEADLINE_S)


def test_while_all_data_servers_are_overloaded_everybody_waits_and_is_told_why(world, programs):
    programs.presence()
    pub, con = world.add_host("pub"), world.add_host("con")
    for name, utilisation in (("ds8", "0.91"), ("ds9", "1")):
        words = ["busy", programs.presence_addresses()[0], name, utilisation]
        programs.start(pub, "control-load", *words).wait_for_object(DEADLINE_S, event="welcome")
        eventually(lambda one=name: programs.server(one)["state"] == "attached", DEADLINE_S, name)
    publisher = programs.publisher(pub, "tv", *CONTENT)
    publisher_state(publisher, "waiting", DEADLINE_S)
    patient, told = consumers_that_wait(programs, con, "tv")
    assert "no data server can take the stream now; ask again in 1s" in told
    considered = {c["server"]: c for c in programs.explain("tv")["candidates"]}
    for name in ("ds8", "ds9"):
        assert "utilisation" in considered[name]["ineligible_reason"]
    programs.data_server(world.add_data_server("ds1", DRIVER))
    publisher_state(publisher, "transmitting", DEADLINE_S)
    assert programs.stream("tv")["data_server"] == "ds1"
    consumer_state(patient, "receiving", DEADLINE_S)
