#include "support/numbered_content.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

WorldOptions two_workers() {
    WorldOptions options;
    options.workers = 2;
    options.ports = 2;
    return options;
}

TEST(HandOver, PacketsAtTheWrongWorkerReachTheOwnersConsumers) {
    WorkerWorld world{two_workers()};
    Stream* stream = world.open_published(20000, 512, 1U << 20U, 1);
    world.add_flow(stream, 1);
    world.settle();
    world.receive(numbered(1), 0, 0);
    world.receive(numbered(2), 0, 0);
    world.settle();
    world.receive(numbered(3), 0, 1);
    world.settle();

    EXPECT_TRUE(world.sent(0, 0).empty());
    EXPECT_EQ(numbers_by_consumer(world.sent(0, 1)).at(1), numbers(1, 3));
    EXPECT_EQ(world.counters(0).handed_over.read(), 2U);
    EXPECT_EQ(world.counters(1).taken_over.read(), 2U);
    EXPECT_EQ(world.counters(1).content.read(), 3U);
    EXPECT_EQ(world.counters(0).content.read(), 0U);
}

TEST(HandOver, EachWorkerOwnsItsStreams) {
    WorkerWorld world{two_workers()};
    for (std::uint8_t owner = 0; owner < 2; ++owner) {
        const auto port = static_cast<std::uint16_t>(20000 + owner);
        Stream* stream = world.open_published(port, 512, 1U << 20U, owner);
        world.add_flow(stream, owner + 1U, owner);
    }
    world.settle();
    for (unsigned number = 1; number <= 40; ++number) {
        world.receive(numbered(number, 20000), 0, number % 2);
        world.receive(numbered(number, 20001), 0, (number + 1) % 2);
        world.turn(0);
        world.turn(1);
    }
    world.settle();
    auto first = numbers_by_consumer(world.sent(0, 0)).at(1);
    auto second = numbers_by_consumer(world.sent(1, 1)).at(2);
    std::sort(first.begin(), first.end());
    std::sort(second.begin(), second.end());
    EXPECT_EQ(first, numbers(1, 40));
    EXPECT_EQ(second, numbers(1, 40));
}

TEST(HandOver, OwnerDecidesWhatTheFrameIs) {
    WorkerWorld world{two_workers()};
    Stream* stream = world.open_stream(20000, 512, 1U << 20U, 1);
    world.settle();
    world.receive(numbered(1), 0, 0);  // nobody is the publisher yet
    world.settle();
    EXPECT_EQ(world.dropped(DropReason::not_publisher, 1), 1U);
    EXPECT_EQ(world.dropped_in_all(0), 0U);
    world.publish_counters();
    EXPECT_EQ(stream->counters.dropped.read(), 1U);
}

TEST(HandOver, OwnerThatDoesNotKeepUpCostsPacketsByName) {
    WorldOptions options = two_workers();
    options.control_packets = 16;
    WorkerWorld world{options};
    world.open_published(20000, 512, 1U << 20U, 1);
    world.settle();
    for (unsigned number = 1; number <= 20; ++number) {
        world.receive(numbered(number), 0, 0);
    }
    world.turn(0);
    EXPECT_EQ(world.counters(0).handed_over.read(), 15U);
    EXPECT_EQ(world.dropped(DropReason::hand_over_full, 0), 5U);
    world.settle();
    EXPECT_EQ(world.counters(1).content.read(), 15U);
}

TEST(HandOver, FrameOnItsWayWhenTheStreamClosesIsOfAnUnknownStream) {
    WorkerWorld world{two_workers()};
    Stream* stream = world.open_published(20000, 512, 1U << 20U, 1);
    world.settle();
    world.receive(numbered(1), 0, 0);
    world.turn(0);
    world.close_stream(stream);
    world.turn(1);
    world.settle();
    EXPECT_EQ(world.dropped(DropReason::unknown_stream, 1), 1U);
}

TEST(HandOver, PortOfTheFrameGoesWithIt) {
    WorkerWorld world{two_workers()};
    Stream* stream = world.open_published(20000, 512, 1U << 20U, 1);
    world.add_flow(stream, 1);
    world.settle();
    // The same packet is ours on port 1 only if it is addressed to port 1.
    const Bytes frame = packet()
                            .to_mac(WorkerWorld::mac(1))
                            .from(WorkerWorld::publisher())
                            .to(WorkerWorld::stream_address(20000, 1))
                            .payload(100, 1)
                            .bytes();
    world.receive(frame, 1, 0);
    world.settle();
    EXPECT_EQ(world.sent(0, 1).size(), 1U);
    world.receive(frame, 0, 0);
    world.settle();
    EXPECT_EQ(world.dropped(DropReason::not_our_mac, 0), 1U);
}

}  // namespace
}  // namespace penstock
