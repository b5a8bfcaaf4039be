#include "data_path/replicate.h"
#include "support/numbered_content.h"
#include "support/packet_builder.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <map>
#include <vector>

namespace penstock {
namespace {

/// A stream that keeps no history.
Stream* open_without_history(WorkerWorld& world) {
    return world.open_published(WorkerWorld::kFirstStreamPort, 0);
}

TEST(WithoutHistory, OnlyConsumerGetsThePacketInTheMbufItCameIn) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    world.add_flow(stream, 1);
    world.settle();
    receive_numbers(world, 1, 40);
    world.turn();
    EXPECT_EQ(world.waiting(), 32U);  // one burst, sent in the turn that received it
    EXPECT_EQ(rte_mempool_in_use_count(world.copies()), 0U);
    world.settle();
    EXPECT_EQ(world.segments(), std::vector<unsigned>(40, 1));
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(1), numbers(1, 40));
}

TEST(WithoutHistory, CopyIsTheSameAsOneFromARing) {
    WorkerWorld world;
    Stream* without = open_without_history(world);
    Stream* with = world.open_published(20001);
    world.add_flow(without, 1);
    world.add_flow(with, 1);
    world.settle();
    for (std::size_t bytes = 0; bytes <= 1472; bytes += bytes < 70 ? 1 : 61) {
        for (const bool is_summed : {true, false}) {
            std::vector<ParsedPacket> copies;
            for (const std::uint16_t udp_port : {std::uint16_t{20000}, std::uint16_t{20001}}) {
                PacketBuilder original = WorkerWorld::content(bytes, 7, udp_port);
                world.receive(is_summed ? original.bytes() : original.udp_checksum(0).bytes());
                world.settle();
                const std::vector<Bytes> sent = world.sent();
                ASSERT_EQ(sent.size(), 1U) << bytes;
                copies.push_back(parse_packet(sent[0]));
            }
            for (const ParsedPacket& copy : copies) {
                EXPECT_TRUE(copy.ip_checksum_right && copy.udp_checksum_right) << bytes;
                EXPECT_TRUE(copy.lengths_right) << bytes;
                EXPECT_EQ(copy.ttl, 64);
                EXPECT_EQ(copy.fragment, 0x4000);
                EXPECT_EQ(copy.identification, 0);
                EXPECT_EQ(copy.from_mac, WorkerWorld::mac(0));
                EXPECT_EQ(copy.to_mac, WorkerWorld::consumer_mac(1));
                EXPECT_EQ(copy.destination, WorkerWorld::consumer(1));
            }
            EXPECT_EQ(copies[0].payload, copies[1].payload);
        }
    }
}

TEST(WithoutHistory, PacketWithAPriorityTagLosesIt) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    world.add_flow(stream, 1);
    world.settle();
    PacketBuilder original = WorkerWorld::content(300, 7);
    const Bytes payload = original.payload_bytes();
    world.receive(original.vlan(0x6000).bytes());
    world.settle();
    const std::vector<Bytes> sent = world.sent();
    ASSERT_EQ(sent.size(), 1U);
    const ParsedPacket copy = parse_packet(sent[0]);
    EXPECT_EQ(copy.payload, payload);
    EXPECT_TRUE(copy.ip_checksum_right && copy.udp_checksum_right && copy.lengths_right);
}

TEST(WithoutHistory, NothingIsKeptOnceEveryConsumerHasHadIt) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    receive_numbers(world, 1, 3);
    world.settle();  // nobody is there to have it
    EXPECT_EQ(world.mbufs_in_use(), 0U);
    world.add_flows(stream, 1, 3);
    world.settle();
    receive_numbers(world, 4, 9);
    world.settle();
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(2), numbers(4, 9));
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

TEST(WithoutHistory, WhoAsksForHistoryGetsWhatComesFromNowOn) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    world.add_flow(stream, 1);
    world.settle();
    receive_numbers(world, 1, 5);
    world.settle();
    world.add_flow(stream, 2, 0, {.packets = 5});
    world.settle();
    receive_numbers(world, 6, 7);
    world.settle();
    const auto got = numbers_by_consumer(world.sent());
    EXPECT_EQ(got.at(1), numbers(1, 7));
    EXPECT_EQ(got.at(2), numbers(6, 7));
}

TEST(WithoutHistory, ConsumersComeAndGoWithoutAGapOrARepeat) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    FlowRecord* first = world.add_flow(stream, 1);
    world.settle();
    receive_numbers(world, 1, 4);
    world.turn();
    FlowRecord* second = world.add_flow(stream, 2);
    receive_numbers(world, 5, 8);
    world.turn();
    world.remove_flow(stream, first);
    receive_numbers(world, 9, 12);
    world.settle();
    world.update_flow(stream, second, 3);
    receive_numbers(world, 13, 16);
    world.settle();
    const auto got = numbers_by_consumer(world.sent());
    EXPECT_EQ(got.at(1), numbers(1, 8));
    EXPECT_EQ(got.at(2), numbers(5, 12));
    EXPECT_EQ(got.at(3), numbers(13, 16));
    world.publish_counters();
    EXPECT_EQ(second->counters.copies.read(), 12U);
    EXPECT_EQ(second->counters.copy_bytes.read(), 12U * kNumberedPayloadBytes);
}

TEST(WithoutHistory, WhoIsLeftOverFromAFanOutInProgressGetsItsPacketsInOrder) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    const std::vector<FlowRecord*> flows = world.add_flows(stream, 0, 19);
    world.settle();
    receive_numbers(world, 1, 32);
    world.turn();  // a quantum of 256 copies: most packets wait in the ring
    for (unsigned consumer = 0; consumer < 19; ++consumer) {
        world.remove_flow(stream, flows[consumer]);
    }
    receive_numbers(world, 33, 40);
    world.settle();
    receive_numbers(world, 41, 41);
    world.settle();
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(19), numbers(1, 41));
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

/// A publisher that is too fast for its consumers: rings overrun while a fan-out is in progress.
class OverrunWithoutHistory : public testing::TestWithParam<unsigned> {};

TEST_P(OverrunWithoutHistory, CostsPacketsByNameAndNothingElse) {
    WorldOptions options;
    options.wire_packets = 8192;
    WorkerWorld world{options};
    Stream* stream = open_without_history(world);
    world.add_flows(stream, 0, GetParam() - 1);
    world.settle();
    std::uint64_t sent = 0;
    unsigned number = 0;
    for (unsigned turn = 0; turn < 400; ++turn) {
        for (unsigned i = 0; i < 8; ++i) {
            world.receive(numbered(number++ % 50'000));
        }
        world.turn();
        sent += world.sent().size();
    }
    world.settle();
    sent += world.sent().size();
    EXPECT_GT(world.dropped(DropReason::fanout_overrun), 0U);
    EXPECT_EQ(sent + world.dropped_in_all(), std::uint64_t{number} * GetParam());
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Consumers, OverrunWithoutHistory, testing::Values(300U, 512U, 600U));

TEST(WithoutHistory, WhoAsksForHistoryDuringAFanOutLeavesNothingBehind) {
    WorldOptions options;
    options.ports = 2;
    WorkerWorld world{options};
    Stream* stream = open_without_history(world);
    world.add_flow(stream, 1, 0);
    world.add_flows(stream, 100, 499, 1);
    world.settle();
    world.receive(numbered(1));
    world.turn();  // port 0 is through, port 1 is not
    world.add_flow(stream, 2, 0, {.packets = 5});
    world.settle();
    EXPECT_EQ(world.sent(1).size(), 400U);
    EXPECT_FALSE(numbers_by_consumer(world.sent(0)).contains(2));
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

TEST(WithoutHistory, NothingIsSentOnceTheOnlyConsumerHasLeft) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    FlowRecord* flow = world.add_flow(stream, 1);
    world.settle();
    receive_numbers(world, 1, 2);
    world.settle();
    world.remove_flow(stream, flow);
    world.settle();
    receive_numbers(world, 3, 4);
    world.settle();
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(1), numbers(1, 2));
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

TEST(WithoutHistory, FewConsumersGetPacketsAtOnceSharedOrCopied) {
    for (const std::uint32_t inline_max : {0U, 256U}) {
        WorldOptions options;
        options.inline_payload_bytes_max = inline_max;
        WorkerWorld world{options};
        Stream* stream = open_without_history(world);
        world.add_flows(stream, 1, 7);
        world.settle();
        receive_numbers(world, 1, 32);
        world.turn();
        EXPECT_EQ(world.waiting(), 7U * 32);  // bursts of 64 do not end where packets do
        EXPECT_EQ(stream->ring.next(), 0U);   // none went through the ring
        const auto got = numbers_by_consumer(world.sent());
        for (unsigned consumer = 1; consumer <= 7; ++consumer) {
            EXPECT_EQ(got.at(consumer), numbers(1, 32)) << consumer;
        }
        world.settle();
        EXPECT_EQ(world.mbufs_in_use(), 0U);
    }
}

TEST(WithoutHistory, PacketsPassedOnAndCopiesOfOthersLeaveInOneBurst) {
    constexpr std::uint16_t kOther = WorkerWorld::kFirstStreamPort + 1;
    WorkerWorld world;
    Stream* shared = open_without_history(world);
    Stream* passed = world.open_published(kOther, 0);
    world.add_flows(shared, 1, 5);
    world.add_flow(passed, 6);
    world.settle();
    for (unsigned packet = 1; packet <= 40; ++packet) {  // ends of bursts fall anywhere
        world.receive(WorkerWorld::content(100, packet).bytes());
        for (unsigned more = 0; more < packet % 4; ++more) {
            world.receive(WorkerWorld::content(100, 100 * packet + more, kOther).bytes());
        }
    }
    world.settle();
    std::map<Endpoint, std::vector<Bytes>> payloads;
    for (const Bytes& frame : world.sent()) {
        const ParsedPacket copy = parse_packet(frame);
        EXPECT_TRUE(copy.ip_checksum_right && copy.udp_checksum_right && copy.lengths_right);
        payloads[copy.destination].push_back(copy.payload);
    }
    for (unsigned consumer = 1; consumer <= 5; ++consumer) {
        const std::vector<Bytes>& got = payloads[WorkerWorld::consumer(consumer)];
        ASSERT_EQ(got.size(), 40U);
        for (unsigned packet = 1; packet <= 40; ++packet) {
            EXPECT_EQ(got[packet - 1], WorkerWorld::content(100, packet).payload_bytes());
        }
    }
    EXPECT_EQ(payloads[WorkerWorld::consumer(6)].size(), 60U);
    world.expect_balanced();
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

TEST(WithoutHistory, BurstToManyConsumersIsCutToWhatATurnHasRoomFor) {
    constexpr unsigned kConsumers = 200;
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    world.add_flows(stream, 1, kConsumers);
    world.settle();
    receive_numbers(world, 1, 32);
    world.turn();
    // As many whole packets as have room, then a quantum of those that went to the ring.
    EXPECT_EQ(world.waiting(), kTurnCopies / kConsumers * kConsumers + kQuantumCopies);
    std::map<unsigned, std::vector<unsigned>> got;
    for (int turn = 0; turn < 100; ++turn) {
        collect_numbers(world.sent(), got);
        world.turn();
    }
    for (unsigned consumer = 1; consumer <= kConsumers; ++consumer) {
        EXPECT_EQ(got[consumer], numbers(1, 32)) << consumer;
    }
}

TEST(WithoutHistory, WhatWasSentAtOnceIsCountedForThoseWhoWereThere) {
    WorkerWorld world;
    Stream* stream = open_without_history(world);
    FlowRecord* first = world.add_flow(stream, 1);
    FlowRecord* second = world.add_flow(stream, 2);
    world.settle();
    receive_numbers(world, 1, 10);
    world.settle();
    FlowRecord* third = world.add_flow(stream, 3);
    world.settle();
    receive_numbers(world, 11, 15);
    world.settle();
    world.remove_flow(stream, first);
    world.settle();
    receive_numbers(world, 16, 18);
    world.settle();
    world.publish_counters();
    EXPECT_EQ(first->counters.copies.read(), 15U);
    EXPECT_EQ(second->counters.copies.read(), 18U);
    EXPECT_EQ(third->counters.copies.read(), 8U);
    EXPECT_EQ(third->counters.copy_bytes.read(), 8U * kNumberedPayloadBytes);
    EXPECT_EQ(stream->counters.packets_in.read(), 18U);
    EXPECT_EQ(stream->counters.bytes_in.read(), 18U * kNumberedPayloadBytes);
    EXPECT_EQ(stream->counters.copies.read(), 2U * 10 + 3U * 5 + 2U * 3);
    EXPECT_EQ(stream->counters.copy_bytes.read(), 41U * kNumberedPayloadBytes);
    const auto got = numbers_by_consumer(world.sent());
    EXPECT_EQ(got.at(1), numbers(1, 15));
    EXPECT_EQ(got.at(2), numbers(1, 18));
    EXPECT_EQ(got.at(3), numbers(11, 18));
}

TEST(WithoutHistory, UnsentCopiesOfWhatWasSentAtOnceAreCountedByFlow) {
    WorldOptions options;
    options.wire_packets = 16;  // holds 15
    WorkerWorld world{options};
    Stream* stream = open_without_history(world);
    FlowRecord* first = world.add_flow(stream, 1);
    FlowRecord* second = world.add_flow(stream, 2);
    world.settle();
    receive_numbers(world, 1, 10);
    world.turn();
    world.publish_counters();
    EXPECT_EQ(first->counters.copies.read(), 8U);
    EXPECT_EQ(first->counters.lost.read(), 2U);
    EXPECT_EQ(second->counters.copies.read(), 7U);
    EXPECT_EQ(second->counters.lost.read(), 3U);
    EXPECT_EQ(stream->counters.copies.read(), 15U);
    EXPECT_EQ(stream->counters.dropped.read(), 5U);
    world.sent();
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

TEST(WithoutHistory, UnsentPacketsAreCountedByPortStreamAndFlowAndFreed) {
    WorldOptions options;
    options.wire_packets = 16;  // holds 15
    WorkerWorld world{options};
    Stream* stream = open_without_history(world);
    FlowRecord* flow = world.add_flow(stream, 1);
    world.settle();
    for (unsigned number = 1; number <= 10; ++number) {
        world.receive(numbered(number));
        world.receive(WorkerWorld::content(100, number).bytes());  // runs of one
        if (number % 5 == 0) {
            world.turn();
        }
    }
    world.publish_counters();
    EXPECT_EQ(world.dropped(DropReason::tx_queue_full), 5U);
    EXPECT_EQ(world.counters().ports[0].tx_packets.read(), 15U);
    EXPECT_EQ(world.counters().ports[0].tx_bytes.read(), 15U * 42 + 8U * 200 + 7U * 100);
    EXPECT_EQ(stream->counters.copies.read(), 15U);
    EXPECT_EQ(stream->counters.copy_bytes.read(), 8U * 200 + 7U * 100);
    EXPECT_EQ(stream->counters.dropped.read(), 5U);
    EXPECT_EQ(flow->counters.copies.read(), 15U);
    EXPECT_EQ(flow->counters.copy_bytes.read(), 8U * 200 + 7U * 100);
    EXPECT_EQ(flow->counters.lost.read(), 5U);
    world.sent();
    EXPECT_EQ(world.mbufs_in_use(), 0U);
}

}  // namespace
}  // namespace penstock
