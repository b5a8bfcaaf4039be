#include "data_server/stream_table.h"

#include "unit/data_server/mailbox_workers.h"

#include <gtest/gtest.h>

#include <variant>
#include <vector>

namespace penstock {
namespace {

const StreamId kA{1};
const StreamId kB{2};
const Endpoint kClient{IpAddress::v4(0x0a5b0064), 40'000};

class StreamTableTest : public testing::Test, protected MailboxWorkers {
  protected:
    /// `ring_packets`: that all rings together may hold.
    explicit StreamTableTest(std::uint32_t ring_packets = 192, unsigned workers = 2)
        : MailboxWorkers(workers), memory(ring_packets, config().ports.size(), -1) {}

    static StreamTableConfig config() {
        StreamTableConfig config;
        config.udp_port_first = 20'000;
        config.udp_port_last = 20'003;
        config.streams_max = 3;
        config.ring_packets = 64;
        config.ring_bytes = 64 << 10U;
        config.ports = {{MacAddress{{2, 0, 0, 0, 0, 1}}, IpAddress::v4(0x0a5b0001)},
                        {MacAddress{{2, 0, 0, 0, 0, 2}}, IpAddress::v4(0x0a5c0001)}};
        return config;
    }

    template <typename Command>
    static std::size_t count(const std::vector<WorkerCommand>& commands) {
        std::size_t found = 0;
        for (const WorkerCommand& command : commands) {
            found += std::holds_alternative<Command>(command) ? 1 : 0;
        }
        return found;
    }

    Endpoint open(StreamId stream) {
        const auto endpoint = table.open(stream, "name");
        EXPECT_TRUE(endpoint.ok()) << endpoint.error().message;
        return endpoint.ok() ? *endpoint : Endpoint{};
    }
    /// Until nothing is left to be applied.
    StreamTable::Settled settle() {
        StreamTable::Settled all;
        for (int turn = 0; turn < 6; ++turn) {
            const StreamTable::Settled settled = table.advance();
            all.opened.insert(all.opened.end(), settled.opened.begin(), settled.opened.end());
            all.closed.insert(all.closed.end(), settled.closed.begin(), settled.closed.end());
            for (std::size_t worker = 0; worker < workers.size(); ++worker) {
                apply(worker);
            }
        }
        return all;
    }

    FlowPlace place(std::uint64_t flow) {
        return {FlowId{flow}, 0, {IpAddress::v4(0x0a5b0001), 20'000}, kClient, MacAddress{}};
    }

    StreamMemory memory;
    StreamTable table{config(), memory, workers};
};

/// A stream owned by worker 0 that has many consumers; worker 1 may help.
class SharedStreamTest : public StreamTableTest {
  protected:
    explicit SharedStreamTest(unsigned workers = 2) : StreamTableTest(384, workers) {
        open(kA);
        stream = std::get<OpenStream>(apply(0).at(0)).stream;
        settle();
    }
    /// Flows first..last. Returns: how many of them went to worker 1.
    std::size_t add(std::uint64_t first, std::uint64_t last) {
        for (std::uint64_t flow = first; flow <= last; ++flow) {
            EXPECT_TRUE(table.add_flow(kA, place(flow), 0, 0).ok());
        }
        apply(0);
        return count<AddFlow>(apply(1));
    }
    /// As many as a stream has before it is shared, and one more.
    Stream& open_share() {
        for (std::uint64_t flow = 1; flow <= kSharedFrom + 1; ++flow) {
            EXPECT_TRUE(table.add_flow(kA, place(flow), 0, 0).ok());
        }
        apply(0);
        const auto commands = apply(1);
        return *std::get<OpenShare>(commands.at(0)).share;
    }
    Stream& open_complete_share() {
        Stream& share = open_share();
        share.progress.complete.set(1);
        return share;
    }

    Stream* stream;
};

/// Workers 1 and 2 may help.
class TwiceSharedStreamTest : public SharedStreamTest {
  protected:
    TwiceSharedStreamTest() : SharedStreamTest(3) {}

    struct Added {
        std::vector<std::size_t> flows;  // by worker
        std::vector<Stream*> shares;     // that were opened
    };
    /// `count` more flows.
    Added add_more(std::size_t count_of_them) {
        for (std::size_t i = 0; i < count_of_them; ++i) {
            EXPECT_TRUE(table.add_flow(kA, place(++newest_), 0, 0).ok());
        }
        Added added;
        for (std::size_t worker = 0; worker < workers.size(); ++worker) {
            const auto commands = apply(worker);
            added.flows.push_back(count<AddFlow>(commands));
            for (const WorkerCommand& command : commands) {
                if (const auto* open = std::get_if<OpenShare>(&command)) {
                    added.shares.push_back(open->share);
                }
            }
        }
        return added;
    }

  private:
    std::uint64_t newest_ = 0;
};

TEST_F(StreamTableTest, OpensStreamsAtPortsThatHaveALink) {
    const IpAddress second = config().ports[1].address;
    table.set_link(0, false);
    EXPECT_EQ(open(kA).ip, second);
    EXPECT_EQ(open(kB).ip, second) << "however many it has";
    table.set_link(1, false);
    EXPECT_EQ(open(StreamId{3}).ip, config().ports[0].address) << "none is better than another";
}

TEST_F(StreamTableTest, OpensAtTheOwnerFirst) {
    EXPECT_EQ(open(kA), (Endpoint{IpAddress::v4(0x0a5b0001), 20'000}));
    table.advance();
    EXPECT_EQ(mailboxes[1]->size_estimate(), 0U);
    EXPECT_EQ(count<OpenStream>(apply(0)), 1U);
    EXPECT_TRUE(table.advance().opened.empty());
    EXPECT_EQ(count<OpenStream>(apply(1)), 1U);
    const auto opened = table.advance().opened;
    ASSERT_EQ(opened.size(), 1U);
    EXPECT_EQ(opened[0].stream, kA);
    EXPECT_TRUE(table.advance().opened.empty()) << "only once";
}

TEST_F(StreamTableTest, ClosesAtTheOwnerLast) {
    open(kA);
    settle();
    table.close(kA);
    EXPECT_FALSE(table.find(kA).has_value());
    EXPECT_EQ(mailboxes[0]->size_estimate(), 0U);
    EXPECT_EQ(count<CloseStream>(apply(1)), 1U);
    EXPECT_TRUE(table.advance().closed.empty());
    EXPECT_EQ(count<CloseStream>(apply(0)), 1U);
    EXPECT_EQ(table.advance().closed, std::vector{kA});
    table.advance();
    EXPECT_EQ(memory.retired(), 0U);
    EXPECT_EQ(memory.ring_packets_left(), 192U);
}

TEST_F(StreamTableTest, StreamClosedWhileItOpensGoesAway) {
    open(kA);
    table.close(kA);
    EXPECT_EQ(settle().closed, std::vector{kA});
    EXPECT_EQ(memory.ring_packets_left(), 192U);
}

TEST_F(StreamTableTest, StreamOpenedAgainWhileItClosesIsAnother) {
    const Endpoint first = open(kA);
    settle();
    table.close(kA);
    const Endpoint second = open(kA);
    EXPECT_NE(first.port, second.port);
    const auto settled = settle();
    EXPECT_EQ(settled.closed.size(), 1U);
    EXPECT_EQ(settled.opened.size(), 1U);
    EXPECT_TRUE(table.find(kA).has_value());
}

TEST_F(StreamTableTest, SpreadsStreamsOverWorkersAndPorts) {
    open(kA);
    const Endpoint second = open(kB);
    EXPECT_EQ(second.ip, IpAddress::v4(0x0a5c0001));
    EXPECT_EQ(table.owner_of(kA), 0);
    EXPECT_EQ(table.owner_of(kB), 1);
}

TEST_F(StreamTableTest, GivesUdpPortsInRotation) {
    for (std::uint16_t port = 20'000; port <= 20'003; ++port) {
        EXPECT_EQ(open(kA).port, port);
        settle();
        table.close(kA);
        settle();
    }
    EXPECT_EQ(open(kA).port, 20'000);
}

TEST_F(StreamTableTest, RefusesMoreStreamsThanPermitted) {
    open(kA);
    open(kB);
    open(StreamId{3});
    const auto fourth = table.open(StreamId{4}, "four");
    ASSERT_FALSE(fourth.ok());
    EXPECT_NE(fourth.error().message.find("--streams-max"), std::string::npos);
}

TEST_F(StreamTableTest, RefusesAStreamThePacketPoolHasNoHistoryFor) {
    StreamTableConfig large = config();
    large.ring_packets = 128;
    StreamTable greedy(large, memory, workers);
    EXPECT_TRUE(greedy.open(kA, "a").ok());
    const auto second = greedy.open(kB, "b");
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code, ErrorCode::exhausted);
    EXPECT_TRUE(greedy.open(kB, "b").error().message == second.error().message);
}

TEST_F(StreamTableTest, MakesRoomBeforeItAddsAFlow) {
    open(kA);
    settle();
    ASSERT_TRUE(table.add_flow(kA, place(1), 10, 20).ok());
    const auto commands = apply(0);
    ASSERT_EQ(commands.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<GrowFlows>(commands[0]));
    const auto& add = std::get<AddFlow>(commands[1]);
    EXPECT_EQ(add.history_packets, 10U);
    EXPECT_EQ(add.history_ms, 20U);
    EXPECT_NE(table.counters_of(kA, FlowId{1}), nullptr);
    for (std::uint64_t flow = 2; flow <= kFewFlows; ++flow) {
        ASSERT_TRUE(table.add_flow(kA, place(flow), 0, 0).ok());
    }
    EXPECT_EQ(count<GrowFlows>(apply(0)), 0U);
    ASSERT_TRUE(table.add_flow(kA, place(1'000), 0, 0).ok());
    EXPECT_EQ(count<GrowFlows>(apply(0)), 1U);
}

TEST_F(StreamTableTest, KeepsTheMemoryOfAFlowUntilTheWorkerLetGo) {
    open(kA);
    settle();
    ASSERT_TRUE(table.add_flow(kA, place(1), 0, 0).ok());
    apply(0);
    table.remove_flow(kA, FlowId{1});
    EXPECT_EQ(table.counters_of(kA, FlowId{1}), nullptr);
    table.advance();
    EXPECT_EQ(memory.retired(), 1U);
    EXPECT_EQ(count<RemoveFlow>(apply(0)), 1U);
    table.advance();
    EXPECT_EQ(memory.retired(), 0U);
}

TEST_F(StreamTableTest, MovesAFlowAndNamesThePublisher) {
    open(kA);
    settle();
    ASSERT_TRUE(table.add_flow(kA, place(1), 0, 0).ok());
    apply(0);
    table.move_flow(kA, place(1));
    table.set_publisher(kA, kClient, FlowId{9});
    const auto commands = apply(0);
    EXPECT_EQ(count<UpdateFlow>(commands), 1U);
    ASSERT_EQ(commands.size(), 2U);
    EXPECT_EQ(std::get<SetPublisher>(commands[1]).address, kClient);
}

TEST_F(StreamTableTest, WhatIsNotThereIsLeftAlone) {
    open(kA);
    settle();
    table.move_flow(kA, place(1));
    table.remove_flow(kA, FlowId{1});
    table.remove_flow(kB, FlowId{1});
    table.set_publisher(kB, kClient, FlowId{9});
    EXPECT_FALSE(table.add_flow(kB, place(1), 0, 0).ok());
    EXPECT_TRUE(apply(0).empty());
    EXPECT_TRUE(apply(1).empty());
}

TEST_F(StreamTableTest, FullMailboxDelaysCommandsAndLosesNone) {
    open(kA);
    settle();
    for (std::size_t i = 0; i < 3 * kMailboxCommands; ++i) {
        table.set_publisher(kA, kClient, FlowId{i + 1});
    }
    std::vector<std::uint64_t> seen;
    for (int turn = 0; turn < 4; ++turn) {
        for (const WorkerCommand& command : apply(0)) {
            seen.push_back(std::get<SetPublisher>(command).flow.value);
        }
        table.advance();
    }
    ASSERT_EQ(seen.size(), 3 * kMailboxCommands);
    for (std::size_t i = 0; i < seen.size(); ++i) {
        EXPECT_EQ(seen[i], i + 1);
    }
}

TEST_F(StreamTableTest, BeginsNothingNewWhenTheWorkerDoesNotKeepUp) {
    open(kA);
    settle();
    for (std::size_t i = 0; i < WorkerCommands::kWaitingMax + kMailboxCommands; ++i) {
        table.set_publisher(kA, kClient, FlowId{1});
    }
    EXPECT_FALSE(table.add_flow(kA, place(1), 0, 0).ok());
    apply(0);
    table.advance();
    EXPECT_TRUE(table.add_flow(kA, place(1), 0, 0).ok());
}

TEST_F(StreamTableTest, TotalOfCopiesOutlivesAStream) {
    open(kA);
    Stream* const stream = std::get<OpenStream>(apply(0).at(0)).stream;
    settle();
    stream->counters.copy_bytes.set(1'000);
    EXPECT_EQ(table.copy_bytes(), 1'000U);
    table.close(kA);
    settle();
    EXPECT_EQ(table.copy_bytes(), 1'000U);
}

TEST_F(SharedStreamTest, FewConsumersAreTheOwnersAlone) {
    EXPECT_EQ(add(1, kSharedFrom), 0U);
    EXPECT_EQ(memory.ring_packets_left(), 320U);
}

TEST_F(SharedStreamTest, OpensAShareAtTheHelperAndHasTheOwnerFeedIt) {
    add(1, kSharedFrom);
    ASSERT_TRUE(table.add_flow(kA, place(1'000), 0, 0).ok());
    const auto at_owner = apply(0);
    const auto at_helper = apply(1);
    ASSERT_EQ(at_helper.size(), 1U);
    const Stream* share = std::get<OpenShare>(at_helper[0]).share;
    ASSERT_EQ(count<FeedShare>(at_owner), 1U);
    const auto& feed = std::get<FeedShare>(at_owner.at(0));
    EXPECT_EQ(feed.stream, stream);
    EXPECT_EQ(feed.share, share);
    EXPECT_EQ(share->owner, 1);
    EXPECT_EQ(share->fed_by, 0);
    EXPECT_TRUE(share->is_share());
    EXPECT_FALSE(stream->is_share());
    EXPECT_EQ(share->udp_port, stream->udp_port);
    EXPECT_EQ(share->ring.packets_max(), stream->ring.packets_max());
}

TEST_F(SharedStreamTest, NobodyJoinsAShareThatHasNotEverythingStoredYet) {
    Stream& share = open_share();
    EXPECT_EQ(add(2'000, 2'009), 0U);
    share.progress.complete.set(1);
    EXPECT_EQ(add(3'000, 3'009), 10U);
}

TEST_F(SharedStreamTest, NewConsumersGoWhereTheFewestAre) {
    open_complete_share();
    EXPECT_EQ(add(1'000, 1'000 + kSharedFrom), kSharedFrom + 1);
    EXPECT_EQ(add(2'000, 2'099), 50U);
}

TEST_F(SharedStreamTest, TwoWorkersEndWithHalfOfTheConsumersEach) {
    open_complete_share();
    EXPECT_EQ(add(2'000 + kSharedFrom + 2, 2'000 + 1'024), 512U);
}

TEST_F(TwiceSharedStreamTest, FurtherShareOpensOnceThereAreConsumersForOneMorePart) {
    const Added first = add_more(kSharedFrom + 1);
    ASSERT_EQ(first.shares.size(), 1U);
    first.shares[0]->progress.complete.set(1);
    const Added before = add_more(kSharedFrom - 1);
    EXPECT_TRUE(before.shares.empty());
    EXPECT_EQ(before.flows, (std::vector<std::size_t>{0, kSharedFrom - 1, 0}));
    const Added second = add_more(1);
    ASSERT_EQ(second.shares.size(), 1U);
    EXPECT_NE(second.shares[0]->owner, first.shares[0]->owner);
    second.shares[0]->progress.complete.set(1);
    EXPECT_EQ(add_more(10).flows[second.shares[0]->owner], 10U);
    EXPECT_TRUE(add_more(3 * kSharedFrom).shares.empty()) << "each worker has one already";
}

TEST_F(TwiceSharedStreamTest, ShareThatFillsIsLeftOutAndTheOthersGoOnInTurn) {
    add_more(kSharedFrom + 1).shares.at(0)->progress.complete.set(1);
    const Added second = add_more(kSharedFrom);
    ASSERT_EQ(second.shares.size(), 1U);
    EXPECT_EQ(add_more(100).flows, (std::vector<std::size_t>{50, 50, 0}));
}

TEST_F(TwiceSharedStreamTest, OneShareFillsAtATime) {
    const Added first = add_more(3 * kSharedFrom);
    ASSERT_EQ(first.shares.size(), 1U);
    EXPECT_EQ(first.flows[0], 3 * kSharedFrom);
    first.shares[0]->progress.complete.set(1);
    const Added second = add_more(10);
    ASSERT_EQ(second.shares.size(), 1U);
    EXPECT_EQ(second.flows[first.shares[0]->owner], 10U);
}

TEST_F(SharedStreamTest, ConsumerStaysAtItsWorker) {
    Stream& share = open_complete_share();
    add(1'000, 1'000);
    table.move_flow(kA, place(1'000));
    table.remove_flow(kA, FlowId{1'000});
    EXPECT_TRUE(apply(0).empty());
    const auto commands = apply(1);
    ASSERT_EQ(commands.size(), 2U);
    EXPECT_EQ(std::get<UpdateFlow>(commands[0]).stream, &share);
    EXPECT_EQ(std::get<RemoveFlow>(commands[1]).stream, &share);
    table.remove_flow(kA, FlowId{1});
    EXPECT_EQ(count<RemoveFlow>(apply(0)), 1U);
}

TEST_F(SharedStreamTest, ShareWithoutConsumersClosesOnceTheStreamHasFew) {
    Stream& share = open_complete_share();
    add(1'000, 1'000);
    table.remove_flow(kA, FlowId{1'000});
    std::uint64_t flow = kSharedFrom + 1;
    for (; flow > kSharedFrom / 2 - 1; --flow) {
        EXPECT_EQ(count<StopShare>(apply(0)), 0U);
        table.remove_flow(kA, FlowId{flow});
    }
    const auto at_owner = apply(0);
    ASSERT_EQ(count<StopShare>(at_owner), 1U);
    EXPECT_EQ(std::get<StopShare>(at_owner.back()).share, &share);
    EXPECT_EQ(count<CloseShare>(apply(1)), 0U);
    table.advance();
    const auto at_helper = apply(1);
    ASSERT_EQ(at_helper.size(), 1U);
    EXPECT_EQ(std::get<CloseShare>(at_helper[0]).share, &share);
    EXPECT_EQ(memory.ring_packets_left(), 256U);
    settle();
    EXPECT_EQ(memory.ring_packets_left(), 320U);
    EXPECT_EQ(memory.retired(), 0U);
}

TEST_F(SharedStreamTest, HelperIsToldAfterTheOwnerHasStopped) {
    open_complete_share();
    add(1'000, 1'009);
    for (std::uint64_t flow = 1'000; flow <= 1'009; ++flow) {
        table.remove_flow(kA, FlowId{flow});
    }
    for (std::uint64_t flow = kSharedFrom / 2; flow <= kSharedFrom + 1; ++flow) {
        table.remove_flow(kA, FlowId{flow});
    }
    table.advance();  // the owner has not applied it
    EXPECT_EQ(count<CloseShare>(apply(1)), 0U);
    apply(0);
    table.advance();
    EXPECT_EQ(count<CloseShare>(apply(1)), 1U);
}

TEST_F(SharedStreamTest, ShareOpensAnewWhileTheOldOneCloses) {
    Stream& first = open_complete_share();
    for (std::uint64_t flow = kSharedFrom / 2; flow <= kSharedFrom + 1; ++flow) {
        table.remove_flow(kA, FlowId{flow});
    }
    add(2'000, 2'000 + kSharedFrom);
    EXPECT_FALSE(table.has_settled());
    ASSERT_TRUE(table.add_flow(kA, place(3'000), 0, 0).ok());
    table.advance();
    const auto commands = apply(1);
    EXPECT_EQ(count<CloseShare>(commands), 1U);
    EXPECT_EQ(memory.ring_packets_left(), 192U);
    EXPECT_NE(&first, stream);
}

TEST_F(SharedStreamTest, SharesCloseAfterTheStream) {
    Stream& share = open_complete_share();
    add(1'000, 1'009);
    table.close(kA);
    EXPECT_EQ(count<CloseStream>(apply(1)), 1U);
    table.advance();
    EXPECT_EQ(count<CloseStream>(apply(0)), 1U);
    EXPECT_TRUE(table.advance().closed.empty());
    const auto commands = apply(1);
    ASSERT_EQ(commands.size(), 1U);
    EXPECT_EQ(std::get<CloseShare>(commands[0]).share, &share);
    EXPECT_EQ(table.advance().closed, std::vector{kA});
    table.advance();
    EXPECT_EQ(memory.retired(), 0U);
    EXPECT_EQ(memory.ring_packets_left(), 384U);
    EXPECT_TRUE(table.has_settled());
}

TEST_F(SharedStreamTest, StreamClosesWithAShareThatStops) {
    open_complete_share();
    for (std::uint64_t flow = kSharedFrom / 2; flow <= kSharedFrom + 1; ++flow) {
        table.remove_flow(kA, FlowId{flow});
    }
    table.close(kA);
    EXPECT_EQ(settle().closed, std::vector{kA});
    EXPECT_EQ(settle().closed.size(), 0U);
    EXPECT_EQ(memory.retired(), 0U);
    EXPECT_EQ(memory.ring_packets_left(), 384U);
}

TEST_F(SharedStreamTest, GoesOnAloneWhenHistoryIsShort) {
    open(kB);  // half of all there is may not be shares'
    open(StreamId{3});
    settle();
    add(1, kSharedFrom + 10);
    EXPECT_EQ(memory.ring_packets_left(), 192U);
    EXPECT_EQ(add(1'000, 1'010), 0U);
}

TEST_F(SharedStreamTest, FiguresAreOfOwnerAndSharesWhateverBecomesOfThem) {
    Stream& share = open_complete_share();
    stream->counters.packets_in.set(10);
    stream->counters.copies.set(100);
    stream->counters.copy_bytes.set(1'000);
    stream->counters.ring_packets.set(5);
    share.counters.copies.set(20);
    share.counters.copy_bytes.set(200);
    share.counters.dropped.set(3);
    share.counters.ring_packets.set(5);
    for (int round = 0; round < 2; ++round) {
        const StreamTable::Figures figures = table.find(kA)->figures;
        EXPECT_EQ(figures.packets_in, 10U);
        EXPECT_EQ(figures.copies, 120U);
        EXPECT_EQ(figures.copy_bytes, 1'200U);
        EXPECT_EQ(figures.dropped, 3U);
        EXPECT_EQ(figures.ring_packets, 5U);
        for (std::uint64_t flow = 1; flow <= kSharedFrom + 1; ++flow) {
            table.remove_flow(kA, FlowId{flow});
        }
        settle();  // the share closes
    }
    EXPECT_EQ(memory.ring_packets_left(), 320U);
    EXPECT_EQ(table.copy_bytes(), 1'200U);
    table.close(kA);
    settle();
    EXPECT_EQ(table.copy_bytes(), 1'200U);
}

TEST_F(SharedStreamTest, HasSettledWhenTheShareIsComplete) {
    Stream& share = open_share();
    EXPECT_FALSE(table.has_settled());
    share.progress.complete.set(1);
    EXPECT_TRUE(table.has_settled());
    EXPECT_TRUE(table.add_flow(kA, place(5'000), 0, 0).ok());
    EXPECT_FALSE(table.has_settled());
}

TEST_F(StreamTableTest, OneWorkerAloneSharesNothing) {
    StreamTable alone(config(), memory, std::span{workers}.first(1));
    ASSERT_TRUE(alone.open(kA, "a").ok());
    for (std::uint64_t flow = 1; flow <= 3 * kSharedFrom; ++flow) {
        ASSERT_TRUE(alone.add_flow(kA, place(flow), 0, 0).ok());
    }
    EXPECT_EQ(count<AddFlow>(apply(0)), 3 * kSharedFrom);
    EXPECT_TRUE(apply(1).empty());
}

}  // namespace
}  // namespace penstock
