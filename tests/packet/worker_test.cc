#include "support/allocation_guard.h"
#include "support/numbered_content.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <cstdlib>
#include <memory>
#include <vector>

namespace penstock {
namespace {

TEST(Worker, AllocatesNothingWhileForwarding) {
    WorkerWorld world;
    Stream* stream = world.open_published(20000, 64);
    world.add_flows(stream, 0, 19);
    world.settle();
    std::uint64_t allocations = 0;
    FlowRecord* visitor = nullptr;
    for (unsigned number = 0; number < 2000; ++number) {
        world.receive(numbered(number % 1000));
        world.receive(numbered(number % 1000, 20001));  // unknown stream
        if (number % 50 == 0) {
            visitor = world.add_flow(stream, 100 + number, 0, {.packets = 40});
            world.update_flow(stream, visitor, 5000 + number);
        } else if (number % 50 == 25) {
            world.remove_flow(stream, visitor);
        }
        const AllocationGuard guard;
        world.turn();
        world.turn();
        allocations += guard.allocations();
        world.sent();
        world.reclaim();
    }
    EXPECT_EQ(allocations, 0U);
    EXPECT_GT(world.counters().copies.read(), 40'000U);
}

#if !defined(__SANITIZE_ADDRESS__)  // where malloc is the sanitizer's, the guard sees nothing
TEST(Worker, GuardSeesAllocations) {
    const AllocationGuard guard;
    const auto by_new = std::make_unique<int>(1);
    void* const by_malloc = std::malloc(100);                           // NOLINT: what is counted
    asm volatile("" : : "r"(by_new.get()), "r"(by_malloc) : "memory");  // they are used
    EXPECT_EQ(guard.allocations(), 2U);
    std::free(by_malloc);  // NOLINT: as above
}
#endif

TEST(Worker, SaysWhetherThereWasAnythingToDo) {
    WorkerWorld world;
    EXPECT_FALSE(world.turn());
    world.open_published();
    EXPECT_TRUE(world.turn());
    EXPECT_FALSE(world.turn());
    world.receive(numbered(1));
    EXPECT_TRUE(world.turn());
    EXPECT_FALSE(world.turn());
    world.send_for_control(numbered(1), 0);
    EXPECT_TRUE(world.turn());
    EXPECT_FALSE(world.turn());
    world.sent();
}

TEST(Worker, TimeIsBusyOrIdleAndNothingElse) {
    WorkerWorld world;
    world.open_published();
    world.settle();
    const std::uint64_t before = world.counters().iterations.read();
    const std::uint64_t busy_before = world.counters().busy_cycles.read();
    world.receive(numbered(1));
    world.turn();
    world.turn();  // the time of a turn is counted when the next begins
    EXPECT_EQ(world.counters().iterations.read(), before + 2);
    EXPECT_GT(world.counters().busy_cycles.read(), busy_before);
    const std::uint64_t busy = world.counters().busy_cycles.read();
    const std::uint64_t idle = world.counters().idle_cycles.read();
    world.turn();
    world.turn();
    EXPECT_EQ(world.counters().busy_cycles.read(), busy);
    EXPECT_GT(world.counters().idle_cycles.read(), idle);
}

TEST(Worker, SendsWhatControlWantsSentAsItIs) {
    WorldOptions options;
    options.ports = 2;
    WorkerWorld world{options};
    const Bytes first = numbered(1);
    const Bytes second = packet().ethertype(0x0806).cut_to(42).from("0.0.0.0", 0).bytes();
    world.send_for_control(first, 0);
    world.send_for_control(second, 1);
    world.send_for_control(first, 2);
    world.send_for_control(first, RTE_MBUF_PORT_INVALID);
    world.settle();
    EXPECT_EQ(world.sent(0), std::vector<Bytes>{first});
    EXPECT_EQ(world.sent(1), std::vector<Bytes>{second});
    EXPECT_EQ(world.dropped(DropReason::port_unknown), 2U);
    EXPECT_EQ(world.counters().sent_for_control.read(), 2U);
    EXPECT_EQ(world.counters().ports[1].tx_bytes.read(), second.size());
}

TEST(Worker, CountsWhatItReceivesAndSends) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    world.add_flow(stream, 2);
    world.settle();
    receive_numbers(world, 1, 40);
    world.settle();
    const PortCounters& port = world.counters().ports[0];
    EXPECT_EQ(port.rx_packets.read(), 40U);
    EXPECT_EQ(port.rx_bytes.read(), 40U * (42 + kNumberedPayloadBytes));
    EXPECT_EQ(port.rx_full_bursts.read(), 1U);  // 32, then 8
    EXPECT_EQ(port.tx_packets.read(), 80U);
    EXPECT_EQ(port.tx_bytes.read(), 80U * (42 + kNumberedPayloadBytes));
    EXPECT_EQ(world.counters().content.read(), 40U);
    EXPECT_EQ(world.counters().copies.read(), 80U);
    world.publish_counters();
    const StreamCounters& counters = stream->counters;
    EXPECT_EQ(counters.packets_in.read(), 40U);
    EXPECT_EQ(counters.bytes_in.read(), 40U * kNumberedPayloadBytes);
    EXPECT_EQ(counters.copies.read(), 80U);
    EXPECT_EQ(counters.copy_bytes.read(), 80U * kNumberedPayloadBytes);
    EXPECT_EQ(counters.ring_packets.read(), 40U);
    EXPECT_EQ(counters.ring_bytes.read(), 40U * kNumberedPayloadBytes);
    EXPECT_EQ(counters.consumers.read(), 2U);
    EXPECT_EQ(counters.dropped.read(), 0U);
    EXPECT_EQ(port.rx_queue_supported.read(), 0U);  // net_ring cannot tell
}

TEST(Worker, AppliesCommandsInOrderAFewAtATime) {
    WorkerWorld world;
    for (std::uint16_t i = 0; i < 100; ++i) {
        world.open_stream(static_cast<std::uint16_t>(20000 + i), 4);
    }
    EXPECT_EQ(world.counters().applied_commands.read(), 0U);
    world.turn();
    EXPECT_EQ(world.counters().applied_commands.read(), 32U);
    world.turn();
    EXPECT_EQ(world.counters().applied_commands.read(), 64U);
    world.settle();
    EXPECT_EQ(world.counters().applied_commands.read(), 100U);
}

TEST(Worker, ClosingALargeStreamDelaysLaterCommandsAndNoPacket) {
    WorkerWorld world;
    Stream* large = world.open_published(20000, 2048);
    Stream* other = world.open_published(20001);
    world.add_flow(other, 1);
    world.settle();
    receive_numbers(world, 0, 999);
    world.settle();
    const std::uint64_t applied = world.counters().applied_commands.read();
    world.close_stream(large);
    Stream* again = world.open_stream(20000);  // the same port, for another stream
    world.receive(numbered(7, 20001));
    world.turn();
    EXPECT_EQ(world.counters().applied_commands.read(), applied);
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(1), numbers(7, 7));
    world.settle();
    EXPECT_EQ(world.counters().applied_commands.read(), applied + 2);
    world.set_publisher(again);
    world.settle();
    world.receive(numbered(8));
    world.settle();
    world.publish_counters();
    EXPECT_EQ(again->counters.packets_in.read(), 1U);
}

TEST(Worker, LeavesPacketsInTheNicWhileItsRingsAreFull) {
    WorldOptions options;
    options.copy_mbufs = 16383;
    options.wire_packets = 16384;
    WorkerWorld world{options};
    Stream* stream = world.open_published(20000, 64);
    world.add_flows(stream, 0, 127);
    world.settle();
    receive_numbers(world, 0, 499);
    // A turn takes 32 packets in and sends 2: without holding back, most would be evicted unsent.
    unsigned turns = 0;
    std::size_t copies = 0;
    while (world.counters().content.read() < 500) {
        world.turn();
        copies += world.sent().size();
        ++turns;
    }
    world.settle();
    copies += world.sent().size();
    EXPECT_GT(turns, 8U * (500U / 32U - 3));
    EXPECT_GT(copies, 128U * 500 / 2);
    EXPECT_EQ(copies + world.dropped(DropReason::fanout_overrun), 128U * 500);
}

TEST(PacketsInUse, ReturnToBaselineAfterEverythingAtOnce) {
    WorldOptions options;
    options.workers = 2;
    options.ports = 2;
    options.wire_packets = 256;
    options.control_packets = 16;
    WorkerWorld world{options};
    const std::uint32_t baseline = world.mbufs_in_use();
    unsigned number = 0;
    for (int round = 0; round < 5; ++round) {
        std::vector<Stream*> streams;
        for (std::uint16_t i = 0; i < 6; ++i) {
            Stream* stream = world.open_published(static_cast<std::uint16_t>(20000 + i),
                                                  i == 0 ? 3 : 100,
                                                  i == 1 ? 2000 : 1U << 20U,
                                                  static_cast<std::uint8_t>(i % 2));
            streams.push_back(stream);
            for (unsigned consumer = 0; consumer < 30; ++consumer) {
                world.add_flow(stream, consumer, consumer % 2, {.packets = consumer});
            }
        }
        for (int turn = 0; turn < 60; ++turn) {
            for (std::uint16_t i = 0; i < 7; ++i) {  // one of them unknown
                ++number;
                world.receive(numbered(number % 1000, static_cast<std::uint16_t>(20000 + i)),
                              0,
                              static_cast<std::uint8_t>(number % 2));
            }
            world.turn(0);
            world.turn(1);
            if (turn % 3 == 0) {
                world.sent(0, 0);
                world.sent(1, 1);
            }
        }
        for (Stream* stream : streams) {
            world.close_stream(stream);
        }
        world.settle();
        for (const std::uint8_t worker : {0, 1}) {
            world.sent(0, worker);
            world.sent(1, worker);
        }
        world.reclaim();
        EXPECT_EQ(world.mbufs_in_use(), baseline) << "round " << round;
        world.expect_balanced();
    }
    EXPECT_GT(world.dropped(DropReason::tx_queue_full, 0), 0U);
}

}  // namespace
}  // namespace penstock
