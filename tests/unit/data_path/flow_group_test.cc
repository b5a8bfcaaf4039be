#include "data_path/flow_group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <vector>

namespace penstock {
namespace {

/// A group with its memory, and flows whose headers name them.
class FlowGroupTest : public testing::Test {
  protected:
    FlowRecord& add(bool live = true) {
        const auto number = static_cast<std::uint16_t>(records_.size());
        FlowRecord& record = records_.emplace_back();
        const std::uint32_t flows = group_.live() + group_.catching_up();
        if (flows == 0 && few_ == nullptr) {
            few_ = std::make_unique<FlowPlaces<kFewFlows>>();
            group_.grow(FlowChunk::of(*few_), nullptr, 0);
        } else if (flows == (chunks_.empty() ? kFewFlows : chunks_.size() * kFlowsPerChunk)) {
            grow();
        }
        FlowHeaders headers{};
        headers.udp_port = number;
        group_.add_catching_up(record, headers);
        if (live) {
            group_.promote(record);
        }
        return record;
    }
    void grow() {
        chunks_.push_back(std::make_unique<FlowPlaces<kFlowsPerChunk>>());
        FlowChunk* directory = nullptr;
        if (chunks_.size() > 1 && chunks_.size() > directory_chunks_) {
            directory_chunks_ = directory_chunks_ == 0 ? 2 : directory_chunks_ * 2;
            directories_.push_back(std::make_unique<FlowChunk[]>(directory_chunks_));
            directory = directories_.back().get();
        }
        group_.grow(FlowChunk::of(*chunks_.back()),
                    directory,
                    static_cast<std::uint32_t>(directory_chunks_));
    }
    /// Every flow knows its place, and its headers went with it.
    void expect_consistent() {
        for (std::uint32_t i = 0; i < group_.live() + group_.catching_up(); ++i) {
            const FlowRecord& record = group_.record_at(i);
            EXPECT_EQ(record.position, i);
            EXPECT_EQ(&records_[group_.headers_of(i).udp_port], &record);
        }
    }
    /// The first `count` live flows in the order of service, as a set.
    std::vector<const FlowRecord*> first(std::uint32_t count) {
        std::vector<const FlowRecord*> flows;
        for (std::uint32_t i = 0; i < count; ++i) {
            flows.push_back(&group_.record_at(group_.position_of(i)));
        }
        std::sort(flows.begin(), flows.end());
        return flows;
    }

    /// The order of service is one of all live flows.
    void expect_every_place_taken_once() {
        for (std::uint32_t place = 0; place < group_.live(); ++place) {
            const std::uint32_t position = group_.position_of(place);
            EXPECT_LT(position, group_.live());
            EXPECT_EQ(group_.place_of(position), place);
        }
    }

    std::deque<FlowRecord> records_;
    std::unique_ptr<FlowPlaces<kFewFlows>> few_;
    std::vector<std::unique_ptr<FlowPlaces<kFlowsPerChunk>>> chunks_;
    std::vector<std::unique_ptr<FlowChunk[]>> directories_;
    std::size_t directory_chunks_ = 0;
    FlowGroup group_;
};

TEST_F(FlowGroupTest, KeepsFlowsSideBySideOverManyChunks) {
    for (int i = 0; i < 1000; ++i) {
        add();
    }
    EXPECT_EQ(group_.live(), 1000U);
    EXPECT_EQ(&group_.record_at(999), &records_[999]);
    expect_consistent();
}

TEST_F(FlowGroupTest, FewFlowsMoveToAChunkWithOneMore) {
    for (std::uint32_t i = 0; i < kFewFlows - 1; ++i) {
        add();
    }
    FlowRecord& joiner = add(false);
    EXPECT_EQ(&group_.headers_of(0), few_->headers.data());
    add();
    EXPECT_EQ(&group_.headers_of(0), chunks_[0]->headers.data());
    *few_ = {};  // nobody asks for it any more
    expect_consistent();
    EXPECT_EQ(group_.live(), kFewFlows);
    EXPECT_FALSE(group_.is_live(joiner));
}

TEST_F(FlowGroupTest, LiveFlowsStandBeforeThoseThatCatchUp) {
    add();
    FlowRecord& first_joiner = add(false);
    FlowRecord& second_joiner = add(false);
    FlowRecord& live = add();
    EXPECT_EQ(group_.live(), 2U);
    EXPECT_EQ(group_.catching_up(), 2U);
    EXPECT_TRUE(group_.is_live(live));
    EXPECT_FALSE(group_.is_live(first_joiner));
    group_.promote(second_joiner);
    EXPECT_TRUE(group_.is_live(second_joiner));
    EXPECT_EQ(second_joiner.position, 2U);
    expect_consistent();
}

TEST_F(FlowGroupTest, TakesTurnsAmongThoseThatCatchUp) {
    add();
    for (int i = 0; i < 3; ++i) {
        add(false);
    }
    std::vector<const FlowRecord*> turns;
    turns.reserve(3);
    for (int i = 0; i < 3; ++i) {
        turns.push_back(&group_.next_catching_up());
    }
    std::sort(turns.begin(), turns.end());
    EXPECT_EQ(std::adjacent_find(turns.begin(), turns.end()), turns.end());
}

TEST_F(FlowGroupTest, RemovalKeepsApartWhoHasHadThePacketAndWhoHasNot) {
    std::mt19937 random{20260101};
    for (int round = 0; round < 300; ++round) {
        records_.clear();
        group_ = {};
        few_.reset();
        chunks_.clear();
        directory_chunks_ = 0;
        const unsigned live = 1 + random() % 150;
        const unsigned joiners = random() % 5;
        for (unsigned i = 0; i < live; ++i) {
            add();
        }
        for (unsigned i = 0; i < joiners; ++i) {
            add(false);
        }
        for (unsigned packets = random() % 5; packets > 0; --packets) {
            group_.rotate();
        }
        std::uint32_t served = random() % (live + 1);
        std::vector<const FlowRecord*> had = first(served);
        std::vector<FlowRecord*> present;
        for (FlowRecord& record : records_) {
            present.push_back(&record);
        }
        std::shuffle(present.begin(), present.end(), random);
        for (FlowRecord* record : present) {
            group_.remove(*record, served);
            const auto found = std::lower_bound(had.begin(), had.end(), record);
            if (found != had.end() && *found == record) {
                had.erase(found);
            }
            ASSERT_EQ(first(served), had);
            expect_consistent();
            expect_every_place_taken_once();
        }
        EXPECT_EQ(group_.live() + group_.catching_up(), 0U);
    }
}

TEST_F(FlowGroupTest, EachPacketBeginsAChunkFurtherOnAndGoesRound) {
    for (int i = 0; i < 150; ++i) {
        add();
    }
    for (const std::uint32_t start : {0U, 64U, 128U, 0U, 64U}) {
        EXPECT_EQ(group_.position_of(0), start);
        expect_every_place_taken_once();
        group_.rotate();
    }
}

TEST_F(FlowGroupTest, FlowThatGoesLiveIsServedUntilTheFanOutIsBeyondTheLastPosition) {
    for (int i = 0; i < 150; ++i) {
        add();
    }
    group_.rotate();  // from position 64 on: 86 flows to the last
    EXPECT_FALSE(group_.has_wrapped(86));
    const FlowRecord& at_the_end = add();
    EXPECT_EQ(group_.place_of(at_the_end.position), 86U);
    EXPECT_FALSE(group_.has_wrapped(87));
    EXPECT_TRUE(group_.has_wrapped(88));
    const FlowRecord& too_late = add();
    EXPECT_LT(group_.place_of(too_late.position), 88U + 1U);
}

TEST_F(FlowGroupTest, NewHeadersReplaceTheOldOnesWhereverTheFlowStands) {
    add();
    FlowRecord& flow = add(false);
    FlowHeaders headers{};
    headers.udp_port = 77;
    group_.update(flow, headers);
    EXPECT_EQ(group_.headers_of(1).udp_port, 77);
    group_.promote(flow);
    EXPECT_EQ(group_.headers_of(flow.position).udp_port, 77);
}

TEST_F(FlowGroupTest, RefusesAFlowThereIsNoRoomFor) {
    for (std::uint32_t i = 0; i < kFlowsPerChunk; ++i) {
        add();
    }
    FlowRecord record{};
    EXPECT_DEATH(group_.add_catching_up(record, {}), "check failed");
    EXPECT_DEATH(group_.grow(FlowChunk::of(*chunks_[0]), nullptr, 1), "check failed");
}

}  // namespace
}  // namespace penstock
