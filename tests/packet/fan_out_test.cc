#include "support/packet_builder.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(FanOut, EveryConsumerGetsTheSamePayloadFromTheStreamsAddress) {
    WorkerWorld world;
    Stream* stream = world.open_stream();
    world.set_publisher(stream);
    for (unsigned consumer = 1; consumer <= 3; ++consumer) {
        world.add_flow(stream, consumer);
    }
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

}  // namespace
}  // namespace penstock
