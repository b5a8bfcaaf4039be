"""Something dies, hangs, is cut off or is there twice, and content goes on where it can.

How fast, over many trials, is a figure of bench/failover; here each fault happens once.
"""

import signal
import time

import world as harness
from stage import CONTENT, DEADLINE_S, DRIVER, Stage, consumers_that_wait, contents_of
from world import consumer_state, eventually, last_stats, publisher_state

KILLED_MOST_S, STOPPED_MOST_S = 2, 2.5
SENT_TWICE_MOST_S = 5  # by one that wakes and does not know yet that it is not wanted any more
LEASE_S = 15  # of penstock-data, unless it is told otherwise
TURNS = 5  # of two with one name: the second is back three times, and once too often
QUARANTINE_S = 60


def test_a_data_server_that_is_killed_is_replaced_by_another(world, programs, driver):
    stage = Stage(world, programs, driver)
    events = programs.events(world.presence)
    stage.await_more()
    killed_at = time.monotonic()
    stage.servers["ds1"].kill()
    assert stage.await_move("ds2") - killed_at < KILLED_MOST_S
    stage.await_more()
    gone = events.wait_for_object(DEADLINE_S, kind="server_gone", data_server="ds1")
    assert gone["detail"] == "its session broke off", "silence was not waited for"
    assert programs.server("ds1")["state"] == "gone"
    assert programs.explain("tv")["trigger"] == "loss of data server ds1"


def test_a_data_server_that_hangs_is_replaced_and_sends_nothing_when_it_wakes(
    world, programs, driver
):
    stage = Stage(world, programs, driver)
    stage.await_more()
    stopped_at = time.monotonic()
    stage.servers["ds1"].signal(signal.SIGSTOP)
    assert stage.await_move("ds2") - stopped_at < STOPPED_MOST_S
    stage.await_more()
    capture = stage.content_from("ds1")
    woken_at = time.time()
    stage.servers["ds1"].signal(signal.SIGCONT)
    stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    stage.await_empty("ds1")
    stage.await_more(3000)  # 8 s of content
    late = [datagram.time_s - woken_at for datagram in contents_of(capture)]
    assert max(late, default=0) < SENT_TWICE_MOST_S, f"{len(late)} packets"
    assert last_stats(stage.consumer)["duplicates"] == 0
    assert programs.stream("tv")["data_server"] == "ds2", "it does not go back"


def test_a_data_server_that_presence_cannot_reach_gets_nothing_new(world, programs):
    stage = Stage(world, programs)
    stage.await_more()
    control = ["ip", "link", "set", "ctl0"]
    cut_at = time.monotonic()
    stage.hosts["ds1"].run([*control, "down"])
    assert stage.await_move("ds2") - cut_at < STOPPED_MOST_S
    assert stage.publish("new").running()
    assert programs.stream("new")["data_server"] == "ds2"
    stage.await_more()
    stage.hosts["ds1"].run([*control, "up"])
    stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    stage.await_empty("ds1")
    stage.await_more()
    assert last_stats(stage.consumer)["duplicates"] == 0


def test_the_only_data_server_goes_on_while_presence_cannot_reach_it(world, programs):
    stage = Stage(world, programs, servers=("ds1",))
    stage.await_more()
    stage.hosts["ds1"].run(["ip", "link", "set", "ctl0", "down"])
    events = programs.events(world.presence)
    events.wait_for_object(DEADLINE_S, kind="server_gone", data_server="ds1")
    stage.await_more(3000)  # 8 s of content, longer than presence waits for a data server
    stage.hosts["ds1"].run(["ip", "link", "set", "ctl0", "up"])
    stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    eventually(lambda: programs.stream("tv")["consumers"] == 1, DEADLINE_S, "the stream adopted")
    stage.await_more()
    states = [said["state"] for said in harness.json_lines(stage.publisher.stdout.path)]
    assert states[-1] == "transmitting" and "stopped" not in states
    stats = last_stats(stage.consumer)
    assert (stats["lost"], stats["duplicates"], stats["reordered"]) == (0, 0, 0)


def test_a_publisher_that_is_gone_is_waited_for(world, programs):
    stage = Stage(world, programs, servers=("ds1",))
    stage.await_more()
    stage.publisher.kill()
    consumer_state(stage.consumer, "waiting", DEADLINE_S)
    stage.consumer.wait_for(r"no publisher offers the stream", DEADLINE_S, stream="stderr")
    eventually(lambda: programs.stream("tv")["state"] == "gone", DEADLINE_S, "gone")
    stage.publisher = stage.publish("tv")
    consumer_state(stage.consumer, "receiving", DEADLINE_S)
    stage.await_more()


def test_a_consumer_that_vanishes_is_sent_nothing_after_its_lease(world, programs):
    stage = Stage(world, programs, servers=("ds1",))
    stage.await_more()
    vanished_at = time.monotonic()
    world.darken(stage.con, True)
    stage.consumer.kill()
    publisher_state(stage.publisher, "stopped", DEADLINE_S)
    publisher_state(stage.publisher, "waiting", DEADLINE_S)
    assert time.monotonic() - vanished_at < LEASE_S + 5, "the lease, close-after and some"
    stage.await_empty("ds1")
    world.darken(stage.con, False)
    capture = stage.content_from("ds1")
    stage.consumer = stage.consume("tv")
    stage.await_more()
    assert {d.destination_port for d in contents_of(capture)} == {
        int(programs.control(world.presence, "consumer", "list", "tv")[0]["address"].split(":")[1])
    }, "the slot is free, and only the new one is sent to"


def test_without_a_data_server_everybody_waits_and_is_told_why(world, programs):
    programs.presence()
    pub, con = world.add_host("pub"), world.add_host("con")
    publisher = programs.publisher(pub, "tv", *CONTENT)
    publisher_state(publisher, "waiting", DEADLINE_S)
    patient, told = consumers_that_wait(programs, con, "tv")
    assert "no data server can take the stream now; ask again in 1s" in told
    programs.data_server(world.add_data_server("ds1", DRIVER))
    publisher_state(publisher, "transmitting", DEADLINE_S)
    consumer_state(patient, "receiving", DEADLINE_S)


def test_a_second_data_server_of_one_name_waits_until_the_first_is_gone(world, programs):
    stage = Stage(world, programs, servers=("ds1",))
    stage.await_more()
    host = world.add_data_server("twin", DRIVER)
    twin = programs.data_server(host, name="ds1", wait=False)
    twin.wait_for(r"another data server with the name ds1 is attached", DEADLINE_S, "stderr")
    stage.await_more()
    stats = last_stats(stage.consumer)
    assert (stats["lost"], stats["duplicates"], stats["reordered"]) == (0, 0, 0)
    stage.servers["ds1"].kill()
    twin.wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    stage.hosts["ds1"] = host
    stage.await_move("ds1")
    stage.await_more()


def test_a_name_that_two_data_servers_take_turns_with_is_in_quarantine(world, programs):
    stage = Stage(world, programs, servers=("ds1",))
    events = programs.events(world.presence)
    hosts = [stage.hosts["ds1"], world.add_data_server("twin", DRIVER)]
    twin = programs.data_server(hosts[1], name="ds1", wait=False)
    twin.wait_for(r"another data server with the name ds1 is attached", DEADLINE_S, "stderr")
    servers = [stage.servers["ds1"], twin]
    for turn in range(TURNS):
        attached, other = turn % 2, 1 - turn % 2
        world.plug(hosts[attached], False, "control")
        servers[other].wait_for(r"attached to presence ", DEADLINE_S, "stderr")
        world.plug(hosts[attached], True, "control")
    began = events.wait_for_object(DEADLINE_S, kind="quarantined", data_server="ds1")
    assert "give each its own" in began["detail"]
    (listed,) = programs.control(world.presence, "server", "list")
    assert (listed["name"], listed["state"]) == ("ds1", "quarantined")
    publisher = programs.publisher(stage.pub, "new", *CONTENT)
    publisher_state(publisher, "waiting", DEADLINE_S)
    assert "with its name, which is in quarantine" in programs.explain("new")["reason"]
    stage.await_more(1200)  # 3 s of content
    assert programs.stream("tv")["state"] == "transmitting", "it may carry what it has"
    lost = last_stats(stage.consumer)["lost"]
    publisher_state(publisher, "transmitting", QUARANTINE_S + DEADLINE_S)
    over = events.wait_for_object(DEADLINE_S, kind="assigned", stream="new")
    assert over["unix_ms"] - began["unix_ms"] > (QUARANTINE_S - 1) * 1000
    assert programs.server("ds1")["state"] == "attached"
    stage.await_more()
    assert last_stats(stage.consumer)["lost"] == lost
