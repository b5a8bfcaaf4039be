#include "data_path/replicate.h"
#include "support/numbered_content.h"
#include "support/packet_builder.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

namespace penstock {
namespace {

TEST(FanOut, EveryConsumerGetsTheSamePayloadFromTheStreamsAddress) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flows(stream, 1, 3);
    world.settle();
    const PacketBuilder original = WorkerWorld::content(1316, 7);
    world.receive(original.bytes());
    world.settle();

    const std::vector<Bytes> sent = world.sent();
    ASSERT_EQ(sent.size(), 3U);
    for (unsigned consumer = 1; consumer <= 3; ++consumer) {
        const ParsedPacket copy = parse_packet(sent[consumer - 1]);
        EXPECT_EQ(copy.payload, original.payload_bytes());
        EXPECT_EQ(copy.source, WorkerWorld::stream_address());
        EXPECT_EQ(copy.destination, WorkerWorld::consumer(consumer));
        EXPECT_EQ(copy.from_mac, WorkerWorld::mac(0));
        EXPECT_EQ(copy.to_mac, WorkerWorld::consumer_mac(consumer));
        EXPECT_TRUE(copy.ip_checksum_right);
        EXPECT_TRUE(copy.udp_checksum_right);
        EXPECT_TRUE(copy.lengths_right);
        EXPECT_EQ(copy.ttl, 64);
        EXPECT_EQ(copy.fragment, 0x4000);
        EXPECT_EQ(copy.identification, 0);
    }
}

TEST(FanOut, PacketsThatComeInFollowFewFlowsToTheirChunk) {
    const auto chunk = std::make_unique<FlowPlaces<kFlowsPerChunk>>();
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flows(stream, 1, kFewFlows);
    world.settle();
    Replicate::grow_flows({.stream = stream,
                           .port = 0,
                           .chunk = FlowChunk::of(*chunk),
                           .directory = nullptr,
                           .directory_chunks = 0});
    chunk->headers[0] = WorkerWorld::headers_to(kFewFlows + 1, *stream);
    world.receive(WorkerWorld::content(100, 7).bytes());
    world.settle();
    const std::vector<Bytes> sent = world.sent();
    ASSERT_EQ(sent.size(), kFewFlows);
    EXPECT_EQ(parse_packet(sent[0]).destination, WorkerWorld::consumer(kFewFlows + 1));
    EXPECT_EQ(parse_packet(sent[1]).destination, WorkerWorld::consumer(2));
}

TEST(FanOut, ChecksumsAreRightForEveryLengthWithAndWithoutTheSendersOwn) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    for (std::size_t bytes = 0; bytes <= 1472; bytes += bytes < 70 ? 1 : 61) {
        PacketBuilder original = WorkerWorld::content(bytes, static_cast<unsigned>(bytes));
        world.receive(original.bytes());
        world.receive(original.udp_checksum(0).bytes());
        world.settle();
        const std::vector<Bytes> sent = world.sent();
        ASSERT_EQ(sent.size(), 2U) << bytes;
        EXPECT_EQ(sent[0], sent[1]) << bytes;
        const ParsedPacket copy = parse_packet(sent[0]);
        EXPECT_TRUE(copy.ip_checksum_right && copy.udp_checksum_right && copy.lengths_right)
            << bytes;
        EXPECT_EQ(copy.payload, original.payload_bytes());
    }
}

TEST(FanOut, ComputedChecksumOfZeroIsSentAsAllOnes) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    world.settle();
    // Whatever checksum a payload of zeros gets is what its last word must be to make it zero.
    world.receive(WorkerWorld::content(0, 0).payload(Bytes(100, 0)).bytes());
    world.settle();
    const std::uint16_t checksum = parse_packet(world.sent().at(0)).udp_checksum;
    Bytes payload(100, 0);
    payload[98] = static_cast<std::uint8_t>(checksum >> 8U);
    payload[99] = static_cast<std::uint8_t>(checksum);
    world.receive(WorkerWorld::content(0, 0).payload(payload).bytes());
    world.settle();
    const ParsedPacket copy = parse_packet(world.sent().at(0));
    EXPECT_EQ(copy.udp_checksum, 0xffff);
    EXPECT_TRUE(copy.udp_checksum_right);
}

TEST(FanOut, ChecksumThatTheSenderLeftToANicIsComputed) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    PacketBuilder original = WorkerWorld::content(100, 1);
    // Addresses, protocol and length: what Linux writes there when a NIC is to do the rest.
    const Bytes frame = original.bytes();
    Bytes pseudo_header(frame.begin() + 26, frame.begin() + 34);
    pseudo_header.insert(pseudo_header.end(), {0, 17, frame[38], frame[39]});
    const auto sum = static_cast<std::uint16_t>(~internet_checksum(pseudo_header));
    world.receive(original.udp_checksum(sum).bytes());
    world.settle();
    const ParsedPacket copy = parse_packet(world.sent().at(0));
    EXPECT_TRUE(copy.udp_checksum_right);
    EXPECT_EQ(copy.payload, original.payload_bytes());
}

TEST(FanOut, WrongChecksumStaysWrongSoThatTheConsumerCanTell) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    world.receive(WorkerWorld::content(100, 1).udp_checksum(0x1234).bytes());
    world.settle();
    EXPECT_FALSE(parse_packet(world.sent().at(0)).udp_checksum_right);
}

TEST(FanOut, ChainedAndInlineCopiesAreTheSameOnTheWire) {
    std::vector<std::vector<Bytes>> sent;
    std::vector<std::vector<unsigned>> segments;
    for (const std::uint32_t inline_bytes : {0U, 1500U}) {
        WorldOptions options;
        options.inline_payload_bytes_max = inline_bytes;
        WorkerWorld world{options};
        Stream* stream = world.open_published();
        world.add_flows(stream, 0, 69);
        world.settle();
        for (const std::size_t bytes : {0U, 1U, 2U, 63U, 64U, 65U, 255U, 256U, 1316U, 1472U}) {
            world.receive(WorkerWorld::content(bytes, 3).bytes());
        }
        world.settle();
        segments.push_back(world.segments());
        sent.push_back(world.sent());
    }
    EXPECT_EQ(sent[0].size(), 700U);
    EXPECT_EQ(sent[0], sent[1]);
    EXPECT_EQ(std::count(segments[1].begin(), segments[1].end(), 1U), 700);
    // Without a payload there is nothing to chain: an empty segment stops some NICs.
    EXPECT_EQ(std::count(segments[0].begin(), segments[0].end(), 1U), 70);
    EXPECT_EQ(std::count(segments[0].begin(), segments[0].end(), 2U), 630);
}

TEST(FanOut, ThresholdDecidesBySize) {
    WorldOptions options;
    options.inline_payload_bytes_max = 256;
    WorkerWorld world{options};
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    world.receive(WorkerWorld::content(256, 1).bytes());
    world.receive(WorkerWorld::content(257, 1).bytes());
    world.settle();
    EXPECT_EQ(world.segments(), (std::vector<unsigned>{1, 2}));
}

TEST(FanOut, ManyConsumersAreServedInQuantaWithReceivingBetween) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flows(stream, 0, 999);
    world.settle();
    world.receive(numbered(1));
    world.turn();
    EXPECT_EQ(world.waiting(), kQuantumCopies);
    const std::uint64_t received = world.counters().ports[0].rx_packets.read();
    world.receive(numbered(2));
    world.turn();
    EXPECT_EQ(world.waiting(), 2 * kQuantumCopies);
    EXPECT_EQ(world.counters().ports[0].rx_packets.read(), received + 1);
    world.settle();
    const auto by_consumer = numbers_by_consumer(world.sent());
    ASSERT_EQ(by_consumer.size(), 1000U);
    for (const auto& [consumer, got] : by_consumer) {
        EXPECT_EQ(got, numbers(1, 2)) << consumer;
    }
}

TEST(FanOut, SmallStreamIsNotHeldUpByALargeOne) {
    WorkerWorld world;
    Stream* large = world.open_published(20000);
    Stream* small = world.open_published(20001);
    world.add_flows(large, 0, 999);
    world.add_flow(small, 5000);
    world.settle();
    world.receive(numbered(1, 20000));
    world.receive(numbered(1, 20001));
    world.turn();
    EXPECT_EQ(world.waiting(), kQuantumCopies + 1);
    world.settle();
    EXPECT_EQ(world.sent().size(), 1001U);
}

TEST(FanOut, ConsumersOfSeveralPortsAreServedThroughThem) {
    WorldOptions options;
    options.ports = 3;
    WorkerWorld world{options};
    Stream* stream = world.open_published();
    world.add_flow(stream, 10, 0);
    world.add_flow(stream, 12, 2);
    world.add_flow(stream, 22, 2);
    world.settle();
    world.receive(numbered(1));
    world.settle();
    EXPECT_EQ(consumers_of(world.sent(0)), std::vector<unsigned>{10});
    EXPECT_TRUE(world.sent(1).empty());
    const std::vector<Bytes> third = world.sent(2);
    EXPECT_EQ(consumers_of(third), (std::vector<unsigned>{12, 22}));
    EXPECT_EQ(parse_packet(third[0]).source, WorkerWorld::stream_address(20000, 2));
    EXPECT_EQ(parse_packet(third[0]).from_mac, WorkerWorld::mac(2));
}

/// A world with 600 consumers, of whom the first quantum has had packet 1.
class FanOutInProgress : public testing::Test {
  protected:
    static constexpr unsigned kConsumers = 600;

    FanOutInProgress() {
        stream_ = world_.open_published();
        flows_ = world_.add_flows(stream_, 0, kConsumers - 1);
        world_.settle();
        world_.receive(numbered(1));
        world_.turn();
        EXPECT_EQ(world_.waiting(), kQuantumCopies);
    }
    std::map<unsigned, std::vector<unsigned>> finish() {
        world_.settle();
        world_.receive(numbered(2));
        world_.settle();
        return numbers_by_consumer(world_.sent());
    }

    WorkerWorld world_;
    Stream* stream_ = nullptr;
    std::vector<FlowRecord*> flows_;
};

TEST_F(FanOutInProgress, RemovingOneThatHasHadThePacketSpoilsNobodyElses) {
    world_.remove_flow(stream_, flows_[0]);
    const auto got = finish();
    ASSERT_EQ(got.size(), kConsumers);
    EXPECT_EQ(got.at(0), numbers(1, 1));
    for (unsigned consumer = 1; consumer < kConsumers; ++consumer) {
        EXPECT_EQ(got.at(consumer), numbers(1, 2)) << consumer;
    }
}

TEST_F(FanOutInProgress, RemovingOneThatHasNotHadThePacketSpoilsNobodyElses) {
    world_.remove_flow(stream_, flows_[400]);
    const auto got = finish();
    EXPECT_FALSE(got.contains(400));
    for (unsigned consumer = 0; consumer < kConsumers; ++consumer) {
        if (consumer != 400) {
            EXPECT_EQ(got.at(consumer), numbers(1, 2)) << consumer;
        }
    }
}

TEST_F(FanOutInProgress, RemovingTheOnesOnBothSidesOfTheCursorSpoilsNobodyElses) {
    for (const unsigned consumer : {255U, 256U, 0U, 599U, 254U, 257U}) {
        world_.remove_flow(stream_, flows_[consumer]);
    }
    const auto got = finish();
    for (const unsigned had : {0U, 254U, 255U}) {
        EXPECT_EQ(got.at(had), numbers(1, 1));
    }
    for (const unsigned had_not : {256U, 257U, 599U}) {
        EXPECT_FALSE(got.contains(had_not));
    }
    for (unsigned consumer = 1; consumer < 254; ++consumer) {
        EXPECT_EQ(got.at(consumer), numbers(1, 2)) << consumer;
    }
    for (unsigned consumer = 258; consumer < 599; ++consumer) {
        EXPECT_EQ(got.at(consumer), numbers(1, 2)) << consumer;
    }
}

TEST_F(FanOutInProgress, RemovingEveryoneEndsIt) {
    for (FlowRecord* flow : flows_) {
        world_.remove_flow(stream_, flow);
    }
    const auto got = finish();
    EXPECT_LE(got.size(), kConsumers);
    for (const auto& [consumer, its] : got) {
        EXPECT_EQ(its, numbers(1, 1)) << consumer;
    }
}

TEST_F(FanOutInProgress, ConsumerAddedGetsThePresentPacketOnceAndTheNext) {
    world_.add_flow(stream_, 9000);
    const auto got = finish();
    EXPECT_EQ(got.at(9000), numbers(1, 2));
    EXPECT_EQ(got.at(599), numbers(1, 2));
}

TEST_F(FanOutInProgress, NewHeadersHoldFromTheNextCopyOn) {
    world_.update_flow(stream_, flows_[599], 7000);
    const auto got = finish();
    EXPECT_FALSE(got.contains(599));
    EXPECT_EQ(got.at(7000), numbers(1, 2));
}

TEST_F(FanOutInProgress, ClosingTheStreamEndsItAtOnceAndGivesEverythingBack) {
    world_.close_stream(stream_);
    world_.settle();
    EXPECT_EQ(world_.sent().size(), kQuantumCopies);
    EXPECT_EQ(world_.mbufs_in_use(), 0U);
}

TEST(FanOutOverPorts, ConsumerAddedOnAPortThatIsThroughStartsWithTheNextPacket) {
    WorldOptions options;
    options.ports = 2;
    WorkerWorld world{options};
    Stream* stream = world.open_published();
    FlowRecord* first = world.add_flow(stream, 1, 0);
    world.add_flows(stream, 100, 499, 1);
    world.settle();
    world.receive(numbered(1));
    world.turn();  // port 0 is through, port 1 is not
    ASSERT_EQ(world.waiting(0), 1U);
    ASSERT_EQ(world.waiting(1), kQuantumCopies - 1);
    FlowRecord* late = world.add_flow(stream, 2, 0);
    FlowRecord* with_history = world.add_flow(stream, 3, 0, {.packets = 1});
    world.settle();
    world.receive(numbered(2));
    world.settle();
    const auto got = numbers_by_consumer(world.sent(0));
    EXPECT_EQ(got.at(1), numbers(1, 2));
    EXPECT_EQ(got.at(2), numbers(2, 2));
    EXPECT_EQ(got.at(3), numbers(1, 2));  // the packet in fan-out is its history
    EXPECT_EQ(world.sent(1).size(), 800U);
    world.publish_counters();
    EXPECT_EQ(first->counters.copies.read(), 2U);
    EXPECT_EQ(late->counters.copies.read(), 1U);
    EXPECT_EQ(with_history->counters.copies.read(), 2U);
    EXPECT_EQ(with_history->counters.copy_bytes.read(), 2U * kNumberedPayloadBytes);
    world.remove_flow(stream, first);
    world.remove_flow(stream, late);
    world.settle();
}

TEST(Overrun, RingSmallerThanABurstLosesNothingThatIsSentAtOnce) {
    WorkerWorld world;
    Stream* stream = world.open_published(20000, 8);
    world.add_flow(stream, 1);
    world.add_flow(stream, 2);
    world.settle();
    receive_numbers(world, 1, 32);
    world.turn();
    const auto got = numbers_by_consumer(world.sent());
    EXPECT_EQ(got.at(1), numbers(1, 32));
    EXPECT_EQ(got.at(2), numbers(1, 32));
    EXPECT_EQ(stream->ring.packets(), 8U);  // the newest are history now
    FlowRecord* joiner = world.add_flow(stream, 3, 0, {.packets = 8, .ms = 0});
    world.publish_counters();
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(3), numbers(25, 32));
    EXPECT_EQ(joiner->counters.copies.read(), 8U);
}

TEST(Overrun, RingSmallerThanABurstLosesWhatItEvictsAndCountsIt) {
    WorkerWorld world;
    Stream* stream = world.open_published(20000, 8);
    constexpr unsigned kConsumers = kQuantumCopies + 1;  // too many to be served at once
    FlowRecord* flow = world.add_flow(stream, 1);
    world.add_flows(stream, 2, kConsumers);
    world.settle();
    receive_numbers(world, 1, 32);
    world.settle();
    const auto got = numbers_by_consumer(world.sent());
    EXPECT_EQ(got.at(1), numbers(25, 32));
    EXPECT_EQ(got.at(kConsumers), numbers(25, 32));
    EXPECT_EQ(world.dropped(DropReason::fanout_overrun), kConsumers * 24U);
    world.publish_counters();
    EXPECT_EQ(stream->counters.dropped.read(), kConsumers * 24U);
    EXPECT_EQ(flow->counters.copies.read(), 8U);
    EXPECT_EQ(flow->counters.lost.read(), 24U);
}

TEST(Overrun, PacketInFanOutIsFinishedEvenIfTheRingHasEvictedIt) {
    WorkerWorld world;
    Stream* stream = world.open_published(20000, 4);
    world.add_flows(stream, 0, 299);
    world.settle();
    world.receive(numbered(1));
    world.turn();  // 256 of 300
    receive_numbers(world, 2, 9);
    world.settle();
    const auto got = numbers_by_consumer(world.sent());
    for (unsigned consumer = 0; consumer < 300; ++consumer) {
        EXPECT_EQ(got.at(consumer), (std::vector<unsigned>{1, 6, 7, 8, 9})) << consumer;
    }
    EXPECT_EQ(world.dropped(DropReason::fanout_overrun), 300U * 4U);
}

TEST(Overrun, EvictionByBytesKeepsOnePacketWhateverItsSize) {
    WorkerWorld world;
    Stream* stream = world.open_published(20000, 64, 100);
    world.receive(WorkerWorld::content(1316, 1).bytes());
    world.settle();
    world.publish_counters();
    EXPECT_EQ(stream->counters.ring_packets.read(), 1U);
    EXPECT_EQ(stream->counters.ring_bytes.read(), 1316U);
}

TEST(FullWire, UnsentCopiesAreCountedByPortStreamAndFlowAndFreed) {
    WorldOptions options;
    options.wire_packets = 64;  // holds 63
    WorkerWorld world{options};
    Stream* stream = world.open_published();
    const std::vector<FlowRecord*> flows = world.add_flows(stream, 0, 39);
    world.settle();
    world.receive(numbered(1));
    world.receive(numbered(2));
    world.settle();
    EXPECT_EQ(world.dropped(DropReason::tx_queue_full), 17U);
    EXPECT_EQ(world.counters().ports[0].tx_unsent.read(), 17U);
    EXPECT_EQ(world.counters().ports[0].tx_packets.read(), 63U);
    EXPECT_EQ(world.counters().ports[0].tx_bytes.read(), 63U * (42 + 200));
    world.publish_counters();
    EXPECT_EQ(stream->counters.copies.read(), 63U);
    EXPECT_EQ(stream->counters.copy_bytes.read(), 63U * 200);
    EXPECT_EQ(stream->counters.dropped.read(), 17U);
    const auto got = numbers_by_consumer(world.sent());
    std::uint64_t lost = 0;
    for (unsigned consumer = 0; consumer < 40; ++consumer) {
        const FlowCounters& counters = flows[consumer]->counters;
        EXPECT_EQ(counters.copies.read(), got.at(consumer).size()) << consumer;
        EXPECT_EQ(counters.copy_bytes.read(), got.at(consumer).size() * 200) << consumer;
        EXPECT_EQ(counters.lost.read(), 2 - got.at(consumer).size()) << consumer;
        lost += counters.lost.read();
    }
    EXPECT_EQ(lost, 17U);
}

TEST(EmptyCopyPool, CopiesThatCannotBeMadeAreCountedAndTheNextAreSent) {
    WorldOptions options;
    options.copy_mbufs = 127;
    WorkerWorld world{options};
    Stream* stream = world.open_published();
    FlowRecord* flow = world.add_flow(stream, 1);
    world.settle();
    std::vector<rte_mbuf*> taken(127);
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(world.copies(), taken.data(), 127), 0);
    world.receive(numbered(1));
    world.settle();
    EXPECT_TRUE(world.sent().empty());
    EXPECT_EQ(world.dropped(DropReason::no_copy_mbuf), 1U);
    rte_pktmbuf_free_bulk(taken.data(), 127);
    world.receive(numbered(2));
    world.settle();
    EXPECT_EQ(numbers_by_consumer(world.sent()).at(1), numbers(2, 2));
    world.publish_counters();
    EXPECT_EQ(flow->counters.copies.read(), 1U);
    EXPECT_EQ(flow->counters.lost.read(), 1U);
}

TEST(FlowTable, GrowsBeyondItsFirstDirectoryAndShrinks) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    // 8 chunks of 64, then 16, then 32
    const std::vector<FlowRecord*> flows = world.add_flows(stream, 0, 1099);
    world.settle();
    EXPECT_EQ(stream->counters.consumers.read(), 1100U);
    for (unsigned consumer = 0; consumer < 1100; consumer += 2) {
        world.remove_flow(stream, flows[consumer]);
        world.turn();
    }
    world.settle();
    world.reclaim();
    EXPECT_EQ(world.memory().retired(), 0U);
    EXPECT_EQ(stream->counters.consumers.read(), 550U);
    world.receive(numbered(1));
    world.settle();
    const auto got = numbers_by_consumer(world.sent());
    EXPECT_EQ(got.size(), 550U);
    for (unsigned consumer = 1; consumer < 1100; consumer += 2) {
        EXPECT_EQ(got.at(consumer), numbers(1, 1)) << consumer;
    }
    // The room of those that left is used again: no GrowFlows is asked for.
    world.add_flows(stream, 2000, 2549);
    world.receive(numbered(2));
    world.settle();
    EXPECT_EQ(numbers_by_consumer(world.sent()).size(), 1100U);
}

}  // namespace
}  // namespace penstock
