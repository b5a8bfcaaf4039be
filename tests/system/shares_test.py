"""A stream with many consumers is replicated by both workers, and no consumer can tell."""

import world as harness
from world import consumer_state, eventually, last_stats, newest_sequence, publisher_state

DEADLINE_S = 60
# The owner alone has the first 256; then the other worker takes part.
CONSUMERS = 280
LATE = 10  # of them: ask for history when the stream is long shared
HISTORY_PACKETS = 100


def finals_of(consumers):
    finals = []
    for consumer in consumers:
        consumer.tell_to_end()
    for consumer in consumers:
        assert consumer.wait(DEADLINE_S) == 0, consumer.describe("did not end well")
        finals.append(last_stats(consumer))
    return finals


def test_two_workers_share_a_stream_with_many_consumers(world, programs, driver):
    programs.presence()
    server = world.add_data_server("ds1", driver, queues=2)
    words = ["--workers", "2", "--worker-cpus", "0,1", "--poll", "adaptive", "--lease", "60s"]
    programs.data_server(server, *words)
    host = world.add_host("host")
    publisher = programs.publisher(host, "hot", "--generate", "--rate", "400kbit")
    publisher_state(publisher, "transmitting")
    early = [programs.consumer(host, "hot", "--stats") for _ in range(CONSUMERS - LATE)]
    for consumer in early:
        consumer_state(consumer, "receiving")
    eventually(
        lambda: programs.stream("hot")["load"]["ring_packets"] > HISTORY_PACKETS,
        DEADLINE_S,
        "more history than is asked for",
    )
    words = ["--stats", "--history", str(HISTORY_PACKETS)]
    late = [programs.consumer(host, "hot", *words) for _ in range(LATE)]
    for consumer in late:
        consumer_state(consumer, "receiving")

    # Each has its own queue, and both send.
    queues = eventually(
        lambda: next(
            (q for q in [programs.server("ds1")["load"]["queues"]] if all(x["egress"] for x in q)),
            None,
        ),
        DEADLINE_S,
        "copies sent by both workers",
    )
    assert sorted(queue["worker"] for queue in queues) == [0, 1]

    publisher.tell_to_end()
    assert publisher.wait(DEADLINE_S) == 0
    sent = harness.json_lines(publisher.stdout.path)[-1]["datagrams_sent"]
    for consumer in early + late:
        eventually(lambda: newest_sequence(consumer) == sent - 1, DEADLINE_S, "the end")
    # What one worker counts and what the other counts is one stream's.
    copies = sum(last_stats(consumer)["datagrams"] for consumer in early + late)
    load = eventually(
        lambda: next((s for s in [programs.stream("hot")] if s["load"]["copies"] == copies), None),
        DEADLINE_S,
        f"a report of all {copies} copies",
    )["load"]
    assert load["packets_in"] == sent
    assert load["dropped"] == 0
    flows = programs.control(world.presence, "consumer", "list", "hot")
    assert len(flows) == CONSUMERS
    assert sum(consumer["flow"]["lost"] for consumer in flows) == 0
    finals = finals_of(early + late)
    faults = ("lost", "duplicates", "reordered", "corrupt", "strangers")
    assert [final for final in finals if any(final[fault] for fault in faults)] == []
    for final in finals:
        assert final["last_sequence"] == sent - 1
        assert final["datagrams"] == sent - final["first_sequence"]
