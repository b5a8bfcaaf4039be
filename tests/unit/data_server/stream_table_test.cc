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
            apply(0);
            apply(1);
        }
        return all;
    }

    FlowPlace place(std::uint64_t flow) {
        return {FlowId{flow}, 0, {IpAddress::v4(0x0a5b0001), 20'000}, kClient, MacAddress{}};
    }

    StreamMemory memory{192, -1};
    StreamTable table{config(), memory, workers};
};

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
    for (std::uint64_t flow = 2; flow <= kFlowsPerChunk; ++flow) {
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
    settle();
    const_cast<StreamCounters&>(table.find(kA)->counters).copy_bytes.set(1'000);
    EXPECT_EQ(table.copy_bytes(), 1'000U);
    table.close(kA);
    settle();
    EXPECT_EQ(table.copy_bytes(), 1'000U);
}

}  // namespace
}  // namespace penstock
