#include "penstock_publish/pcap_reader.h"
#include "penstock_publish/pcap_source.h"

#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <string>

namespace penstock {
namespace {

using namespace std::chrono_literals;

using Bytes = std::vector<std::byte>;

void put(Bytes& to, std::uint64_t value, std::size_t bytes, bool big_endian) {
    for (std::size_t i = 0; i < bytes; ++i) {
        const std::size_t shift = 8 * (big_endian ? bytes - 1 - i : i);
        to.push_back(static_cast<std::byte>(value >> shift & 0xffU));
    }
}

/// An Ethernet frame with IPv4 and UDP around a payload.
Bytes udp_frame(const std::string& payload, int vlan_tags = 0) {
    Bytes frame(12, std::byte{2});
    for (int i = 0; i < vlan_tags; ++i) {
        put(frame, i == 0 && vlan_tags == 2 ? 0x88a8 : 0x8100, 2, true);
        put(frame, 7, 2, true);
    }
    put(frame, 0x0800, 2, true);
    put(frame, 0x4500, 2, true);
    put(frame, 28 + payload.size(), 2, true);
    put(frame, 0, 4, true);
    put(frame, 0x4011, 2, true);  // TTL, UDP
    put(frame, 0, 10, true);
    put(frame, 0x1000'2000, 4, true);
    put(frame, 8 + payload.size(), 2, true);
    put(frame, 0, 2, true);
    for (const char byte : payload) {
        frame.push_back(static_cast<std::byte>(byte));
    }
    return frame;
}

struct Format {
    bool big_endian = false;
    bool nanoseconds = false;
};

Bytes capture_head(Format format, std::uint32_t link_type = 1) {
    Bytes file;
    put(file, format.nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, 4, format.big_endian);
    put(file, 2, 2, format.big_endian);
    put(file, 4, 2, format.big_endian);
    put(file, 0, 8, format.big_endian);
    put(file, 65535, 4, format.big_endian);
    put(file, link_type, 4, format.big_endian);
    return file;
}

void add_record(Bytes& file, Format format, std::chrono::nanoseconds at, const Bytes& frame) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
    const std::int64_t rest = (at - seconds).count();
    put(file, static_cast<std::uint64_t>(seconds.count()), 4, format.big_endian);
    put(file,
        static_cast<std::uint64_t>(format.nanoseconds ? rest : rest / 1000),
        4,
        format.big_endian);
    put(file, frame.size(), 4, format.big_endian);
    put(file, frame.size(), 4, format.big_endian);
    file.insert(file.end(), frame.begin(), frame.end());
}

std::string text_of(std::span<const std::byte> payload) {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

/// Payloads until the end; "!" for an error.
std::vector<std::string> read_all(PcapReader& reader) {
    std::vector<std::string> payloads;
    while (true) {
        const auto next = reader.next();
        if (!next) {
            payloads.emplace_back("!");
            return payloads;
        }
        if (!*next) {
            return payloads;
        }
        payloads.push_back(text_of((*next)->payload));
    }
}

TEST(PcapReaderTest, ReadsBothByteOrdersAndBothResolutions) {
    for (const Format format :
         {Format{false, false}, Format{true, false}, Format{false, true}, Format{true, true}}) {
        Bytes file = capture_head(format);
        add_record(file, format, 1700000000s + 123'456'000ns, udp_frame("one"));
        add_record(file, format, 1700000001s + 1000ns, udp_frame(""));
        auto reader = PcapReader::open(file);
        ASSERT_TRUE(reader) << reader.error().message;
        const auto first = reader->next();
        ASSERT_TRUE(first && *first);
        EXPECT_EQ((*first)->at, 1700000000s + 123'456'000ns);
        EXPECT_EQ(text_of((*first)->payload), "one");
        const auto second = reader->next();
        ASSERT_TRUE(second && *second);
        EXPECT_EQ((*second)->at, 1700000001s + 1000ns);
        EXPECT_TRUE((*second)->payload.empty());
        EXPECT_FALSE(*reader->next());
    }
}

TEST(PcapReaderTest, SurvivesEveryTruncationOfAFile) {
    Bytes file = capture_head({});
    add_record(file, {}, 1s, udp_frame("payload one"));
    add_record(file, {}, 2s, udp_frame("payload two", 1));
    const std::size_t first_ends = 24 + 16 + udp_frame("payload one").size();
    for (std::size_t length = 0; length < file.size(); ++length) {
        auto reader = PcapReader::open(
            Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(length)));
        if (length < 24) {
            EXPECT_FALSE(reader) << length;
            continue;
        }
        ASSERT_TRUE(reader) << length;
        std::vector<std::string> expected;
        if (length >= first_ends) {
            expected.emplace_back("payload one");
        }
        if (length != 24 && length != first_ends) {
            expected.emplace_back("!");
        }
        EXPECT_EQ(read_all(*reader), expected) << length;
    }
}

TEST(PcapReaderTest, LeavesOutEveryTruncationOfAFrame) {
    const Bytes frame = udp_frame("payload", 2);
    Bytes file = capture_head({});
    for (std::size_t length = 0; length < frame.size(); ++length) {
        add_record(file,
                   {},
                   1s,
                   Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)));
    }
    add_record(file, {}, 1s, frame);
    auto reader = PcapReader::open(file);
    ASSERT_TRUE(reader);
    EXPECT_EQ(read_all(*reader), std::vector<std::string>{"payload"});
    EXPECT_EQ(reader->frames_left_out(), frame.size());
}

TEST(PcapReaderTest, LeavesOutWhatIsNotUdpOverIpv4) {
    const auto changed = [](std::size_t at, unsigned value) {
        Bytes frame = udp_frame("payload");
        frame[at] = static_cast<std::byte>(value);
        return frame;
    };
    EXPECT_FALSE(udp_payload_of(changed(13, 0x06))) << "ARP";
    EXPECT_FALSE(udp_payload_of(changed(14, 0x65))) << "IP version 6";
    EXPECT_FALSE(udp_payload_of(changed(14, 0x44))) << "header length 16";
    EXPECT_FALSE(udp_payload_of(changed(14, 0x4f))) << "header length 60";
    EXPECT_FALSE(udp_payload_of(changed(17, 20))) << "total length without UDP";
    EXPECT_FALSE(udp_payload_of(changed(17, 200))) << "total length beyond the frame";
    EXPECT_FALSE(udp_payload_of(changed(20, 0x20))) << "first fragment";
    EXPECT_FALSE(udp_payload_of(changed(21, 0x08))) << "later fragment";
    EXPECT_FALSE(udp_payload_of(changed(23, 6))) << "TCP";
    EXPECT_FALSE(udp_payload_of(changed(39, 7))) << "UDP length below its header";
    EXPECT_FALSE(udp_payload_of(changed(39, 200))) << "UDP length beyond the IP packet";
    EXPECT_TRUE(udp_payload_of(changed(39, 8))->empty()) << "padding behind the datagram";
    EXPECT_TRUE(udp_payload_of(changed(20, 0x40))) << "do not fragment is no fragment";
}

TEST(PcapReaderTest, RefusesOtherFilesByName) {
    Bytes pcapng(100, std::byte{0});
    const std::uint32_t mark = 0x0a0d0d0a;
    std::memcpy(pcapng.data(), &mark, sizeof(mark));
    const auto refused = [](const Bytes& file) {
        const auto reader = PcapReader::open(file);
        return reader ? std::string() : reader.error().message;
    };
    EXPECT_NE(refused(pcapng).find("editcap"), std::string::npos);
    EXPECT_NE(refused(Bytes(100, std::byte{7})).find("not a capture"), std::string::npos);
    EXPECT_NE(refused(capture_head({}, 113)).find("link type 113"), std::string::npos);
}

TEST(PcapReaderTest, StopsAtARecordOfImpossibleLength) {
    Bytes file = capture_head({});
    put(file, 1, 4, false);
    put(file, 0, 4, false);
    put(file, PcapReader::kFrameBytesMax + 1, 4, false);
    file.resize(file.size() + 300'000);
    auto reader = PcapReader::open(file);
    ASSERT_TRUE(reader);
    EXPECT_EQ(read_all(*reader), std::vector<std::string>{"!"});
}

class PcapSourceTest : public testing::Test {
  protected:
    /// A capture with datagrams at these times.
    static PcapReader capture(const std::vector<std::chrono::milliseconds>& times) {
        Bytes file = capture_head({});
        for (std::size_t i = 0; i < times.size(); ++i) {
            add_record(
                file, {}, 100s + times[i], udp_frame(std::string(125, static_cast<char>('a' + i))));
        }
        return std::move(PcapReader::open(std::move(file)).value());
    }
    /// When each datagram left, from the start, and the text of its first byte.
    std::string sent(Source& source, std::size_t most) {
        std::string text;
        const MonotonicTime begin = now;
        EXPECT_TRUE(source.start(now));
        for (std::size_t count = 0; count < most;) {
            batch.clear();
            const auto step = source.fill(batch, now);
            EXPECT_TRUE(step);
            for (const auto datagram : batch.datagrams()) {
                const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(now - begin);
                text += static_cast<char>(datagram[0]) + std::to_string(at.count()) + " ";
                ++count;
            }
            if (!step || step->has_ended) {
                return text + "end";
            }
            now = std::max(now, step->next_at);
        }
        return text;
    }

    MonotonicTime now{1000s};
    DatagramBatch batch;
};

TEST_F(PcapSourceTest, KeepsTheOriginalTiming) {
    PcapSource source(capture({0ms, 10ms, 10ms, 500ms}), 0, false);
    EXPECT_EQ(sent(source, 10), "a0 b10 c10 d500 end");
    EXPECT_EQ(sent(source, 10), "a0 b10 c10 d500 end") << "each START begins at the beginning";
}

TEST_F(PcapSourceTest, TakesStampsThatGoBackOrFarAheadWithReason) {
    PcapSource source(capture({0ms, 100ms, 50ms, 60ms, 3'600'000ms}), 0, false);
    EXPECT_EQ(sent(source, 10), "a0 b100 c100 d110 e10110 end");
}

TEST_F(PcapSourceTest, SendsAtASteadyRateInstead) {
    PcapSource source(capture({0ms, 0ms, 0ms, 0ms}), 10'000, false);  // 1000 bits each
    EXPECT_EQ(sent(source, 10), "a0 b100 c200 d300 end");
}

TEST_F(PcapSourceTest, BeginsAgainWithLoop) {
    PcapSource source(capture({0ms, 10ms}), 0, true);
    EXPECT_EQ(sent(source, 5), "a0 b10 a10 b20 a20 ");
}

TEST_F(PcapSourceTest, EndsALoopOverNothing) {
    PcapSource source(capture({}), 0, true);
    EXPECT_EQ(sent(source, 5), "end");
}

}  // namespace
}  // namespace penstock
