#include "base/spsc_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace penstock {
namespace {

TEST(SpscRing, GivesBackInOrderAndAcrossTheWrap) {
    SpscRing<int> ring(4);
    int popped = -1;
    for (int i = 0; i < 11; ++i) {
        ASSERT_TRUE(ring.try_push(i));
        ASSERT_TRUE(ring.try_push(i + 100));
        ASSERT_TRUE(ring.try_pop(popped));
        EXPECT_EQ(popped, i);
        ASSERT_TRUE(ring.try_pop(popped));
        EXPECT_EQ(popped, i + 100);
    }
}

TEST(SpscRing, RefusesWhenFullAndTakesAgainAfterAPop) {
    SpscRing<int> ring(2);
    EXPECT_EQ(ring.capacity(), 2U);
    EXPECT_TRUE(ring.try_push(1));
    EXPECT_TRUE(ring.try_push(2));
    EXPECT_FALSE(ring.try_push(3));
    EXPECT_EQ(ring.size_estimate(), 2U);
    int popped = 0;
    EXPECT_TRUE(ring.try_pop(popped));
    EXPECT_TRUE(ring.try_push(3));
    EXPECT_TRUE(ring.try_pop(popped));
    EXPECT_EQ(popped, 2);
    EXPECT_TRUE(ring.try_pop(popped));
    EXPECT_EQ(popped, 3);
}

TEST(SpscRing, SaysHowManyMoreItTakes) {
    SpscRing<int> ring(4);
    EXPECT_EQ(ring.room(10), 4U);
    EXPECT_EQ(ring.room(3), 3U);
    EXPECT_TRUE(ring.try_push(1));
    EXPECT_TRUE(ring.try_push(2));
    EXPECT_EQ(ring.room(4), 2U);
    EXPECT_EQ(ring.room(0), 0U);
    int popped = 0;
    EXPECT_TRUE(ring.try_pop(popped));
    EXPECT_EQ(ring.room(2), 2U);  // all that was asked for is known to be free
    EXPECT_EQ(ring.room(4), 3U);
}

TEST(SpscRing, LeavesTheElementAloneWhenEmpty) {
    SpscRing<int> ring(1);
    int popped = 42;
    EXPECT_FALSE(ring.try_pop(popped));
    EXPECT_EQ(popped, 42);
    EXPECT_EQ(ring.size_estimate(), 0U);
}

TEST(SpscRing, LeavesAMoveOnlyElementWithTheCallerWhenFull) {
    SpscRing<std::unique_ptr<int>> ring(1);
    ASSERT_TRUE(ring.try_push(std::make_unique<int>(1)));
    auto second = std::make_unique<int>(2);
    EXPECT_FALSE(ring.try_push(std::move(second)));
    ASSERT_NE(second, nullptr);
    std::unique_ptr<int> popped;
    ASSERT_TRUE(ring.try_pop(popped));
    EXPECT_EQ(*popped, 1);
}

TEST(SpscRing, PopsInBulkWhatThereIs) {
    SpscRing<int> ring(8);
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(ring.try_push(i));
    }
    std::array<int, 3> three{};
    EXPECT_EQ(ring.pop_bulk(three), 3U);
    EXPECT_EQ(three, (std::array<int, 3>{0, 1, 2}));
    EXPECT_EQ(ring.pop_bulk(three), 2U);
    EXPECT_EQ(three, (std::array<int, 3>{3, 4, 2}));
    EXPECT_EQ(ring.pop_bulk(three), 0U);
    EXPECT_EQ(ring.pop_bulk({}), 0U);
}

TEST(SpscRing, AbortsOnACapacityThatIsNotAPowerOfTwo) {
    EXPECT_DEATH(SpscRing<int>(3), "check failed: std::has_single_bit");
    EXPECT_DEATH(SpscRing<int>(0), "check failed: std::has_single_bit");
}

TEST(SpscRing, CarriesEverythingOnceAndInOrderBetweenTwoThreads) {
    constexpr std::uint64_t kElements = 200'000;
    // Three words that must belong together: a torn or early read shows.
    struct Element {
        std::uint64_t number = 0;
        std::uint64_t twice = 0;
        std::uint64_t inverse = 0;
    };
    SpscRing<Element> ring(64);
    std::thread pushing([&ring] {
        for (std::uint64_t i = 0; i < kElements; ++i) {
            while (!ring.try_push(Element{i, 2 * i, ~i})) {
                std::this_thread::yield();
            }
        }
    });
    std::array<Element, 16> burst;
    std::uint64_t next = 0;
    std::uint64_t wrong = 0;
    while (next < kElements) {
        const std::size_t popped = ring.pop_bulk(burst);
        wrong += ring.size_estimate() > ring.capacity() ? 1 : 0;
        for (std::size_t i = 0; i < popped; ++i, ++next) {
            const Element& element = burst[i];
            const bool right =
                element.number == next && element.twice == 2 * next && element.inverse == ~next;
            wrong += right ? 0 : 1;
        }
        if (popped == 0) {
            std::this_thread::yield();
        }
    }
    pushing.join();
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(ring.size_estimate(), 0U);
}

TEST(SpscRing, MovesOwnershipBetweenTwoThreads) {
    constexpr int kElements = 20'000;
    SpscRing<std::unique_ptr<int>> ring(8);
    std::thread pushing([&ring] {
        for (int i = 0; i < kElements; ++i) {
            auto element = std::make_unique<int>(i);
            while (!ring.try_push(std::move(element))) {
                std::this_thread::yield();
            }
        }
    });
    int wrong = 0;
    for (int next = 0; next < kElements;) {
        std::unique_ptr<int> element;
        if (ring.try_pop(element)) {
            wrong += *element == next ? 0 : 1;
            ++next;
        } else {
            std::this_thread::yield();
        }
    }
    pushing.join();
    EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace penstock
