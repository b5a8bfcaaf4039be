#include "base/socket_address.h"
#include "penstock_publish/file_source.h"
#include "penstock_publish/generate_source.h"
#include "penstock_publish/rate_clock.h"
#include "penstock_publish/record_file.h"
#include "penstock_publish/udp_source.h"
#include "unit/client/ts_test_stream.h"

#include <penstock/test_content.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <string>
#include <sys/socket.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;

using Bytes = std::vector<std::byte>;

/// A file of this test's own, gone with it.
class TemporaryFile {
  public:
    explicit TemporaryFile(const Bytes& content) {
        static int number = 0;
        path_ = testing::TempDir() + "sources_test." + std::to_string(::getpid()) + "." +
                std::to_string(number++);
        std::ofstream file(path_, std::ios::binary);
        file.write(reinterpret_cast<const char*>(content.data()),
                   static_cast<std::streamsize>(content.size()));
    }
    ~TemporaryFile() { std::filesystem::remove(path_); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] Bytes content() const {
        std::ifstream file(path_, std::ios::binary);
        const std::string text(std::istreambuf_iterator<char>(file), {});
        const auto bytes = std::as_bytes(std::span(text));
        return {bytes.begin(), bytes.end()};
    }

  private:
    std::string path_;
};

/// Runs a source by a clock that jumps to whatever it waits for.
class SourceTest : public testing::Test {
  protected:
    struct Sent {
        std::chrono::nanoseconds at;
        Bytes payload;
    };
    /// Until `most` datagrams, `until`, or the end.
    std::vector<Sent> run(Source& source, std::size_t most, std::chrono::nanoseconds until = 1h) {
        std::vector<Sent> sent;
        const MonotonicTime begin = now;
        EXPECT_TRUE(source.start(now));
        has_ended = false;
        while (sent.size() < most && now - begin < until) {
            batch.clear();
            const auto step = source.fill(batch, now);
            EXPECT_TRUE(step) << step.error().message;
            if (!step) {
                return sent;
            }
            for (const auto payload : batch.datagrams()) {
                sent.push_back({now - begin, {payload.begin(), payload.end()}});
            }
            if (step->has_ended) {
                has_ended = true;
                return sent;
            }
            now = std::max(now, std::min<MonotonicTime>(step->next_at, begin + until));
        }
        return sent;
    }
    static Bytes joined(const std::vector<Sent>& sent) {
        Bytes bytes;
        for (const Sent& each : sent) {
            append(bytes, each.payload);
        }
        return bytes;
    }
    /// Four segments of 70 packets, 100 ms each: 10 datagrams every 100 ms.
    static Bytes transport_stream() {
        Bytes bytes;
        for (std::uint64_t segment = 0; segment < 4; ++segment) {
            append(bytes, ts_packet({.pcr = segment * 100 * 27'000}));
            for (std::uint8_t i = 1; i < 70; ++i) {
                append(bytes,
                       ts_packet({.pid = 0x101, .continuity = static_cast<std::uint8_t>(i & 15U)}));
            }
        }
        return bytes;
    }
    static Bytes counted_bytes(std::size_t size) {
        Bytes bytes(size);
        for (std::size_t i = 0; i < size; ++i) {
            bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
        }
        return bytes;
    }

    MonotonicTime now{1000s};
    DatagramBatch batch;
    bool has_ended = false;
};

TEST(RateClockTest, KeepsTheRateExactlyOverALongTime) {
    RateClock clock(20'000'000);
    MonotonicTime now{1000s};
    const MonotonicTime begin = now;
    clock.start(now);
    std::uint64_t sent = 0;
    std::chrono::nanoseconds longest{0};
    while (now - begin < 100s) {
        while (clock.is_due(now)) {
            clock.sent(1316, now);
            ++sent;
        }
        longest = std::max<std::chrono::nanoseconds>(longest, clock.next_at(now) - now);
        now = clock.next_at(now);
    }
    EXPECT_NEAR(static_cast<double>(sent), 20e6 * 100 / 8 / 1316, 2);
    EXPECT_LE(longest, 1ms) << "steps of at most a millisecond";
}

TEST(RateClockTest, GathersVeryFastContentInSteps) {
    RateClock clock(10'000'000'000);
    MonotonicTime now{1000s};
    clock.start(now);
    clock.sent(1316, now);
    EXPECT_EQ(clock.next_at(now) - now, RateClock::kStep);
}

TEST(RateClockTest, DoesNotMakeUpForALongSleep) {
    RateClock clock(8'000);  // a byte each millisecond
    MonotonicTime now{1000s};
    clock.start(now);
    now += 10s;
    int burst = 0;
    while (clock.is_due(now)) {
        clock.sent(1, now);
        ++burst;
    }
    EXPECT_LE(burst, 101);
}

TEST_F(SourceTest, GeneratesNumberedContentAtTheAskedRate) {
    std::uint64_t clock_ns = 5;
    GenerateSource source(8'000'000, 1000, 42, [&] { return clock_ns; });
    const auto sent = run(source, 1000);
    ASSERT_EQ(sent.size(), 1000U);
    EXPECT_NEAR(static_cast<double>(sent.back().at.count()), 999e6, 1e6);
    for (std::size_t i = 0; i < sent.size(); ++i) {
        const auto head = read_test_content(sent[i].payload);
        ASSERT_TRUE(head);
        EXPECT_EQ(head->sequence, i);
        EXPECT_EQ(head->run, 42U);
        EXPECT_EQ(head->sent_at_unix_ns, 5U);
        EXPECT_TRUE(test_content_is_intact(sent[i].payload));
    }
    source.stop(now);
    EXPECT_EQ(read_test_content(run(source, 1).front().payload)->sequence, 1000U) << "counted on";
}

TEST_F(SourceTest, SendsATransportStreamByItsOwnClock) {
    const TemporaryFile file(transport_stream());
    auto source = FileSource::open({.path = file.path()});
    ASSERT_TRUE(source) << source.error().message;
    for (int start = 0; start < 2; ++start) {  // each START begins at the beginning
        const auto sent = run(**source, 1000);
        EXPECT_TRUE(has_ended);
        EXPECT_EQ(joined(sent), transport_stream());
        ASSERT_EQ(sent.size(), 40U);
        for (std::size_t i = 0; i < sent.size(); ++i) {
            EXPECT_NEAR(static_cast<double>(sent[i].at.count()), 1e7 * static_cast<double>(i), 1e5);
        }
        (*source)->stop(now);
    }
}

TEST_F(SourceTest, GoesRoundWithLoopAtTheSamePace) {
    const TemporaryFile file(transport_stream());
    auto source = FileSource::open({.path = file.path(), .loop = true});
    ASSERT_TRUE(source);
    const auto sent = run(**source, 120);
    ASSERT_EQ(sent.size(), 120U);
    EXPECT_NEAR(static_cast<double>(sent[80].at.count()), 8e8, 1e6);
    EXPECT_EQ(sent[80].payload, sent[0].payload);
}

TEST_F(SourceTest, SendsATransportStreamAtAGivenRateInWholePackets) {
    const TemporaryFile file(transport_stream());
    auto source = FileSource::open({.path = file.path(), .bits_per_second = 1316 * 8 * 100});
    ASSERT_TRUE(source);
    const auto sent = run(**source, 1000);
    ASSERT_EQ(sent.size(), 40U);
    EXPECT_EQ(sent[0].payload.size(), 1316U);
    EXPECT_NEAR(static_cast<double>(sent[39].at.count()), 39e7, 1e6);
}

TEST_F(SourceTest, SendsOtherContentAtItsRateToTheLastByte) {
    const Bytes content = counted_bytes(300'001);
    const TemporaryFile file(content);
    auto source = FileSource::open(
        {.path = file.path(), .bits_per_second = 8'000'000, .payload_bytes = 1000});
    ASSERT_TRUE(source);
    const auto sent = run(**source, 1000);
    EXPECT_TRUE(has_ended);
    EXPECT_EQ(joined(sent), content);
    ASSERT_EQ(sent.size(), 301U);
    EXPECT_EQ(sent.back().payload.size(), 1U);
    EXPECT_NEAR(static_cast<double>(sent.back().at.count()), 3e8, 1e6);
}

TEST_F(SourceTest, StartsItsClockAgainAfterTheMachineSlept) {
    const TemporaryFile file(transport_stream());
    auto source = FileSource::open({.path = file.path()});
    ASSERT_TRUE(source);
    run(**source, 10);
    now += 10s;
    batch.clear();
    ASSERT_TRUE((*source)->fill(batch, now));
    EXPECT_EQ(batch.size(), 1U) << "no burst of what is late";
}

TEST_F(SourceTest, RefusesFilesItCannotSend) {
    const auto refused = [](const std::string& path) {
        const auto source = FileSource::open({.path = path});
        return source ? std::string("opened") : source.error().message;
    };
    const TemporaryFile other(counted_bytes(5000));
    const TemporaryFile empty({});
    EXPECT_NE(refused("/nonexistent/x.ts").find("No such file"), std::string::npos);
    EXPECT_NE(refused("/tmp").find("directory"), std::string::npos);
    EXPECT_NE(refused(other.path()).find("--rate"), std::string::npos);
    EXPECT_NE(refused(empty.path()).find("--rate"), std::string::npos);
}

TEST_F(SourceTest, EndsALoopOverAnEmptyFile) {
    const TemporaryFile empty({});
    auto source = FileSource::open({.path = empty.path(), .bits_per_second = 1000, .loop = true});
    ASSERT_TRUE(source);
    EXPECT_TRUE(run(**source, 1).empty());
    EXPECT_TRUE(has_ended);
}

TEST_F(SourceTest, PublishesWhatArrivesAtAUdpPortWhileItIsWanted) {
    auto source = UdpSource::open({IpAddress::v4(0x7f000001), 0});
    ASSERT_TRUE(source) << source.error().message;
    const auto local = (*source)->local();
    ASSERT_TRUE(local);
    const UniqueFd sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const SocketAddress to = to_socket_address(*local);
    const auto send = [&](const Bytes& bytes) {
        ::sendto(sender.get(), bytes.data(), bytes.size(), 0, to.get(), to.length);
    };
    send(counted_bytes(10));  // loopback delivers before sendto() returns
    ASSERT_TRUE((*source)->start(now));
    send(counted_bytes(20));
    send(counted_bytes(1473));
    send(counted_bytes(1472));
    send({});
    const auto step = (*source)->fill(batch, now);
    ASSERT_TRUE(step);
    EXPECT_GE(step->wait_fd, 0);
    ASSERT_EQ(batch.size(), 3U)
        << "what came before START is thrown away, what is too long left out";
    EXPECT_EQ(batch.datagrams()[0].size(), 20U);
    EXPECT_EQ(batch.datagrams()[1].size(), 1472U);
    EXPECT_EQ(batch.datagrams()[2].size(), 0U);
    EXPECT_NE((*source)->take_notice(), "");
    EXPECT_EQ((*source)->take_notice(), "") << "said once";
}

TEST_F(SourceTest, RefusesAUdpPortThatIsTaken) {
    auto first = UdpSource::open({IpAddress::v4(0x7f000001), 0});
    ASSERT_TRUE(first);
    const auto second = UdpSource::open(*(*first)->local());
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("--udp"), std::string::npos);
}

TEST(RecordFileTest, AppendsPayloadsOneBehindTheOther) {
    const TemporaryFile file({std::byte{1}});
    auto record = RecordFile::open(file.path());
    ASSERT_TRUE(record);
    const Bytes two{std::byte{2}};
    const Bytes three{std::byte{3}, std::byte{4}};
    const std::vector<std::span<const std::byte>> payloads{two, three};
    EXPECT_TRUE(record->append(payloads));
    EXPECT_EQ(file.content(), (Bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}}));
    EXPECT_TRUE(RecordFile::open("")->append(payloads)) << "nothing to record to";
    EXPECT_FALSE(RecordFile::open("/nonexistent/file"));
}

}  // namespace
}  // namespace penstock
