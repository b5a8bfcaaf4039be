"""Two workers on one interface: whichever receives a packet, the owner of its stream sends it."""

import world as harness
from world import consumer_state, publisher_state

DEADLINE_S = 30
STREAMS = ("one", "two", "three")


def test_two_workers_relay_several_streams(world, programs, driver):
    programs.presence()
    server = world.add_data_server("ds1", driver, queues=2)
    words = ["--workers", "2", "--worker-cpus", "0,1", "--poll", "adaptive"]
    process = programs.data_server(server, *words)
    assert "workers=2" in process.stdout.text()
    con = world.add_host("con")
    publishers, seen = {}, {}
    for stream in STREAMS:
        pub = world.add_host(f"pub_{stream}")
        record = world.directory / f"{stream}.record"
        words = ["--generate", "--rate", "4Mbit", "--record", record]
        publishers[stream] = (programs.publisher(pub, stream, *words), record)
        publisher_state(publishers[stream][0], "transmitting")
    # Six consumers of each: with so many flows every queue has some.
    for stream in STREAMS:
        for number in range(6):
            output = world.directory / f"{stream}.{number}"
            words = ["--output", output, "--count", "800", "--history", "100"]
            seen[output] = (stream, programs.consumer(con, stream, *words))
            consumer_state(seen[output][1], "receiving")
    for output, (stream, consumer) in seen.items():
        assert consumer.wait(DEADLINE_S) == 0, consumer.describe("did not end well")
        heads = harness.heads_of(output.read_bytes())
        assert len(heads) == 800
        assert harness.fault_in(heads) == ""
    queues = programs.server("ds1")["load"]["queues"]
    assert sorted(queue["worker"] for queue in queues) == [0, 1]
    for publisher, _ in publishers.values():
        assert publisher.stop() == 0
    for output, (stream, _) in seen.items():
        assert output.read_bytes() in publishers[stream][1].read_bytes()
