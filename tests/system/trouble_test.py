"""A data server is attached and cannot relay: content goes on elsewhere, and one is told why."""

import time

import pytest
from stage import DEADLINE_S, DRIVER, Stage
from world import (
    HeldThread,
    ProcessFailed,
    ServiceManager,
    eventually,
    last_stats,
    publisher_state,
)

LINK_MOST_S = 2  # as for one that is dead
DEAF_MOST_S = 9  # a publisher says something every 5 s, and is asked when a consumer complains
STUCK_MOST_S = 2.5
REST_S = 10  # of a port that was deaf


def state_of(programs, name):
    shown = programs.server(name)
    return shown["state"], shown["trouble"]


def test_streams_leave_a_data_server_whose_data_link_is_cut(world, programs, driver):
    stage = Stage(world, programs, driver)
    events = programs.events(world.presence)
    stage.await_more()
    cut_at = time.monotonic()
    world.plug(stage.hosts["ds1"], False)
    assert stage.await_move("ds2") - cut_at < LINK_MOST_S
    stage.await_more()
    down = events.wait_for_object(DEADLINE_S, kind="data_down", data_server="ds1")
    assert "has no link" in down["detail"]
    state, trouble = state_of(programs, "ds1")
    assert state == "degraded" and "has no link" in trouble
    assert programs.explain("tv")["trigger"] == "trouble of data server ds1"
    assert stage.place_new("other") == "ds2"
    world.plug(stage.hosts["ds1"], True)
    events.wait_for_object(DEADLINE_S, kind="data_up", data_server="ds1")
    assert state_of(programs, "ds1") == ("attached", "")
    stage.await_empty("ds1")
    stage.await_more()
    assert programs.stream("tv")["data_server"] == "ds2", "it does not go back"
    assert stage.place_new("third") == "ds1"
    assert last_stats(stage.consumer)["duplicates"] == 0


def test_the_only_data_server_keeps_its_streams_while_its_data_link_is_cut(world, programs):
    stage = Stage(world, programs, DRIVER, servers=("ds1",))
    events = programs.events(world.presence)
    stage.await_more()
    world.plug(stage.hosts["ds1"], False)
    events.wait_for_object(DEADLINE_S, kind="data_down", data_server="ds1")
    world.plug(stage.hosts["ds1"], True)
    events.wait_for_object(DEADLINE_S, kind="data_up", data_server="ds1")
    stage.await_more()
    assert last_stats(stage.consumer)["duplicates"] == 0


def test_streams_leave_a_data_server_that_receives_nothing_though_its_link_is_up(world, programs):
    stage = Stage(world, programs, DRIVER)
    events = programs.events(world.presence)
    stage.await_more()
    cut_at = time.monotonic()
    world.carry(stage.hosts["ds1"], False)
    assert stage.await_move("ds2") - cut_at < DEAF_MOST_S
    stage.await_more()
    down = events.wait_for_object(DEADLINE_S, kind="data_down", data_server="ds1")
    assert "receives nothing" in down["detail"]
    world.carry(stage.hosts["ds1"], True)
    events.wait_for_object(REST_S + DEADLINE_S, kind="data_up", data_server="ds1")
    assert state_of(programs, "ds1") == ("attached", "")


def test_a_publisher_that_pauses_is_no_trouble_of_its_data_server(world, programs):
    stage = Stage(world, programs, DRIVER)
    stage.await_more()
    quiet = programs.publisher(stage.pub, "quiet", "--exec", "sleep 600")  # has nothing to send
    publisher_state(quiet, "transmitting", DEADLINE_S)
    # Only its keepalives and probes of its consumer arrive there for longer than anybody waits.
    stage.publisher.stop()
    events = programs.events(world.presence)
    consumer = programs.consumer(stage.con, "quiet", "--stats", "--wait", "forever")
    events.wait_for_object(DEADLINE_S, kind="consumer_joined", stream="quiet")
    with pytest.raises(ProcessFailed, match="no object with"):
        events.wait_for_object(DEAF_MOST_S, kind="data_down")
    assert consumer.running()


def test_streams_leave_a_data_server_whose_worker_hangs_and_its_watchdog_bites(world, programs):
    with ServiceManager(world.directory, watchdog_s=1) as manager:
        programs.presence()
        host = world.add_data_server("ds1", DRIVER)
        hanging = programs.data_server(host, environment=manager.environment())
        stage = Stage(world, programs, DRIVER, running={"ds1": (host, hanging)})
        stage.await_more()
        assert manager.next_message(DEADLINE_S) == "READY=1"
        assert manager.next_message(DEADLINE_S) == "WATCHDOG=1"
        with HeldThread(hanging.threads()["rte-worker-1"]):
            held_at = time.monotonic()
            assert stage.await_move("ds2") - held_at < STUCK_MOST_S
            stuck = ("degraded", "worker 0 does not move")
            eventually(lambda: state_of(programs, "ds1") == stuck, DEADLINE_S, str(stuck))
            manager.await_silence()
            # ds2, which has just been handed out, would not be the first choice otherwise.
            assert stage.place_new("new") == "ds2"
            considered = {c["server"]: c for c in programs.explain("new")["candidates"]}
            assert "worker 0 does not move" in considered["ds1"]["ineligible_reason"]
        hanging.kill()  # as the service manager does, and starts it again
        programs.data_server(host, environment=manager.environment())
        stage.await_empty("ds1")
        stage.await_more()
        assert stage.place_new("newer") == "ds1"
