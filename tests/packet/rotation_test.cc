#include "data_path/replicate.h"
#include "support/numbered_content.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace penstock {
namespace {

/// A stream with `consumers` on port 0, and the order in which they get each packet.
class Rotation : public testing::Test {
  protected:
    void open(unsigned consumers) {
        stream_ = world_.open_published();
        world_.add_flows(stream_, 0, consumers - 1);
        world_.settle();
    }
    std::vector<unsigned> order_of_next_packet() {
        world_.receive(numbered(++number_));
        world_.settle();
        return consumers_of(world_.sent());
    }

    WorkerWorld world_;
    Stream* stream_ = nullptr;
    unsigned number_ = 0;
};

TEST_F(Rotation, EachChunkOfConsumersIsLastOnceInARound) {
    constexpr unsigned kConsumers = 300;
    constexpr unsigned kChunks = 5;  // of 64, 64, 64, 64 and 44
    open(kConsumers);
    std::set<unsigned> first;
    std::set<unsigned> last;
    for (unsigned packet = 0; packet < kChunks; ++packet) {
        std::vector<unsigned> order = order_of_next_packet();
        ASSERT_EQ(order.size(), kConsumers);
        first.insert(order.front() / kFlowsPerChunk);
        last.insert(order.back() / kFlowsPerChunk);
        std::sort(order.begin(), order.end());
        EXPECT_EQ(std::adjacent_find(order.begin(), order.end()), order.end());
    }
    EXPECT_EQ(first, (std::set<unsigned>{0, 1, 2, 3, 4}));
    EXPECT_EQ(last, (std::set<unsigned>{0, 1, 2, 3, 4}));
    EXPECT_EQ(order_of_next_packet().front(), 0U);  // the next round
}

TEST_F(Rotation, FromPacketToPacketAConsumerMovesByAChunkAtMostUntilItIsLast) {
    open(300);
    std::vector<unsigned> before = order_of_next_packet();
    std::vector<unsigned> after = order_of_next_packet();
    std::rotate(before.begin(), before.begin() + kFlowsPerChunk, before.end());
    EXPECT_EQ(after, before);
}

TEST_F(Rotation, ConsumersOfASingleChunkKeepTheirOrder) {
    open(kFlowsPerChunk);
    const std::vector<unsigned> order = order_of_next_packet();
    EXPECT_EQ(order_of_next_packet(), order);
}

TEST_F(Rotation, StartsOverWhenFewAreLeft) {
    open(100);
    order_of_next_packet();  // the next one would begin with the second chunk
    std::vector<FlowRecord*> flows;
    for (unsigned i = 0; i < 100; ++i) {
        flows.push_back(&stream_->groups[0].record_at(i));
    }
    for (unsigned i = 0; i < 90; ++i) {
        world_.remove_flow(stream_, flows[i]);
        world_.turn();
    }
    EXPECT_EQ(order_of_next_packet().size(), 10U);
    const std::vector<unsigned> order = order_of_next_packet();
    EXPECT_EQ(order.size(), 10U);
    EXPECT_EQ(order_of_next_packet(), order);
}

TEST(RotationOverPorts, NoPortIsAlwaysLast) {
    WorldOptions options;
    options.ports = 3;
    WorkerWorld world{options};
    Stream* stream = world.open_published();
    for (std::uint8_t port = 0; port < 3; ++port) {
        world.add_flows(stream, port * 200U, port * 200U + 199, port);
    }
    world.settle();
    std::set<std::uint8_t> last;
    for (unsigned number = 1; number <= 3; ++number) {
        world.receive(numbered(number));
        world.turn();  // a port and a part of the next one: the third has had none yet
        for (std::uint8_t port = 0; port < 3; ++port) {
            if (world.waiting(port) == 0) {
                last.insert(port);
            }
        }
        world.settle();
        for (std::uint8_t port = 0; port < 3; ++port) {
            EXPECT_EQ(world.sent(port).size(), 200U);
        }
    }
    EXPECT_EQ(last, (std::set<std::uint8_t>{0, 1, 2}));
}

/// Consumers that join and leave as they please, most often while a fan-out is suspended.
class RotationUnderChange : public testing::TestWithParam<unsigned> {
  protected:
    struct Consumer {
        FlowRecord* flow = nullptr;
        std::uint8_t port = 0;
        unsigned newest_at_join = 0;  // number
        unsigned history = 0;         // packets asked for
        bool gone = false;
        bool was_live = false;         // when it left
        Sequence fanned_out_then = 0;  // packets that all live ones had had
    };

    static WorldOptions options() {
        WorldOptions options;
        options.ports = 2;
        options.copy_mbufs = 16383;
        return options;
    }
    RotationUnderChange() {
        for (unsigned i = 0; i < 300; ++i) {
            join(0);
        }
        world_.settle();
    }
    unsigned random(unsigned below) { return static_cast<unsigned>(random_() % below); }

    void join(unsigned history) {
        const auto port = static_cast<std::uint8_t>(random(3) == 0 ? 1 : 0);
        const auto number = static_cast<unsigned>(consumers_.size());
        FlowRecord* flow = world_.add_flow(stream_, number, port, {.packets = history});
        world_.turn();
        consumers_.push_back({.flow = flow,
                              .port = port,
                              .newest_at_join = newest_,
                              .history = std::min(history, newest_)});
        collect();
    }
    void leave() {
        Consumer& consumer = consumers_[random(static_cast<unsigned>(consumers_.size()))];
        if (!consumer.gone) {
            consumer.gone = true;
            consumer.was_live = stream_->groups[consumer.port].is_live(*consumer.flow);
            consumer.fanned_out_then = stream_->fanned_packets;
            world_.remove_flow(stream_, consumer.flow);
            world_.turn();
            collect();
        }
    }
    void publish() {
        world_.receive(numbered(++newest_));
        world_.turn();
        collect();
    }
    void collect() {
        for (std::uint8_t port = 0; port < 2; ++port) {
            for (auto& [consumer, its] : numbers_by_consumer(world_.sent(port))) {
                EXPECT_EQ(consumers_.at(consumer).port, port);
                std::vector<unsigned>& all = got_[consumer];
                all.insert(all.end(), its.begin(), its.end());
            }
        }
    }
    void finish() {
        publish();
        do {
            world_.turn();
            collect();
        } while (stream_->catching_up > 0 || stream_->cursor.sequence < newest_);
        world_.publish_counters();
        collect();
    }
    void expect_right(unsigned number) {
        const Consumer& consumer = consumers_[number];
        const std::vector<unsigned>& its = got_[number];
        EXPECT_EQ(consumer.flow->counters.copies.read(), its.size()) << number;
        EXPECT_EQ(consumer.flow->counters.lost.read(), 0U) << number;
        if (its.empty()) {
            EXPECT_TRUE(consumer.gone) << number;
            return;
        }
        EXPECT_EQ(its, numbers(its.front(), its.back())) << number;
        if (consumer.history > 0) {
            EXPECT_EQ(its.front(), consumer.newest_at_join - consumer.history + 1) << number;
        } else {
            EXPECT_LE(its.front(), consumer.newest_at_join + 1) << number;
        }
        if (!consumer.gone) {
            EXPECT_EQ(its.back(), newest_) << number;
        } else if (consumer.was_live) {
            EXPECT_GE(its.back(), consumer.fanned_out_then) << number;
        }
    }

    std::mt19937 random_{GetParam()};
    WorkerWorld world_{options()};
    Stream* stream_ = world_.open_published();
    std::vector<Consumer> consumers_;
    std::map<unsigned, std::vector<unsigned>> got_;
    unsigned newest_ = 0;  // number of the last packet published
};

TEST_P(RotationUnderChange, EveryConsumerGetsEveryPacketOnceAndInOrder) {
    unsigned suspended = 0;
    for (unsigned step = 0; step < 400; ++step) {
        switch (random(4)) {
            case 0:
                join(random(2) == 0 ? 0 : 1 + random(20));
                break;
            case 1:
                leave();
                break;
            case 2:
                if (newest_ - stream_->cursor.sequence < 100) {
                    publish();
                }
                break;
            default:
                world_.turn();
                collect();
        }
        suspended += stream_->cursor.suspended ? 1 : 0;
    }
    EXPECT_GT(suspended, 50U) << "the seed shows little";
    finish();
    for (unsigned number = 0; number < consumers_.size(); ++number) {
        expect_right(number);
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RotationUnderChange, testing::Range(1U, 5U));

}  // namespace
}  // namespace penstock
