#include "client/path_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

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
        while (const PathMerge::Held* held = merge.next()) {
            const std::vector<std::byte>& payload = held->payload;
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

TEST_F(PathMergeTest, GoesOverWhenThePathsHaveOverlapped) {
    const auto content = numbered(1200);
    run(content, 50, 0);
    EXPECT_EQ(handed_on, content);
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, GoesOverToAPathThatIsFarBehindOrAhead) {
    for (const int behind : {900, 300, -300, -900}) {
        SCOPED_TRACE(behind);
        merge = PathMerge();
        handed_on.clear();
        const auto content = numbered(4000);
        run(content, 1000, behind);
        EXPECT_EQ(handed_on, content);
        EXPECT_TRUE(merge.is_done());
    }
}

TEST_F(PathMergeTest, GoesByTheFewDatagramsThatDoNotRepeat) {
    std::vector<std::string> content(1500, "silence");
    content[300] = "a word";
    content[301] = "another";
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
    std::vector<std::string> content = numbered(1300);
    for (const int at : {1200, 1061, 1060, 1059, 1057, 30, 25, 24, 23, 12}) {
        content.insert(content.begin() + at, 3, "null");
    }
    for (const int behind : {-3, 0, 3}) {
        merge = PathMerge();
        handed_on.clear();
        run(content, 8, behind);
        EXPECT_EQ(handed_on, content) << behind;
    }
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
    const std::string text(65'536, 'x');
    old_path("first");
    for (std::size_t held = 0; held + 65'536 < PathMerge::kHeldBytesMax; held += 65'536) {
        EXPECT_TRUE(merge.is_searching());
        new_path(text);
    }
    new_path(text);
    EXPECT_TRUE(merge.is_over());
}

TEST_F(PathMergeTest, HoldsManySmallDatagrams) {
    for (int i = 0; i < 50'000; ++i) {
        now += 10us;
        old_path(std::to_string(i));
        new_path(std::to_string(i - 20'000));  // 200 ms behind
    }
    EXPECT_TRUE(merge.is_searching());
    for (int i = 50'000; i < 150'000; ++i) {
        now += 10us;
        old_path(std::to_string(i));
        new_path(std::to_string(i - 20'000));
    }
    EXPECT_TRUE(merge.is_done());
    ASSERT_EQ(handed_on.size(), 130'000);
    EXPECT_EQ(handed_on.back(), "129999");
}

TEST_F(PathMergeTest, DropsWhatTheOldPathBringsAfterwards) {
    run(numbered(1200), 5, 0);
    ASSERT_TRUE(merge.is_over());
    const std::size_t before = handed_on.size();
    old_path("datagram 1200");
    EXPECT_EQ(handed_on.size(), before);
}

/// The old path lacks the datagrams of the first gap, the new one, 500 behind, those of the second.
void run_with_gaps(PathMergeTest& test, int old_gap, int new_gap) {
    const auto content = numbered(3000);
    for (int at = 0; at < 3500; ++at) {
        test.now += 1ms;
        if (at < 3000 && (at < 1100 || at >= 1100 + old_gap)) {
            test.old_path(content[static_cast<std::size_t>(at)]);
        }
        const int there = at - 500;
        if (there >= 100 && (there < 1250 || there >= 1250 + new_gap)) {
            test.new_path(content[static_cast<std::size_t>(there)]);
        }
    }
}

TEST_F(PathMergeTest, FollowsThePathOverManyDatagramsLostInARow) {
    run_with_gaps(*this, 50, 0);
    EXPECT_EQ(handed_on.size(), 3000) << "what the old path lost came late";
    merge = PathMerge();
    handed_on.clear();
    run_with_gaps(*this, 0, 100);
    EXPECT_EQ(handed_on, numbered(3000));
    EXPECT_TRUE(merge.is_done());
}

TEST_F(PathMergeTest, FollowsNoPathThatBringsSomethingElse) {
    run_with_gaps(*this, 400, 0);
    EXPECT_TRUE(merge.is_done());
    EXPECT_GE(handed_on.size(), 3000) << "nothing is lost, some of it comes twice";

    merge = PathMerge();
    const auto content = numbered(1301);
    for (std::size_t i = 0; i < content.size(); ++i) {
        now += 1ms;
        old_path(content[i]);
        if (i >= 300) {
            new_path(content[i - 300]);
        }
    }
    EXPECT_FALSE(merge.is_searching());
    EXPECT_FALSE(merge.is_over());
    for (std::size_t i = 0; i < PathMerge::kMissesMax + 3 * PathMerge::kNear; ++i) {
        new_path("something else " + std::to_string(i));
    }
    EXPECT_TRUE(merge.is_over());
}

TEST_F(PathMergeTest, KeepsARepeatedDatagramNextToSwappedOnes) {
    for (const std::string& text : numbered(20)) {
        old_path(text);
        new_path(text);
    }
    old_path("a");
    old_path("null");
    new_path("null");
    new_path("a");
    pass(100ms);
    handed_on.clear();
    new_path("null");
    new_path("b");
    EXPECT_THAT(handed_on, ElementsAre("null", "b"));
}

TEST_F(PathMergeTest, StaysWithTheOldPath) {
    old_path("a");
    new_path("a");
    new_path("b");
    merge.stay();
    EXPECT_TRUE(merge.is_done());
    new_path("c");
    EXPECT_THAT(handed_on, ElementsAre("a", "c"));
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
    pass(100ms);
    EXPECT_THAT(handed_on, ElementsAre("a", "b", "c", "d", "e", "f"));
}

/// What a path does to the content.
struct Faults {
    bool loses = false;
    bool swaps = false;
};

/// Content on two paths, the new one joined at `first` and `behind` datagrams, of 1 ms each, later
/// than the old one.
struct Course {
    std::vector<std::string> content;
    int first = 200;
    int behind = 0;
    Faults of_old;
    Faults of_new;
    std::uint64_t seed = 0;

    // Filled by run().
    std::vector<std::size_t> old_arrivals;  // of content, in the order in which they came
    std::vector<std::size_t> new_arrivals;
    std::vector<std::string> handed_on;
    std::size_t from_old = 0;  // of them, handed on directly
    bool is_done = false;

    void run();
    [[nodiscard]] std::string name() const {
        const auto faults = [](const Faults& of) {
            return std::string(of.loses ? " loses" : "") + (of.swaps ? " swaps" : "");
        };
        return "first " + std::to_string(first) + " behind " + std::to_string(behind) + " seed " +
               std::to_string(seed) + ", old" + faults(of_old) + ", new" + faults(of_new);
    }
};

/// Which datagram comes at each time; none where one is lost.
std::vector<std::optional<std::size_t>> come_by(std::size_t count,
                                                const Faults& faults,
                                                std::mt19937_64& random) {
    std::vector<std::optional<std::size_t>> arrivals(count);
    for (std::size_t i = 0; i < count; ++i) {
        arrivals[i] = i;
    }
    for (std::size_t i = 0; faults.swaps && i + 1 < count; ++i) {
        if (random() % 50 == 0) {
            std::swap(arrivals[i], arrivals[i + 1]);
            ++i;
        }
    }
    for (auto& arrival : arrivals) {
        if (faults.loses && random() % 50 == 0) {
            arrival.reset();
        }
    }
    return arrivals;
}

void Course::run() {
    std::mt19937_64 random(seed);
    const auto on_old = come_by(content.size(), of_old, random);
    const auto on_new = come_by(content.size(), of_new, random);
    const int last = static_cast<int>(content.size());
    PathMerge merge;
    MonotonicTime now = kStart;
    const auto at_time = [](const auto& arrivals, int at) {
        return at >= 0 && at < static_cast<int>(arrivals.size())
                   ? arrivals[static_cast<std::size_t>(at)]
                   : std::nullopt;
    };
    for (int at = -200; at < last + 1000; ++at) {
        now += 1ms;
        if (const auto index = at_time(on_old, at)) {
            old_arrivals.push_back(*index);
            if (merge.take_old(std::as_bytes(std::span(content[*index])), now)) {
                handed_on.push_back(content[*index]);
                from_old = old_arrivals.size();
            }
        }
        const auto index = at_time(on_new, at - behind);
        if (index && at - behind >= first) {
            new_arrivals.push_back(*index);
            merge.take_new(std::as_bytes(std::span(content[*index])), 0ns, now);
        }
        merge.look(now);
        while (const PathMerge::Held* held = merge.next()) {
            const std::vector<std::byte>& payload = held->payload;
            handed_on.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
        }
        merge.release();
    }
    is_done = merge.is_done();
}

constexpr int kFaultKinds = 16;  // each path loses or not, swaps or not

std::vector<Course> courses(int fault_kinds, int repeats) {
    std::vector<Course> all;
    std::uint64_t seed = 0;
    for (const int behind : {0, 1, -1, 4, -4, 10, -10, 16, -16, 100, -100}) {
        for (int faults = 0; faults < fault_kinds; ++faults) {
            for (int repeat = 0; repeat < repeats; ++repeat) {
                Course course;
                course.behind = behind;
                course.of_old = {(faults & 1) != 0, (faults & 2) != 0};
                course.of_new = {(faults & 4) != 0, (faults & 8) != 0};
                course.seed = ++seed;
                all.push_back(course);
            }
        }
    }
    return all;
}

/// What each datagram of content, if it does not repeat, is to become; and their order.
void expect_each_once(const Course& course) {
    const auto& content = course.content;
    std::unordered_map<std::string, std::size_t> index_of;
    for (std::size_t i = 0; i < content.size(); ++i) {
        index_of[content[i]] = i;
    }
    std::vector<int> times(content.size(), 0);
    std::vector<bool> on_old(content.size(), false);
    std::vector<bool> on_new(content.size(), false);
    std::size_t switched_at = 0;  // nothing from here on was taken from the old path
    for (std::size_t n = 0; n < course.old_arrivals.size(); ++n) {
        if (n < course.from_old) {
            on_old[course.old_arrivals[n]] = true;
            switched_at = std::max(switched_at, course.old_arrivals[n] + 1);
        }
    }
    for (const std::size_t index : course.new_arrivals) {
        on_new[index] = true;
    }
    std::size_t newest = 0;
    for (const std::string& text : course.handed_on) {
        if (text == "null") {
            continue;
        }
        const std::size_t index = index_of.at(text);
        ++times[index];
        if (on_old[index] || index >= switched_at) {  // else it was lost there, and comes late
            if (newest > index + 2) {
                ADD_FAILURE() << text << " is out of order";
            }
            newest = std::max(newest, index);
        }
    }
    const auto joined = static_cast<std::size_t>(course.first) + 3;
    for (std::size_t i = 0; i < content.size(); ++i) {
        if (content[i] == "null") {
            continue;
        }
        if (times[i] > 1) {
            ADD_FAILURE() << content[i] << " was handed on twice";
        }
        if (times[i] == 0 && (on_old[i] || (on_new[i] && i >= joined))) {
            ADD_FAILURE() << content[i] << " was lost";
        }
    }
    EXPECT_TRUE(course.is_done);
}

/// Nulls that one path or the other did not bring.
std::ptrdiff_t nulls_lost(const Course& course) {
    std::ptrdiff_t lost = 2 * std::ranges::count(course.content, "null");
    for (const auto* arrivals : {&course.old_arrivals, &course.new_arrivals}) {
        lost -= std::ranges::count_if(
            *arrivals, [&](std::size_t index) { return course.content[index] == "null"; });
    }
    return lost - std::count(course.content.begin(), course.content.begin() + course.first, "null");
}

TEST(PathMergePropertyTest, HandsOnEachOfUniqueDatagramsOnce) {
    for (Course& course : courses(kFaultKinds, 2)) {
        SCOPED_TRACE(course.name());
        course.content = numbered(2000);
        course.run();
        expect_each_once(course);
        if (testing::Test::HasFailure()) {
            break;  // one case tells; the rest would bury it
        }
    }
}

TEST(PathMergePropertyTest, HandsOnEachOnceAmongDatagramsThatRepeat) {
    for (Course& course : courses(kFaultKinds, 2)) {
        SCOPED_TRACE(course.name());
        std::mt19937_64 random(course.seed);
        course.content = numbered(2000);
        for (std::string& text : course.content) {
            text = random() % 3 == 0 ? "null" : text;
        }
        course.run();
        expect_each_once(course);
        const auto nulls = [](const std::vector<std::string>& of) {
            return std::ranges::count(of, "null");
        };
        // One that the old path lost cannot be told from the next one, so it stays lost.
        EXPECT_GE(nulls(course.handed_on) + nulls_lost(course), nulls(course.content));
        EXPECT_LE(nulls(course.handed_on), nulls(course.content) + 4);
        if (testing::Test::HasFailure()) {
            break;
        }
    }
}

TEST(PathMergePropertyTest, IsExactWithoutFaults) {
    for (Course& course : courses(1, 1)) {
        for (const int nulls_of_ten : {0, 3, 9}) {
            SCOPED_TRACE(course.name() + ", nulls of ten: " + std::to_string(nulls_of_ten));
            Course exact = course;
            std::mt19937_64 random(course.seed);
            exact.content = numbered(2000);
            for (std::string& text : exact.content) {
                text = static_cast<int>(random() % 10) < nulls_of_ten ? "null" : text;
            }
            exact.run();
            EXPECT_EQ(exact.handed_on, exact.content);
            EXPECT_TRUE(exact.is_done);
        }
    }
}

std::vector<std::string> rounds(int period, int count) {
    std::vector<std::string> content;
    for (int i = 0; i < count; ++i) {
        content.push_back("round " + std::to_string(i % period));
    }
    return content;
}

TEST(PathMergePropertyTest, GoesOnWithoutASeamInContentThatGoesRound) {
    for (const int period : {7, 40, 64, 250, 700, 1500}) {
        for (const int first : {50, 60, 200}) {
            for (Course& course : courses(1, 1)) {
                course.first = first;
                course.content = rounds(period, 3000);
                SCOPED_TRACE(course.name() + ", period " + std::to_string(period));
                course.run();
                EXPECT_TRUE(course.is_done);
                if (2 * std::abs(course.behind) < period) {
                    EXPECT_EQ(course.handed_on.size(), course.content.size());
                }
                // Further apart than half a round, whole rounds of equal content may be missing.
                const auto apart = static_cast<std::size_t>(std::abs(course.behind)) +
                                   static_cast<std::size_t>(period);
                EXPECT_GE(course.handed_on.size() + apart, course.content.size());
                const auto seamless = rounds(period, static_cast<int>(course.handed_on.size()));
                EXPECT_EQ(course.handed_on, seamless);
            }
        }
    }
}

TEST(PathMergePropertyTest, KeepsToTheRightRoundWithFaults) {
    for (const int period : {40, 250}) {
        for (Course& course : courses(kFaultKinds, 1)) {
            if (2 * std::abs(course.behind) + 4 >= period) {
                continue;
            }
            course.content = rounds(period, 3000);
            SCOPED_TRACE(course.name() + ", period " + std::to_string(period));
            course.run();
            EXPECT_TRUE(course.is_done);
            const auto lost_on = [&](const std::vector<std::size_t>& arrivals, int first) {
                return course.content.size() - static_cast<std::size_t>(first) - arrivals.size();
            };
            const std::size_t lost =
                lost_on(course.old_arrivals, 0) + lost_on(course.new_arrivals, course.first);
            EXPECT_GE(course.handed_on.size() + lost, course.content.size());
            EXPECT_LE(course.handed_on.size(), course.content.size() + 4);
        }
    }
}

}  // namespace
}  // namespace penstock
