"""One publisher, fifty consumers, 20 Mbit/s for 20 s: every copy arrives, once, in order, and the
books balance."""

import world as harness
from world import eventually, last_stats, newest_sequence, publisher_state

DEADLINE_S = 60
CONSUMERS = 50
SECONDS = 20
BITS_PER_SECOND = 20_000_000
PACKETS = SECONDS * BITS_PER_SECOND // (8 * harness.PAYLOAD_BYTES)


def test_fifty_consumers_get_every_packet_once_and_in_order(world, programs, driver):
    programs.presence()
    server, host = world.add_data_server("ds1", driver), world.add_host("host")
    # Publisher, worker and fifty receivers share two cores. The kernel carries every copy to its
    # socket in the worker's time, so there is no bridge between them (a third of that time); the
    # worker does not spin; and while it waits for a core its port has room for two seconds.
    world.join_directly(server, host)
    programs.data_server(server, "--poll", "adaptive", "--rx-descriptors", "4096")
    words = ["--generate", "--rate", f"{BITS_PER_SECOND}bit", "--start", "demand"]
    publisher = programs.publisher(host, "tv", *words)
    publisher_state(publisher, "waiting")
    consumers = [programs.consumer(host, "tv", "--stats") for _ in range(CONSUMERS)]
    for consumer in consumers:
        harness.consumer_state(consumer, "receiving")

    everybody_was_there_at = eventually(lambda: programs.stream("tv")["load"]["packets_in"])
    last_wanted = everybody_was_there_at + PACKETS
    for consumer in consumers:
        eventually(lambda: newest_sequence(consumer) >= last_wanted, DEADLINE_S, "20 s of it")
    publisher.tell_to_end()
    assert publisher.wait(DEADLINE_S) == 0
    sent = harness.json_lines(publisher.stdout.path)[-1]["datagrams_sent"]

    load = eventually(
        lambda: next((s for s in [programs.stream("tv")] if s["load"]["packets_in"] == sent), None),
        what=f"a report of all {sent} that were sent",
    )["load"]
    listed = programs.control(world.presence, "consumer", "list", "tv")
    flows = {consumer["consumer_id"]: consumer["flow"] for consumer in listed}
    for consumer in consumers:
        eventually(lambda: newest_sequence(consumer) == sent - 1, DEADLINE_S, "the end")
        consumer.tell_to_end()
    finals = []
    for consumer in consumers:
        assert consumer.wait(DEADLINE_S) == 0
        finals.append(last_stats(consumer))

    # Without a gap, a repeat or a change of order, from its first packet to the very last one.
    faults = ("lost", "duplicates", "reordered", "corrupt", "socket_overflows", "strangers")
    assert [final for final in finals if any(final[fault] for fault in faults)] == []
    for final in finals:
        assert final["content"] == "penstock"
        assert final["last_sequence"] == sent - 1
        assert final["datagrams"] == sent - final["first_sequence"]
    common = sent - max(final["first_sequence"] for final in finals)
    assert common >= PACKETS  # all fifty had all of these: copies = 50 x packets
    # Every copy the data server says it made arrived, and it lost none.
    assert load["copies"] == sum(final["datagrams"] for final in finals)
    assert load["copy_bytes"] == load["copies"] * harness.PAYLOAD_BYTES
    assert load["dropped"] == 0
    assert len(flows) == CONSUMERS
    assert sum(flow["lost"] for flow in flows.values()) == 0
