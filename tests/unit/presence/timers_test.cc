#include "presence/timers.h"

#include "presence/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <malloc.h>
#include <map>
#include <random>
#include <unordered_map>
#include <vector>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;

using testing::UnorderedElementsAre;

/// At most one deadline per key.
class TestTimers {
  public:
    void set(SessionId key, MonotonicTime at) {
        queue_.set(entries_, key, entries_[key].deadline, at);
    }
    void clear(SessionId key) {
        entries_.erase(key);
        queue_.forget(entries_, key);
    }
    [[nodiscard]] MonotonicTime next() const { return queue_.next(); }
    std::vector<SessionId> take_due(MonotonicTime now) { return queue_.take_due(entries_, now); }

  private:
    struct Entry {
        Deadline deadline;
    };
    std::unordered_map<SessionId, Entry, IdHash> entries_;
    TimerQueue<SessionId> queue_;
};

constexpr MonotonicTime kStart{1h};

TEST(Timers, GiveWhatIsDueAndKnowWhatIsNext) {
    TestTimers timers;
    timers.set(SessionId{1}, kStart + 3s);
    timers.set(SessionId{2}, kStart + 1s);
    timers.set(SessionId{3}, kStart + 2s);
    EXPECT_EQ(timers.next(), kStart + 1s);
    timers.set(SessionId{4}, kStart + 2s + 1us);
    EXPECT_THAT(timers.take_due(kStart + 2s), UnorderedElementsAre(SessionId{2}, SessionId{3}));
    EXPECT_EQ(timers.take_due(kStart + 2s), std::vector<SessionId>());
    EXPECT_EQ(timers.next(), kStart + 2s + 1us);
}

TEST(Timers, KnowTheNextDeadlineExactlyAfterOneMovedLater) {
    TestTimers timers;
    timers.set(SessionId{1}, kStart + 1s);
    timers.set(SessionId{2}, kStart + 2s);
    timers.set(SessionId{1}, kStart + 5s);
    EXPECT_EQ(timers.next(), kStart + 2s);
    timers.clear(SessionId{2});
    EXPECT_EQ(timers.next(), kStart + 5s);
    timers.set(SessionId{1}, kNever);
    EXPECT_EQ(timers.next(), kNever);
}

TEST(Timers, TakeADeadlineThatHasPassed) {
    TestTimers timers;
    timers.set(SessionId{1}, kStart + 1s);
    EXPECT_EQ(timers.take_due(kStart + 2s).size(), 1);
    timers.set(SessionId{1}, kStart + 3s);
    timers.set(SessionId{2}, kStart);
    EXPECT_EQ(timers.next(), kStart);
    EXPECT_EQ(timers.take_due(kStart + 2s), std::vector{SessionId{2}});
}

TEST(Timers, KeepNoMemoryOfACrowdWhereItHasBeen) {
    constexpr std::uint64_t kCrowd = 20'000;
    TestTimers timers;
    MonotonicTime now = kStart;
    const auto move_all = [&](int times) {
        for (int i = 0; i < times; ++i) {
            for (std::uint64_t key = 1; key <= kCrowd; ++key) {
                timers.set(SessionId{key}, now + 1s);
            }
            now += 1s;
            ASSERT_EQ(timers.take_due(now).size(), kCrowd);
        }
    };
    move_all(5);
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    move_all(100);
    constexpr std::size_t kCrowdBytes = kCrowd * 16;
    EXPECT_LT(mallinfo2().uordblks + mallinfo2().hblkhd, before + 3 * kCrowdBytes);
}

TEST(Timers, LetACrowdGoInTimeThatDoesNotGrowWithItsSquare) {
    constexpr std::uint64_t kCrowd = 600'000;  // the square takes longer than the test may
    TestTimers timers;
    for (std::uint64_t key = 1; key <= kCrowd; ++key) {
        timers.set(SessionId{key}, kStart + 1s);
    }
    for (std::uint64_t key = 1; key <= kCrowd; ++key) {
        timers.clear(SessionId{key});
    }
    EXPECT_EQ(timers.next(), kNever);
}

TEST(Timers, AgreeWithAPlainTableWhateverIsDone) {
    std::mt19937_64 random(7);
    TestTimers timers;
    std::map<SessionId, MonotonicTime> expected;
    MonotonicTime now = kStart;
    for (int i = 0; i < 200'000; ++i) {
        const SessionId key{1 + random() % 50};
        switch (random() % 8) {
            case 0:
                timers.clear(key);
                expected.erase(key);
                break;
            case 1:
                timers.set(key, kNever);
                expected.erase(key);
                break;
            case 2: {
                // Now and then further than what is kept in a row.
                now += std::chrono::microseconds(random() % (i % 100 == 0 ? 20'000'000 : 400'000));
                for (const SessionId due : timers.take_due(now)) {
                    ASSERT_TRUE(expected.contains(due));
                    ASSERT_LE(expected.at(due), now);
                    expected.erase(due);
                }
                break;
            }
            default:
                const auto range = i % 16 == 0 ? 3600s : 3s;
                const MonotonicTime at =
                    now +
                    std::chrono::nanoseconds(random() % std::chrono::nanoseconds(range).count());
                // Many at one time, too.
                const MonotonicTime rounded =
                    i % 2 == 0 ? at : std::chrono::floor<std::chrono::milliseconds>(at);
                timers.set(key, std::max(rounded, now));
                expected[key] = std::max(rounded, now);
        }
        MonotonicTime earliest = kNever;
        for (const auto& [id, at] : expected) {
            earliest = std::min(earliest, at);
        }
        ASSERT_EQ(timers.next(), earliest) << "move " << i;
    }
}

}  // namespace
}  // namespace penstock::presence
