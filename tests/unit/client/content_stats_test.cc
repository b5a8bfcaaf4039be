#include "penstock_consume/content_stats.h"

#include "unit/client/ts_test_stream.h"

#include <penstock/test_content.h>

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

using Bytes = std::vector<std::byte>;

Bytes test_content(std::uint64_t sequence,
                   std::uint64_t sent_at_ns = 0,
                   std::uint64_t run = 1,
                   std::size_t bytes = 100) {
    Bytes payload(bytes);
    write_test_content(payload, {.run = run, .sequence = sequence, .sent_at_unix_ns = sent_at_ns});
    return payload;
}

Bytes rtp(std::uint16_t sequence,
          std::uint32_t timestamp = 0,
          std::uint32_t source = 5,
          std::uint8_t type = 96) {
    Bytes payload(200);
    const auto put = [&](std::size_t at, std::size_t size, std::uint64_t value) {
        for (std::size_t i = 0; i < size; ++i) {
            payload[at + i] = static_cast<std::byte>(value >> (8 * (size - 1 - i)) & 0xffU);
        }
    };
    put(0, 1, 0x80);
    put(1, 1, type);
    put(2, 2, sequence);
    put(4, 4, timestamp);
    put(8, 4, source);
    return payload;
}

TEST(TestContentTest, ReadsWhatItWrote) {
    for (const std::size_t bytes : {32U, 33U, 39U, 40U, 41U, 1316U, 1472U}) {
        const Bytes payload = test_content(77, 123, 9, bytes);
        const auto head = read_test_content(payload);
        ASSERT_TRUE(head);
        EXPECT_EQ(head->run, 9U);
        EXPECT_EQ(head->sequence, 77U);
        EXPECT_EQ(head->sent_at_unix_ns, 123U);
        EXPECT_TRUE(test_content_is_intact(payload));
    }
}

TEST(TestContentTest, NoticesEveryChangedByte) {
    const Bytes good = test_content(3);
    for (std::size_t i = kTestContentBytesMin; i < good.size(); ++i) {
        Bytes bad = good;
        bad[i] ^= std::byte{1};
        EXPECT_FALSE(test_content_is_intact(bad)) << i;
    }
    Bytes renumbered = good;
    renumbered[23] ^= std::byte{1};
    EXPECT_FALSE(test_content_is_intact(renumbered));
    EXPECT_FALSE(read_test_content(std::span(good).first(31)));
    EXPECT_FALSE(read_test_content(Bytes(100)));
}

struct Outcome {
    std::uint64_t lost, duplicates, reordered;
    bool operator==(const Outcome&) const = default;
};
std::ostream& operator<<(std::ostream& stream, const Outcome& outcome) {
    return stream << outcome.lost << " lost, " << outcome.duplicates << " duplicates, "
                  << outcome.reordered << " reordered";
}

Outcome outcome_of(unsigned bits, std::initializer_list<std::uint64_t> numbers) {
    SequenceTracker tracker(bits);
    for (const std::uint64_t number : numbers) {
        tracker.take(number);
    }
    return {tracker.lost(), tracker.duplicates(), tracker.reordered()};
}

TEST(SequenceTrackerTest, CountsWhatHappened) {
    EXPECT_EQ(outcome_of(64, {5, 6, 7}), (Outcome{0, 0, 0}));
    EXPECT_EQ(outcome_of(64, {5, 8}), (Outcome{2, 0, 0})) << "lost";
    EXPECT_EQ(outcome_of(64, {5, 6, 6, 5}), (Outcome{0, 2, 0})) << "repeated";
    EXPECT_EQ(outcome_of(64, {5, 7, 6, 8}), (Outcome{0, 0, 1})) << "late is not lost";
    EXPECT_EQ(outcome_of(64, {5, 7, 6, 6}), (Outcome{0, 1, 1})) << "late, then repeated";
    EXPECT_EQ(outcome_of(64, {5, 4}), (Outcome{0, 0, 1})) << "before the first";
    EXPECT_EQ(outcome_of(64, {5, 4, 8}), (Outcome{2, 0, 1}));
    EXPECT_EQ(outcome_of(64, {0, 1'000'000}), (Outcome{999'999, 0, 0})) << "a long gap is loss";
}

TEST(SequenceTrackerTest, CountsOverTheWrap) {
    EXPECT_EQ(outcome_of(16, {65534, 65535, 0, 1}), (Outcome{0, 0, 0}));
    EXPECT_EQ(outcome_of(16, {65534, 1}), (Outcome{2, 0, 0}));
    EXPECT_EQ(outcome_of(16, {65535, 1, 0, 65535}), (Outcome{0, 1, 1}));
    SequenceTracker tracker(16);
    for (std::uint64_t number = 65000; number < 65000 + 200'000; ++number) {
        tracker.take(number & 0xffffU);
    }
    EXPECT_EQ(tracker.lost(), 0U);
    EXPECT_EQ(tracker.first(), 65000U);
    EXPECT_EQ(tracker.last(), 65000U + 199'999);
}

TEST(SequenceTrackerTest, StartsOverWithASourceThatBeganAnew) {
    EXPECT_EQ(outcome_of(16, {100, 40'000, 40'001, 40'003}), (Outcome{1, 0, 0}));
    EXPECT_EQ(outcome_of(16, {100, 40'000, 101}), (Outcome{0, 0, 0})) << "a single stray number";
    EXPECT_EQ(outcome_of(64, {100'000, 0, 1, 2}), (Outcome{0, 0, 0})) << "a jump far back";
}

TEST(SequenceTrackerTest, ForgetsWhatFellOutOfItsWindow) {
    SequenceTracker tracker(64);
    for (std::uint64_t number = 0; number < 3 * SequenceTracker::kWindow; ++number) {
        if (number != 10 && number != 2 * SequenceTracker::kWindow + 10) {
            tracker.take(number);
        }
    }
    EXPECT_EQ(tracker.lost(), 2U);
    EXPECT_EQ(tracker.duplicates(), 0U) << "the same place in the window, a window later";
}

TEST(ContentStatsTest, FollowsTestContent) {
    ContentStats stats;
    for (const std::uint64_t sequence : {10, 11, 13, 12, 12, 16}) {
        stats.take(test_content(sequence), 0ns);
    }
    Bytes bad = test_content(17);
    bad.back() ^= std::byte{1};
    stats.take(bad, 0ns);
    const ContentFigures figures = stats.figures();
    EXPECT_EQ(figures.kind, ContentKind::penstock);
    EXPECT_EQ(figures.datagrams, 7U);
    EXPECT_EQ(figures.bytes, 700U);
    EXPECT_EQ(figures.lost, 2U);
    EXPECT_EQ(figures.duplicates, 1U);
    EXPECT_EQ(figures.reordered, 1U);
    EXPECT_EQ(figures.corrupt, 1U);
    EXPECT_EQ(figures.first_sequence, 10U);
    EXPECT_EQ(figures.last_sequence, 16U);
}

TEST(ContentStatsTest, DoesNotMixTwoRunsOfTestContent) {
    ContentStats stats;
    stats.take(test_content(100, 0, 1), 0ns);
    stats.take(test_content(0, 0, 2), 0ns);
    stats.take(test_content(1, 0, 2), 0ns);
    EXPECT_EQ(stats.figures().lost, 0U);
    EXPECT_EQ(stats.figures().duplicates, 0U);
}

TEST(ContentStatsTest, MeasuresJitterAsRfc3550Does) {
    ContentStats steady;
    ContentStats uneven;
    for (std::uint64_t i = 0; i < 200; ++i) {
        const auto sent_at = 1ms * i;
        const auto uneven_by = i % 2 == 0 ? 0us : 320us;
        steady.take(
            test_content(i, static_cast<std::uint64_t>(std::chrono::nanoseconds(sent_at).count())),
            sent_at + 50ms);
        uneven.take(
            test_content(i, static_cast<std::uint64_t>(std::chrono::nanoseconds(sent_at).count())),
            sent_at + uneven_by);
    }
    EXPECT_EQ(steady.figures().jitter_us, 0.0) << "delay is not jitter";
    EXPECT_NEAR(*uneven.figures().jitter_us, 320.0, 1.0);
    ContentStats one;
    one.take(test_content(0), 0ns);
    EXPECT_FALSE(one.figures().jitter_us) << "one datagram has no spacing";
}

TEST(ContentStatsTest, FollowsRtpOverItsWrap) {
    ContentStats stats;
    for (const std::uint16_t sequence : {65533, 65534, 0, 65535, 1, 1, 4}) {
        stats.take(rtp(sequence), 0ns);
    }
    const ContentFigures figures = stats.figures();
    EXPECT_EQ(figures.kind, ContentKind::rtp);
    EXPECT_EQ(figures.lost, 2U);
    EXPECT_EQ(figures.duplicates, 1U);
    EXPECT_EQ(figures.reordered, 1U);
    EXPECT_EQ(figures.first_sequence, 65533U);
    EXPECT_EQ(figures.last_sequence, 65540U);
}

TEST(ContentStatsTest, MeasuresRtpByItsTimestampsAlsoWhenTheyWrap) {
    ContentStats stats;
    for (std::uint32_t i = 0; i < 100; ++i) {
        const std::uint32_t timestamp = 0xffff'ff00U + i * 90;  // 1 ms at 90 kHz
        stats.take(rtp(static_cast<std::uint16_t>(i), timestamp), 1ms * i);
    }
    EXPECT_NEAR(*stats.figures().jitter_us, 0.0, 0.001);
}

TEST(ContentStatsTest, DoesNotTakeTwoBitsForRtp) {
    ContentStats stats;
    stats.take(rtp(1), 0ns);
    EXPECT_STREQ(content_word(stats.figures().kind), "opaque") << "not yet";
    stats.take(rtp(9000, 0, 77), 0ns);
    EXPECT_EQ(stats.figures().kind, ContentKind::opaque);
    ContentStats rtcp;
    rtcp.take(rtp(1, 0, 5, 72), 0ns);
    EXPECT_EQ(rtcp.figures().kind, ContentKind::opaque);
    ContentStats nothing;
    nothing.take({}, 0ns);
    EXPECT_EQ(nothing.figures().kind, ContentKind::opaque);
    EXPECT_EQ(nothing.figures().datagrams, 1U);
}

ContentFigures ts_figures(const std::vector<TsPacketSpec>& packets) {
    ContentStats stats;
    for (const TsPacketSpec& packet : packets) {
        stats.take(ts_packet(packet), 0ns);
    }
    EXPECT_EQ(stats.figures().kind, ContentKind::mpegts);
    return stats.figures();
}

TEST(ContentStatsTest, FollowsTheContinuityCountersOfEachPid) {
    EXPECT_EQ(ts_figures({{.continuity = 14}, {.continuity = 15}, {.continuity = 0}}).lost, 0U);
    EXPECT_EQ(ts_figures({{.continuity = 14}, {.continuity = 1}}).lost, 2U);
    EXPECT_EQ(ts_figures({{.pid = 1, .continuity = 3},
                          {.pid = 2, .continuity = 9},
                          {.pid = 1, .continuity = 4},
                          {.pid = 2, .continuity = 11}})
                  .lost,
              1U);
    const auto repeated = ts_figures({{.continuity = 3}, {.continuity = 3}, {.continuity = 4}});
    EXPECT_EQ(repeated.duplicates, 1U);
    EXPECT_EQ(repeated.lost, 0U);
    EXPECT_EQ(
        ts_figures({{.continuity = 3}, {.continuity = 3, .has_payload = false}, {.continuity = 4}})
            .lost,
        0U)
        << "packets without payload do not count";
    EXPECT_EQ(ts_figures({{.continuity = 3}, {.continuity = 9, .is_discontinuity = true}}).lost,
              0U);
    EXPECT_EQ(
        ts_figures({{.pid = kTsNullPid, .continuity = 3}, {.pid = kTsNullPid, .continuity = 9}})
            .lost,
        0U);
    EXPECT_EQ(ts_figures({{.continuity = 3}, {.continuity = 9, .is_broken = true}}).corrupt, 1U);
}

TEST(ContentStatsTest, CountsTransportStreamDatagramsThatAreDamaged) {
    ContentStats stats;
    Bytes datagram = ts_packet({.continuity = 1});
    append(datagram, ts_packet({.continuity = 2}));
    stats.take(datagram, 0ns);
    Bytes bad = ts_packet({.continuity = 3});
    append(bad, ts_packet({.continuity = 4}));
    bad[0] = std::byte{0};
    bad.resize(300);
    stats.take(bad, 0ns);
    EXPECT_EQ(stats.figures().corrupt, 2U) << "one without sync, one cut off";
}

TEST(ContentStatsTest, MeasuresTransportStreamJitterByItsClock) {
    ContentStats stats;
    for (std::uint64_t i = 0; i < 50; ++i) {
        const std::uint64_t pcr = (kPcrModulus - 27'000 * 20 + i * 27'000) % kPcrModulus;
        stats.take(ts_packet({.continuity = static_cast<std::uint8_t>(i % 16), .pcr = pcr}),
                   1ms * i);
    }
    EXPECT_NEAR(*stats.figures().jitter_us, 0.0, 0.001);
}

}  // namespace
}  // namespace penstock
