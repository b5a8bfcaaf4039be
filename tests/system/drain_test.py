"""An operator takes a data server out while content flows, and nobody notices."""

import signal
from statistics import median

import pytest
import world as harness
from stage import Stage, contents_of, lost_nothing
from world import consumer_state, eventually, publisher_state
from world.processes import CommandFailed

DEADLINE_S = 40
CONSUMERS = 3
GAP_MOST_MS = 100  # in which a consumer gets nothing while its stream moves


def test_a_drain_under_load_loses_no_packet(world, programs, driver):
    programs.presence("--recent-period", "0s")
    for name in ("ds1", "ds2"):
        programs.data_server(world.add_data_server(name, driver))
    pub, con = world.add_host("pub"), world.add_host("con")
    record = world.directory / "record"
    publisher = programs.publisher(
        pub, "tv", "--generate", "--rate", "8Mbit", "--record", record
    )
    publisher_state(publisher, "transmitting", DEADLINE_S)
    outputs = [world.directory / f"seen{n}" for n in range(CONSUMERS)]
    consumers = []
    for output in outputs:
        consumers.append(programs.consumer(con, "tv", "--output", output, "--wait", "forever"))
        consumer_state(consumers[-1], "receiving", DEADLINE_S)

    def await_more(packets):
        for output in outputs:
            wanted = output.stat().st_size + packets * harness.PAYLOAD_BYTES
            eventually(
                lambda path=output, size=wanted: path.stat().st_size >= size,
                DEADLINE_S,
                f"{packets} packets more",
            )

    await_more(300)
    # There and back again: a drained data server can come back.
    for _ in range(2):
        old = programs.stream("tv")["data_server"]
        drained = programs.control(
            world.presence, "server", "drain", old, "--deadline", "30s", timeout_s=DEADLINE_S
        )
        assert (drained["state"], drained["streams"], drained["consumers"]) == ("drained", 0, 0)
        stream = programs.stream("tv")
        assert stream["data_server"] != old
        assert (stream["state"], stream["consumers"]) == ("transmitting", CONSUMERS)
        await_more(300)
        assert programs.control(world.presence, "server", "uncordon", old)["state"] == "attached"

    for consumer in consumers:
        assert consumer.stop() == 0
    assert publisher.stop() == 0
    sent = record.read_bytes()
    for output in outputs:
        assert harness.fault_in(harness.heads_of(output.read_bytes())) == ""
        assert output.read_bytes() in sent


def test_a_drain_makes_before_it_breaks(world, programs, driver):
    stage = Stage(world, programs, driver)
    gaps_ms = []
    for old, new in (("ds1", "ds2"), ("ds2", "ds1"), ("ds1", "ds2")):
        stage.await_more()
        said = len(harness.json_lines(stage.consumer.stdout.path))
        captures = [stage.content_from(name) for name in (old, new)]
        words = ["server", "drain", old, "--deadline", "30s"]
        programs.control(world.presence, *words, timeout_s=DEADLINE_S)
        programs.control(world.presence, "server", "uncordon", old)
        stage.await_more()
        ended, began = [contents_of(capture) for capture in captures]
        assert began[0].time_s < ended[-1].time_s
        lines = harness.json_lines(stage.consumer.stdout.path)[said:]
        gaps_ms.append(max(line["longest_gap_ms"] for line in lines))
    # Not each of them: a machine with other things to do stands still for so long, too.
    assert median(gaps_ms) < GAP_MOST_MS
    assert lost_nothing(stage.consumer)


def test_a_drain_that_cannot_be_says_why(world, programs, driver):
    programs.presence()
    programs.data_server(world.add_data_server("ds1", driver))
    with pytest.raises(CommandFailed) as refused:
        programs.control(world.presence, "server", "drain", "ds1")
    assert "no data server but ds1 can take streams now" in str(refused.value)
    assert programs.server("ds1")["state"] == "attached"
    with pytest.raises(CommandFailed) as unknown:
        programs.control(world.presence, "server", "cordon", "ds9")
    assert "no data server is called ds9" in str(unknown.value)


def test_a_drain_waits_for_a_data_server_that_is_away(world, programs, driver):
    programs.presence()
    servers = [
        programs.data_server(world.add_data_server(name, driver)) for name in ("ds1", "ds2")
    ]
    events = programs.events(world.presence)
    servers[0].signal(signal.SIGSTOP)
    eventually(lambda: programs.server("ds1")["state"] == "gone", DEADLINE_S, "ds1 is away")
    words = ["--presence", programs.presence_addresses()[0], "--insecure", "-j"]
    drain = programs.start(world.presence, "penstockctl", *words, "server", "drain", "ds1")
    events.wait_for_object(DEADLINE_S, kind="draining", data_server="ds1")
    assert programs.server("ds1")["state"] == "gone", "for all we know it still relays"
    servers[0].signal(signal.SIGCONT)
    assert drain.wait(DEADLINE_S) == 0
    drain.wait_for_object(DEADLINE_S, name="ds1", state="drained")


def test_a_drain_outlives_presence(world, programs, driver):
    presence = programs.presence("--recent-period", "0s")
    for name in ("ds1", "ds2"):
        programs.data_server(world.add_data_server(name, driver))

    def states():
        servers = programs.control(world.presence, "server", "list")
        return {server["name"]: server["state"] for server in servers}

    programs.control(world.presence, "server", "drain", "ds1", timeout_s=DEADLINE_S)
    programs.control(world.presence, "server", "cordon", "ds2")
    presence.kill()
    presence = programs.presence("--recent-period", "0s")
    eventually(
        lambda: states() == {"ds1": "drained", "ds2": "cordoned"},
        DEADLINE_S,
        "both are as the operator wanted them",
    )
    programs.control(world.presence, "server", "uncordon", "ds2")
    presence.kill()
    programs.presence("--recent-period", "0s")
    publisher = programs.publisher(world.add_host("pub"), "tv", "--generate", "--rate", "1Mbit")
    publisher_state(publisher, "transmitting", DEADLINE_S)
    assert programs.stream("tv")["data_server"] == "ds2"
