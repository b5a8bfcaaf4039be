#include "client/path_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr MonotonicTime kStart{1h};

/// A merge and what it has handed on.
class PathMergeTest : public testing::Test {
  public:
    void old_path(const std::string& text) {
        if (merge.take_old(std::as_bytes(std::span(text)), now)) {
            handed_on.push_back(text);
        }
        collect();
    }
    void new_path(const std::string& text) {
        merge.take_new(std::as_bytes(std::span(text)), 0ns, now);
        collect();
    }
    void pass(std::chrono::milliseconds duration) {
        now += duration;
        merge.look(now);
        collect();
    }
    void collect() {
        while (const auto held = merge.next()) {
            const std::vector<std::byte>& payload = (*held)->payload;
            handed_on.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
        }
        merge.release();
    }
    /// Both paths bring `content`: the new one from `first` on, `behind` datagrams later than the
    /// old one (before it, if negative).
    void run(const std::vector<std::string>& content, int first, int behind) {
        const int last = static_cast<int>(content.size());
        for (int at = std::min(0, behind); at < last + std::max(0, behind); ++at) {
            now += 1ms;
            if (at >= 0 && at < last) {
                old_path(content[static_cast<std::size_t>(at)]);
            }
            if (const int there = at - behind; there >= first && there < last) {
                new_path(content[static_cast<std::size_t>(there)]);
            }
        }
    }

    PathMerge merge;
    MonotonicTime now = kStart;
    std::vector<std::string> handed_on;
};

std::vector<std::string> numbered(int count) {
    std::vector<std::string> content;
    for (int i = 0; i < count; ++i) {
        content.push_back("datagram " + std::to_string(i));
    }
    return content;
}

TEST_F(PathMergeTest, HandsOnTheOldPathUntilTheNewOneIsFound) {
    for (const char* text : {"a", "b", "c", "d", "e", "f"}) {
        old_path(text);
    }
    new_path("d");
    new_path("e");
    EXPECT_FALSE(merge.is_over());
    old_path("g");
    EXPECT_THAT(handed_on, ElementsAre("a", "b", "c", "d", "e", "f", "g"));
}

TEST_F(PathMergeTest, GoesOverWhereTheNewPathIsLevel) {
    const auto content = numbered(100);
    run(content, 50, 0);
    EXPECT_EQ(handed_on, content);
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, GoesOverToAPathThatIsBehind) {
    const auto content = numbered(200);
    run(content, 50, 20);
    EXPECT_EQ(handed_on, content);
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, GoesOverToAPathThatIsAhead) {
    const auto content = numbered(200);
    run(content, 50, -20);
    EXPECT_EQ(handed_on, content);
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, WaitsWhileDatagramsRepeatUntilOneTells) {
    std::vector<std::string> content(300, "silence");
    content[100] = "a word";
    content[101] = "another";
    for (const int behind : {-5, 0, 5}) {
        SCOPED_TRACE(behind);
        merge = PathMerge();
        handed_on.clear();
        run(content, 60, behind);
        EXPECT_EQ(handed_on, content);
        EXPECT_TRUE(merge.is_done());
    }
}

TEST_F(PathMergeTest, DoesNotTakeOneOfManyEqualPlaces) {
    for (int i = 0; i < 50; ++i) {
        old_path("silence");
    }
    for (int i = 0; i < 20; ++i) {
        new_path("silence");
    }
    EXPECT_FALSE(merge.is_over());
    EXPECT_EQ(handed_on.size(), 50);
}

TEST_F(PathMergeTest, TakesThePlaceClosestInTimeIfNothingEverTells) {
    std::vector<std::string> content;
    for (int i = 0; i < 3000; ++i) {
        content.push_back("cycle " + std::to_string(i % 40));
    }
    run(content, 100, 3);
    EXPECT_EQ(handed_on, content) << "3 datagrams apart, not 37 or 43";
    EXPECT_TRUE(merge.is_over());
}

TEST_F(PathMergeTest, KeepsARepeatedDatagramAsOftenAsItCame) {
    std::vector<std::string> content = numbered(40);
    content.insert(content.begin() + 25, 3, "null");
    content.insert(content.begin() + 12, 2, "null");
    content.insert(content.end(), 4, "null");
    for (const int behind : {-3, 0, 3}) {
        merge = PathMerge();
        handed_on.clear();
        run(content, 8, behind);
        EXPECT_EQ(handed_on, content) << behind;
    }
}

TEST_F(PathMergeTest, EndsAtOnceIfTheOldPathHasEnded) {
    old_path("a");
    old_path("b");
    merge.end_old();
    new_path("b");
    new_path("c");
    EXPECT_THAT(handed_on, ElementsAre("a", "b", "c"));
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, DoesNotWaitLongForAnOldPathThatFellSilent) {
    old_path("a");
    new_path("x");
    new_path("y");
    pass(99ms);
    EXPECT_THAT(handed_on, ElementsAre("a"));
    EXPECT_EQ(merge.deadline(), kStart + 100ms);
    pass(1ms);
    EXPECT_THAT(handed_on, ElementsAre("a", "x", "y"));
    new_path("z");
    EXPECT_THAT(handed_on, ElementsAre("a", "x", "y", "z"));
}

TEST_F(PathMergeTest, LetsASlowStreamGoOverAtASingleDatagram) {
    old_path("a");
    new_path("a");
    pass(100ms);
    EXPECT_TRUE(merge.is_over());
    new_path("b");
    EXPECT_THAT(handed_on, ElementsAre("a", "b"));
}

TEST_F(PathMergeTest, IsOverWhenNeitherPathBringsAnything) {
    old_path("a");
    merge.open_new(now);
    old_path("b");
    EXPECT_EQ(merge.deadline(), kStart + 100ms);
    pass(100ms);
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, StaysWithTheOldPathWhileTheNewOneBringsNothing) {
    merge.open_new(now);
    for (int i = 0; i < 500; ++i) {
        pass(10ms);
        old_path("datagram " + std::to_string(i));
    }
    EXPECT_EQ(handed_on.size(), 500);
    EXPECT_FALSE(merge.is_over());
}

TEST_F(PathMergeTest, HoldsNoMoreThanItsBound) {
    for (std::size_t i = 0; i < PathMerge::kHeldMax; ++i) {
        old_path("silence");
        new_path("silence");
    }
    EXPECT_TRUE(merge.is_over());
}

TEST_F(PathMergeTest, DropsWhatTheOldPathBringsAfterwards) {
    run(numbered(20), 5, 0);
    ASSERT_TRUE(merge.is_over());
    const std::size_t before = handed_on.size();
    old_path("datagram 19");
    EXPECT_EQ(handed_on.size(), before);
}

TEST_F(PathMergeTest, GoesOnToAThirdPathFromTheMiddleOfGoingOver) {
    for (const char* text : {"a", "b", "c"}) {
        old_path(text);
    }
    new_path("c");
    new_path("d");
    merge.restart(now);
    collect();
    EXPECT_THAT(handed_on, ElementsAre("a", "b", "c", "d"));
    old_path("e");  // of the second path
    EXPECT_FALSE(merge.is_over());
    new_path("e");  // of the third
    new_path("f");
    merge.end_old();
    pass(0ms);
    EXPECT_THAT(handed_on, ElementsAre("a", "b", "c", "d", "e", "f"));
}

/// Paths that lose datagrams, lie apart, and carry content in which some repeat.
TEST(PathMergeLossTest, LosesOnlyWhatBothPathsOrThePathInUseLost) {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        std::vector<std::string> content;
        for (int i = 0; i < 600; ++i) {
            content.push_back(random() % 3 == 0 ? "null" : "datagram " + std::to_string(i));
        }
        const int behind = static_cast<int>(random() % 41) - 20;
        const bool old_loses = random() % 2 == 0;
        PathMerge merge;
        std::vector<std::string> handed_on;
        std::vector<std::string> expected;
        std::size_t lost = 0;
        MonotonicTime now = kStart;
        for (int at = -20; at < 620; ++at) {
            now += 1ms;
            if (at >= 0 && at < 600) {
                const std::string& text = content[static_cast<std::size_t>(at)];
                if (old_loses && random() % 50 == 0) {
                    ++lost;
                } else if (merge.take_old(std::as_bytes(std::span(text)), now)) {
                    handed_on.push_back(text);
                }
            }
            if (const int there = at - behind; there >= 200 && there < 600) {
                const std::string& text = content[static_cast<std::size_t>(there)];
                merge.take_new(std::as_bytes(std::span(text)), 0ns, now);
            }
            while (const auto held = merge.next()) {
                const std::vector<std::byte>& payload = (*held)->payload;
                handed_on.emplace_back(reinterpret_cast<const char*>(payload.data()),
                                       payload.size());
            }
            merge.release();
        }
        EXPECT_TRUE(merge.is_done());
        EXPECT_LE(handed_on.size(), content.size()) << "nothing twice";
        EXPECT_GE(handed_on.size() + lost, content.size());
        if (!old_loses) {
            EXPECT_EQ(handed_on, content);
        }
    }
}

}  // namespace
}  // namespace penstock
