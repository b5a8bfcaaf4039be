"""Several presence servers on a real etcd: leaders die, sleep and lose their etcd, and no packet is
lost."""

import signal
import time

import pytest
import world as harness
from world import (
    CommandFailed,
    EtcdCluster,
    PresenceCluster,
    consumer_state,
    epochs_obeyed,
    eventually,
    last_stats,
    newest_sequence,
    publisher_state,
)

DEADLINE_S = 40
SERVICE_BACK_S = 15  # only that it comes back by itself: how soon, bench/failover measures
DRIVER = harness.DRIVERS[0]
CONTENT = ("--generate", "--rate", "4Mbit")


class Stage:
    """Three etcd members, three presence servers, a data server that relays one stream."""

    def __init__(self, world, programs, etcd):
        self.world = world
        self.programs = programs
        self.etcd = etcd
        self.presences = PresenceCluster(programs, self.etcd.store)
        self.first_leader = self.presences.leader()
        self.data_server = programs.data_server(world.add_data_server("ds1", DRIVER))
        self.pub, self.con = world.add_host("pub"), world.add_host("con")
        self.publisher = self.publish("tv")
        self.consumer = self.consume("tv")

    def publish(self, stream):
        publisher = self.programs.publisher(self.pub, stream, *CONTENT)
        publisher_state(publisher, "transmitting", DEADLINE_S)
        return publisher

    def consume(self, stream):
        words = ["--stats", "--report-interval", "100ms", "--wait", "forever"]
        consumer = self.programs.consumer(self.con, stream, *words)
        consumer_state(consumer, "receiving", DEADLINE_S)
        return consumer

    def await_more(self, packets=400):
        wanted = newest_sequence(self.consumer) + packets
        eventually(lambda: newest_sequence(self.consumer) >= wanted, DEADLINE_S, "more packets")

    def serve_again(self, since):
        """A stream that nobody knew before gets its consumer; how long after `since`."""
        publisher = self.publish("new")
        consumer = self.consume("new")
        passed = time.monotonic() - since
        assert consumer.stop() == 0
        assert publisher.stop() == 0
        return passed

    def judge(self):
        """Not one packet of the first stream was lost; its publisher was never told to cease."""
        self.await_more()
        states = [o["state"] for o in harness.json_lines(self.publisher.stdout.path)]
        assert states[-1] == "transmitting"
        assert not {"stopped", "waiting"} & set(states[states.index("transmitting") :]), states
        assert self.consumer.stop() == 0
        stats = last_stats(self.consumer)
        assert (stats["lost"], stats["duplicates"], stats["reordered"]) == (0, 0, 0)
        assert stats["datagrams"] == stats["last_sequence"] - stats["first_sequence"] + 1


@pytest.fixture
def stage(world, programs):
    with EtcdCluster(world, world.add_presence()) as etcd:
        yield Stage(world, programs, etcd)


def test_a_leader_that_is_killed_is_followed_by_another(stage):
    stage.await_more()
    killed_at = time.monotonic()
    stage.presences.servers[stage.first_leader].kill()
    assert stage.serve_again(killed_at) < SERVICE_BACK_S
    assert stage.presences.leader() != stage.first_leader
    first, *_, last = epochs_obeyed(stage.data_server)
    assert last > first
    stage.judge()


def test_a_leader_that_ends_hands_over_at_once(stage):
    stage.await_more()
    ended_at = time.monotonic()
    assert stage.presences.servers[stage.first_leader].stop() == 0
    assert stage.serve_again(ended_at) < SERVICE_BACK_S / 2
    stage.judge()


def test_a_leader_paused_past_its_lease_commands_nobody_when_it_resumes(stage):
    stage.await_more()
    old = stage.presences.servers[stage.first_leader]
    paused_at = time.monotonic()
    old.signal(signal.SIGSTOP)
    new = stage.presences.await_leader(but=stage.first_leader)
    assert stage.serve_again(paused_at) < SERVICE_BACK_S
    before = epochs_obeyed(stage.data_server)
    old.signal(signal.SIGCONT)
    old.wait_for(r"not leading any more", DEADLINE_S, stream="stderr")
    eventually(lambda: stage.presences.followed(stage.first_leader) == new, DEADLINE_S, new)
    stage.await_more()
    assert epochs_obeyed(stage.data_server) == before, "it stays with the new leader"
    assert stage.programs.server("ds1")["state"] == "attached"
    stage.judge()


def test_an_etcd_leader_that_is_killed_stops_nobody(stage):
    stage.await_more()
    killed_at = time.monotonic()
    stage.etcd.kill(stage.etcd.leader()[0])
    assert stage.serve_again(killed_at) < SERVICE_BACK_S
    stage.judge()


def test_without_most_of_etcd_nobody_leads_and_content_flows(stage):
    stage.await_more()
    for number in (0, 1):
        stage.etcd.kill(number)
    leader = stage.presences.servers[stage.first_leader]
    leader.wait_for(r"not leading any more", DEADLINE_S, stream="stderr")
    stage.await_more(2000)
    with pytest.raises(CommandFailed, match="knows of none that does"):
        stage.programs.status()
    stage.etcd.start(0)
    back_at = time.monotonic()
    assert stage.serve_again(back_at) < SERVICE_BACK_S
    stage.judge()


def test_a_follower_names_the_leader(stage):
    follower = next(address for address in stage.presences.servers if address != stage.first_leader)
    words = [stage.programs.path("penstockctl"), "--insecure", "--presence", follower, "status"]
    done = stage.world.presence.run(words, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"penstockctl: {follower}: this presence server does not lead, {stage.first_leader} does"
    )
    assert stage.programs.status()["servers"] == 1, "all of them are asked"


def test_presence_waits_for_an_etcd_that_is_not_there(world, programs):
    host = world.add_presence()
    listen = f"{host.control_address}:2379"
    (presence,) = programs.presences(f"etcd://{listen}", count=1).values()
    presence.wait_for(rf"error: etcd {listen}: .*cannot lead", DEADLINE_S, stream="stderr")
    with pytest.raises(CommandFailed, match="does not lead"):
        programs.status()
    with EtcdCluster(world, host, members=1):
        presence.wait_for(r"leading as", DEADLINE_S, stream="stderr")
        assert programs.status()["servers"] == 0


def test_presence_says_that_what_it_was_sent_to_is_no_etcd(world, programs):
    other = programs.presence()
    address = f"{world.presence.control_address}:7400"
    words = ["--insecure", "--listen", f"{world.presence.control_address}:7500"]
    presence = world.presence.start(
        "among_others",
        [programs.path("penstock-presence"), *words, "--store", f"etcd://{address}"],
    )
    presence.wait_for(rf"error: etcd {address}: .*cannot lead", DEADLINE_S, stream="stderr")
    assert presence.running() and other.running()
