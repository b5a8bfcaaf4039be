#include "penstock_publish/packetiser.h"

#include "unit/client/ts_test_stream.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace penstock {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kTicksPerMs = kPcrHertz / 1000;

std::vector<PacedDatagram> drain(Packetiser& packetiser) {
    std::vector<PacedDatagram> datagrams;
    for (; !packetiser.empty(); packetiser.pop()) {
        datagrams.push_back(packetiser.front());
    }
    return datagrams;
}

std::vector<std::byte> joined(const std::vector<PacedDatagram>& datagrams) {
    std::vector<std::byte> bytes;
    for (const PacedDatagram& datagram : datagrams) {
        bytes.insert(bytes.end(), datagram.payload().begin(), datagram.payload().end());
    }
    return bytes;
}

double milliseconds_of(std::chrono::nanoseconds length) {
    return static_cast<double>(length.count()) / 1e6;
}

/// `count` packets, of which the first carries the clock reference.
std::vector<std::byte> segment(std::uint64_t pcr,
                               std::size_t count,
                               bool is_discontinuity = false) {
    std::vector<std::byte> bytes =
        ts_packet({.is_discontinuity = is_discontinuity, .pcr = pcr % kPcrModulus});
    for (std::size_t i = 1; i < count; ++i) {
        append(bytes, ts_packet({.pid = 0x101}));
    }
    return bytes;
}

TEST(TsPacketTest, ReadsItsHeader) {
    const auto header = parse_ts_packet(ts_packet(
        {.pid = 0x1abc, .continuity = 9, .is_discontinuity = true, .pcr = kPcrModulus - 1}));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->pid, 0x1abc);
    EXPECT_EQ(header->continuity, 9);
    EXPECT_TRUE(header->has_payload);
    EXPECT_TRUE(header->is_discontinuity);
    EXPECT_EQ(header->pcr, kPcrModulus - 1);
}

TEST(TsPacketTest, TakesBrokenAdaptationFieldsAsAbsent) {
    std::vector<std::byte> packet = ts_packet({.pcr = 12345});
    for (const unsigned length : {0U, 1U, 6U, 184U, 255U}) {
        packet[4] = static_cast<std::byte>(length);
        const auto header = parse_ts_packet(packet);
        ASSERT_TRUE(header);
        EXPECT_FALSE(header->pcr) << "length " << length;
    }
    packet[4] = std::byte{7};
    EXPECT_TRUE(parse_ts_packet(packet)->pcr);
    packet[10] |= std::byte{1};
    packet[11] = std::byte{0xff};
    EXPECT_FALSE(parse_ts_packet(packet)->pcr) << "an extension of 511 is no time";
    packet[0] = std::byte{0x48};
    EXPECT_FALSE(parse_ts_packet(packet));
    EXPECT_FALSE(parse_ts_packet(std::span(packet).first(187)));
}

TEST(TsPacketTest, FindsWherePacketsBegin) {
    std::vector<std::byte> bytes(100, std::byte{0});
    bytes[3] = kTsSync;
    for (int i = 0; i < 5; ++i) {
        append(bytes, ts_packet({}));
    }
    EXPECT_EQ(find_ts_sync(bytes, 5), 100U);
    EXPECT_FALSE(find_ts_sync(std::vector<std::byte>(2000, std::byte{1}), 5));
    EXPECT_FALSE(find_ts_sync({}, 5));
    EXPECT_EQ(find_ts_sync(ts_packet({}), 5), 0U);
}

TEST(TsFramerTest, FindsPacketsAgainAfterBytesWereLostOrAdded) {
    TsFramer framer;
    std::vector<std::byte> bytes = segment(0, 3);
    bytes.erase(bytes.begin() + 200, bytes.begin() + 250);  // of the second packet
    append(bytes, std::vector<std::byte>(77, std::byte{0x47}));
    append(bytes, segment(0, 3));
    std::size_t packets = 0;
    for (const std::byte byte : bytes) {  // in the smallest portions there are
        framer.push(std::span(&byte, 1));
        while (framer.next(false)) {
            ++packets;
        }
    }
    while (framer.next(true)) {
        ++packets;
    }
    EXPECT_GE(packets, 4U);
    EXPECT_LE(packets, 6U);
    EXPECT_EQ(packets * kTsPacketBytes + framer.skipped_bytes(), bytes.size());
}

TEST(TsFramerTest, LeavesOutWhatIsNoTransportStream) {
    TsFramer framer;
    framer.push(std::vector<std::byte>(1000, std::byte{0x11}));
    EXPECT_FALSE(framer.next(true));
    EXPECT_EQ(framer.skipped_bytes(), 1000U);
}

TEST(TsPacketiserTest, PutsSevenPacketsInADatagramAndTheRestInTheLast) {
    TsPacketiser packetiser;
    const std::vector<std::byte> bytes = segment(0, 17);
    packetiser.push(bytes);
    packetiser.finish();
    const auto datagrams = drain(packetiser);
    ASSERT_EQ(datagrams.size(), 3U);
    EXPECT_EQ(datagrams[0].bytes, 1316U);
    EXPECT_EQ(datagrams[1].bytes, 1316U);
    EXPECT_EQ(datagrams[2].bytes, 3 * kTsPacketBytes);
    EXPECT_EQ(joined(datagrams), bytes);
}

TEST(OpaquePacketiserTest, KeepsEveryByte) {
    OpaquePacketiser packetiser(100);
    std::vector<std::byte> bytes(257);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(i);
    }
    packetiser.push(std::span(bytes).first(33));
    packetiser.push(std::span(bytes).subspan(33));
    packetiser.finish();
    const auto datagrams = drain(packetiser);
    ASSERT_EQ(datagrams.size(), 3U);
    EXPECT_EQ(datagrams[2].bytes, 57U);
    EXPECT_EQ(joined(datagrams), bytes);
}

struct PacingCase {
    const char* sentence;
    std::vector<std::uint64_t> references_ms;    // each begins a segment of 14 packets
    std::vector<std::chrono::milliseconds> due;  // of the first datagram of each segment
};

class TsPacerTest : public testing::TestWithParam<PacingCase> {};

TEST_P(TsPacerTest, SpacesDatagramsByTheClockOfTheContent) {
    TsPacer pacer;
    for (const std::uint64_t reference : GetParam().references_ms) {
        pacer.push(segment(reference * kTicksPerMs, 14));
    }
    pacer.finish();
    const auto datagrams = drain(pacer);
    ASSERT_EQ(datagrams.size(), GetParam().references_ms.size() * 2);
    for (std::size_t i = 0; i < GetParam().due.size(); ++i) {
        EXPECT_NEAR(static_cast<double>(datagrams[i * 2].at.count()),
                    static_cast<double>(std::chrono::nanoseconds(GetParam().due[i]).count()),
                    20.0)
            << GetParam().sentence << ", segment " << i;
    }
    for (std::size_t i = 1; i < datagrams.size(); ++i) {
        EXPECT_GE(datagrams[i].at, datagrams[i - 1].at) << GetParam().sentence;
    }
}

constexpr std::uint64_t kWrapMs = kPcrModulus / kTicksPerMs;  // 26 h 30 min

INSTANTIATE_TEST_SUITE_P(
    Clocks,
    TsPacerTest,
    testing::Values(
        PacingCase{"a steady clock", {500, 540, 580, 620}, {0ms, 40ms, 80ms, 120ms}},
        PacingCase{"a clock of changing spacing", {0, 10, 100, 120}, {0ms, 10ms, 100ms, 120ms}},
        PacingCase{"a clock that wraps at 33 bits",
                   {kWrapMs - 60, kWrapMs - 20, kWrapMs + 20, kWrapMs + 60},
                   {0ms, 40ms, 80ms, 120ms}},
        PacingCase{"a jump forward goes on at the last rate",
                   {0, 40, 90'000, 90'040},
                   {0ms, 40ms, 80ms, 120ms}},
        PacingCase{
            "a jump back goes on at the last rate", {900, 940, 100, 140}, {0ms, 40ms, 80ms, 120ms}},
        PacingCase{"the end goes on at the last rate", {0, 40}, {0ms, 40ms}}),
    [](const testing::TestParamInfo<PacingCase>& info) {
        return "Case" + std::to_string(info.index);
    });

TEST(TsPacerTest, SpacesDatagramsEvenlyBetweenReferences) {
    TsPacer pacer;
    pacer.push(segment(0, 70));
    EXPECT_TRUE(pacer.empty()) << "nothing can be timed before the next reference";
    pacer.push(segment(100 * kTicksPerMs, 1));
    const auto datagrams = drain(pacer);
    ASSERT_EQ(datagrams.size(), 10U);
    for (std::size_t i = 0; i < datagrams.size(); ++i) {
        EXPECT_EQ(datagrams[i].at, 10ms * i);
    }
}

TEST(TsPacerTest, TakesASignalledDiscontinuityForAJump) {
    TsPacer pacer;
    pacer.push(segment(0, 14));
    pacer.push(segment(40 * kTicksPerMs, 14));
    pacer.push(segment(900 * kTicksPerMs, 14, true));  // would be a pause of 860 ms
    pacer.push(segment(940 * kTicksPerMs, 14));
    pacer.finish();
    const auto datagrams = drain(pacer);
    ASSERT_EQ(datagrams.size(), 8U);
    EXPECT_NEAR(milliseconds_of(datagrams[4].at), 80, 0.001);
    EXPECT_NEAR(milliseconds_of(datagrams[6].at), 120, 0.001);
}

TEST(TsPacerTest, FollowsTheClockOfOnePidOnly) {
    TsPacer pacer;
    std::vector<std::byte> bytes = segment(0, 7);
    append(bytes, ts_packet({.pid = 0x200, .pcr = 5000 * kTicksPerMs}));  // another programme
    append(bytes, segment(40 * kTicksPerMs, 7));
    pacer.push(bytes);
    pacer.finish();
    const auto datagrams = drain(pacer);
    ASSERT_EQ(datagrams.size(), 3U);
    EXPECT_EQ(datagrams[1].at, 35ms);
}

TEST(TsPacerTest, GivesUpAClockThatDoesNotComeBack) {
    TsPacer pacer;
    pacer.push(segment(0, 2));
    pacer.push(segment(1 * kTicksPerMs, TsPacer::kSegmentPacketsMax));
    EXPECT_FALSE(pacer.empty()) << "what is held back is bounded";
    drain(pacer);
    std::vector<std::byte> bytes;  // the clock is on another PID now
    for (std::uint64_t i = 0; i < 4; ++i) {
        append(bytes, ts_packet({.pid = 0x300, .pcr = (7000 + i * 20) * kTicksPerMs}));
        for (int packet = 0; packet < 6; ++packet) {
            append(bytes, ts_packet({.pid = 0x301}));
        }
    }
    pacer.push(bytes);
    const auto datagrams = drain(pacer);
    ASSERT_GE(datagrams.size(), 3U);
    EXPECT_NEAR(static_cast<double>((datagrams[2].at - datagrams[1].at).count()), 20e6, 1e6);
}

TEST(TsPacerTest, KeepsItsPaceWhenContentBeginsAgain) {
    TsPacer pacer;
    for (int pass = 0; pass < 2; ++pass) {
        pacer.push(segment(0, 7));
        pacer.push(segment(40 * kTicksPerMs, 7));
        pacer.finish();
    }
    const auto datagrams = drain(pacer);
    ASSERT_EQ(datagrams.size(), 4U);
    EXPECT_EQ(datagrams[0].at, 0ms);
    EXPECT_EQ(datagrams[1].at, 40ms);
    EXPECT_NEAR(milliseconds_of(datagrams[2].at), 80, 0.001);
    EXPECT_NEAR(milliseconds_of(datagrams[3].at), 120, 0.001);
}

}  // namespace
}  // namespace penstock
