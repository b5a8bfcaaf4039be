#include "data_server/stream_memory.h"

#include "data_path/shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace penstock {
namespace {

using testing::HasSubstr;

StreamSpec spec(std::uint32_t ring_packets = 100, std::uint8_t owner = 0) {
    return {
        .udp_port = 20000, .owner = owner, .ring_packets = ring_packets, .ring_bytes = 1U << 20U};
}

TEST(StreamMemory, MakesAStreamAsAsked) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec(100, 3));
    EXPECT_EQ(stream->udp_port, 20000);
    EXPECT_EQ(stream->owner, 3);
    EXPECT_EQ(stream->port_count, 2);
    EXPECT_EQ(stream->ring.packets_max(), 100U);
    EXPECT_EQ(stream->ring.packets(), 0U);
    EXPECT_EQ(stream->publisher, Endpoint{});
}

TEST(StreamMemory, GrantsNoMoreHistoryThanTheBudget) {
    StreamMemory memory{250, 2, 0};
    ASSERT_TRUE(memory.make_stream(spec(100)).ok());
    Stream* second = *memory.make_stream(spec(100));
    EXPECT_EQ(memory.ring_packets_left(), 50U);
    const Result<Stream*> third = memory.make_stream(spec(100));
    ASSERT_FALSE(third.ok());
    EXPECT_EQ(third.error().code, ErrorCode::exhausted);
    EXPECT_THAT(third.error().message, HasSubstr("50 packets of history are left"));
    memory.retire_stream(*second, 1);
    EXPECT_EQ(memory.ring_packets_left(), 50U);  // the worker has it still
    memory.reclaim(0, 1);
    EXPECT_EQ(memory.ring_packets_left(), 150U);
    EXPECT_TRUE(memory.make_stream(spec(100)).ok());
}

TEST(StreamMemory, HalfOfTheHistoryIsNotForShares) {
    StreamMemory memory{500, 2, 0};
    StreamSpec share = spec(100, 1);
    share.fed_by = 0;
    ASSERT_TRUE(memory.make_stream(spec(100)).ok());
    const Result<Stream*> made = memory.make_stream(share);
    ASSERT_TRUE(made.ok());
    EXPECT_TRUE((*made)->is_share());
    EXPECT_EQ((*made)->fed_by, 0);
    // All that may be on its way to a share fits, whatever the limit in bytes.
    EXPECT_GE((*made)->ring.bytes_max(), std::uint64_t{kShareWindowPackets} * 65'507);
    EXPECT_EQ((*made)->feed.helper, 1);
    const Result<Stream*> second = memory.make_stream(share);
    ASSERT_FALSE(second.ok());
    EXPECT_THAT(second.error().message, HasSubstr("50 packets of history are left"));
    EXPECT_TRUE(memory.make_stream(spec(100)).ok());
    EXPECT_TRUE(memory.make_stream(spec(100)).ok());
    EXPECT_FALSE(memory.make_stream(share).ok());
}

TEST(StreamMemory, MakesRoomAChunkAtATimeOnEachPort) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec());
    for (std::uint32_t flow = 0; flow < 3 * kFlowsPerChunk; ++flow) {
        const auto grow = *memory.reserve_flow(*stream, 0, flow);
        EXPECT_EQ(grow.has_value(), flow % kFlowsPerChunk == 0 || flow == kFewFlows) << flow;
        if (grow) {
            EXPECT_NE(grow->chunk.headers, nullptr);
            EXPECT_EQ(grow->chunk.places, flow == 0 ? kFewFlows : kFlowsPerChunk);
            EXPECT_EQ(grow->directory != nullptr, flow == kFlowsPerChunk);
            EXPECT_EQ(grow->port, 0);
        }
    }
    EXPECT_TRUE(memory.reserve_flow(*stream, 1, 1)->has_value());
}

TEST(StreamMemory, RoomOfTheFewFirstFlowsComesBackWithTheCommandThatReplacesIt) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec());
    const auto first = *memory.reserve_flow(*stream, 0, 1);
    for (std::uint32_t flow = 1; flow < kFewFlows; ++flow) {
        EXPECT_FALSE(memory.reserve_flow(*stream, 0, 2)->has_value());
    }
    EXPECT_EQ(memory.retired(), 0U);
    EXPECT_TRUE(memory.reserve_flow(*stream, 0, 2)->has_value());
    EXPECT_EQ(memory.retired(), 1U);
    memory.reclaim(0, 1);
    EXPECT_EQ(memory.retired(), 1U);
    memory.reclaim(0, 2);
    EXPECT_EQ(memory.retired(), 0U);
    EXPECT_EQ((*memory.reserve_flow(*stream, 1, 3))->chunk.headers, first->chunk.headers);
}

TEST(StreamMemory, DirectoryGrowsAndTheOldOneComesBackWithTheCommand) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec());
    std::uint64_t command = 0;
    unsigned directories = 0;
    for (std::uint32_t flow = 0; flow < 9 * kFlowsPerChunk; ++flow) {
        const auto grow = *memory.reserve_flow(*stream, 0, command + 1);
        if (grow) {
            memory.reclaim(0, command);
            ++command;
            directories += grow->directory != nullptr ? 1 : 0;
        }
    }
    EXPECT_EQ(directories, 2U);  // of 8 chunks, then of 16
    EXPECT_EQ(memory.retired(), 1U);
    memory.reclaim(0, command - 1);
    EXPECT_EQ(memory.retired(), 1U);
    memory.reclaim(0, command);
    EXPECT_EQ(memory.retired(), 0U);
}

TEST(StreamMemory, EndsWellThoughTheLastCommandsWereNeverApplied) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec());
    FlowGroup& group = stream->groups[0];
    unsigned grown = 0;  // few flows, a chunk in their place, more of them
    for (std::uint32_t flow = 0; flow < 9 * kFlowsPerChunk; ++flow) {
        const auto grow = *memory.reserve_flow(*stream, 0, flow + 1);
        if (grow && ++grown <= 9) {  // the tenth comes with a new directory
            group.grow(grow->chunk, grow->directory, grow->directory_chunks);
        }
        if (grown <= 9) {
            group.add_catching_up(**memory.make_flow(), FlowHeaders{});
        }
    }
    EXPECT_EQ(memory.retired(), 2U);  // the few flows, the directory that the group still has
}

TEST(StreamMemory, RoomOfAFlowThatLeftIsUsedAgain) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec());
    for (std::uint32_t flow = 0; flow < kFewFlows; ++flow) {
        ASSERT_TRUE(memory.reserve_flow(*stream, 0, 1).ok());
    }
    FlowRecord* record = *memory.make_flow();
    memory.retire_flow(*stream, 0, record, 5);
    EXPECT_FALSE(memory.reserve_flow(*stream, 0, 6)->has_value());
    memory.reclaim(0, 4);
    EXPECT_EQ(memory.retired(), 1U);
    memory.reclaim(1, 100);  // another worker
    EXPECT_EQ(memory.retired(), 1U);
    memory.reclaim(0, 5);
    EXPECT_EQ(memory.retired(), 0U);
    EXPECT_TRUE(memory.reserve_flow(*stream, 0, 6)->has_value());
}

TEST(StreamMemory, RecordOfAFlowThatLeftIsUsedAgainOnceTheWorkerHasLetGo) {
    StreamMemory memory{1000, 2, 0};
    Stream* stream = *memory.make_stream(spec());
    ASSERT_TRUE(memory.reserve_flow(*stream, 0, 1).ok());
    FlowRecord* record = *memory.make_flow();
    record->lost_base = 3;
    memory.retire_flow(*stream, 0, record, 5);
    EXPECT_NE(*memory.make_flow(), record);
    memory.reclaim(0, 5);
    FlowRecord* again = *memory.make_flow();
    EXPECT_EQ(again, record);
    EXPECT_EQ(again->lost_base, 0U);
}

TEST(StreamMemory, StreamWithoutHistoryHasARingForWhatIsOnItsWay) {
    StreamMemory memory{100, 2, 0};
    Stream* stream = *memory.make_stream(spec(0));
    EXPECT_FALSE(stream->keeps_history);
    EXPECT_EQ(stream->ring.packets_max(), kUnkeptPackets);
    EXPECT_EQ(memory.ring_packets_left(), 100U - kUnkeptPacketsGranted);
    memory.retire_stream(*stream, 1);
    memory.reclaim(0, 1);
    EXPECT_EQ(memory.ring_packets_left(), 100U);
}

TEST(StreamMemory, SaysSoWhenThereIsNoneLeft) {
    StreamMemory memory{0xffffffff, 2, 0};
    const Result<Stream*> stream = memory.make_stream(spec(1U << 30U));
    ASSERT_FALSE(stream.ok());
    EXPECT_EQ(stream.error().code, ErrorCode::exhausted);
    EXPECT_THAT(stream.error().message, HasSubstr("--memory"));
    EXPECT_EQ(memory.ring_packets_left(), 0xffffffffU);
}

}  // namespace
}  // namespace penstock
