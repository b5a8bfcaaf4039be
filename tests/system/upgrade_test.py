"""A rolling upgrade: data servers and presence are replaced by those of the next version, one after
another and in either order, and nobody who watches notices."""

import pytest
import world as harness
from stage import DEADLINE_S
from world import consumer_state, eventually, publisher_state

NOW = {"presence": "penstock-presence", "data": "penstock-data"}
NEXT = {"presence": "penstock-presence-next", "data": "penstock-data-next"}
SERVERS = ("ds1", "ds2")


class Upgrade:
    def __init__(self, world, programs):
        self.world = world
        self.programs = programs
        self.presence = self.start_presence(NOW)
        self.hosts = {name: world.add_data_server(name) for name in SERVERS}
        self.servers = {
            name: programs.data_server(host, program=NOW["data"])
            for name, host in self.hosts.items()
        }

    def start_presence(self, version):
        return self.programs.presence("--recent-period", "0s", program=version["presence"])

    def upgrade_presence(self):
        self.presence.kill()
        self.presence = self.start_presence(NEXT)
        for name in SERVERS:
            eventually(
                lambda one=name: one in self.attached(),
                DEADLINE_S,
                f"{name} is back",
            )

    def attached(self):
        servers = self.programs.control(self.world.presence, "server", "list")
        return [server["name"] for server in servers if server["state"] == "attached"]

    def upgrade_data_servers(self):
        for name in SERVERS:
            words = ["server", "drain", name, "--deadline", "30s"]
            self.programs.control(self.world.presence, *words, timeout_s=DEADLINE_S)
            assert self.servers[name].stop() == 0
            self.servers[name] = self.programs.data_server(self.hosts[name], program=NEXT["data"])
            self.programs.control(self.world.presence, "server", "uncordon", name)


@pytest.mark.parametrize("first", ["presence", "data servers"])
def test_a_rolling_upgrade_loses_no_packet(world, programs, first):
    upgrade = Upgrade(world, programs)
    pub, con = world.add_host("pub"), world.add_host("con")
    record, seen = world.directory / "record", world.directory / "seen"
    words = ["--generate", "--rate", "8Mbit", "--record", record]
    publisher = programs.publisher(pub, "tv", *words)
    publisher_state(publisher, "transmitting", DEADLINE_S)
    consumer = programs.consumer(con, "tv", "--output", seen, "--wait", "forever")
    consumer_state(consumer, "receiving", DEADLINE_S)
    steps = [upgrade.upgrade_presence, upgrade.upgrade_data_servers]
    for step in steps if first == "presence" else reversed(steps):
        step()
        wanted = seen.stat().st_size + 300 * harness.PAYLOAD_BYTES
        eventually(lambda size=wanted: seen.stat().st_size >= size, DEADLINE_S, "more packets")
    assert consumer.stop() == 0
    assert publisher.stop() == 0
    assert harness.fault_in(harness.heads_of(seen.read_bytes())) == ""
    assert seen.read_bytes() in record.read_bytes()
