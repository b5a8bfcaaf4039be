#include "penstock_publish/exec_source.h"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;

bool group_exists(pid_t group) { return group > 0 && ::kill(-group, 0) == 0; }

/// Real children of /bin/sh, with a clock that the test moves. Waits are for events of the child
/// (its output, its end), bounded so that a fault does not hang.
class ExecSourceTest : public testing::Test {
  protected:
    /// Turns the source until `done`, waiting for the child and never for time.
    template <typename Done>
    bool turn_until(ExecSource& source, Done done) {
        const MonotonicTime give_up_at = monotonic_now() + 20s;
        while (!done()) {
            if (monotonic_now() >= give_up_at) {
                return false;
            }
            batch.clear();
            const auto step = source.fill(batch, now);
            EXPECT_TRUE(step);
            for (const auto datagram : batch.datagrams()) {
                output.append(reinterpret_cast<const char*>(datagram.data()), datagram.size());
                sizes.push_back(datagram.size());
            }
            pollfd polled{.fd = step->wait_fd, .events = POLLIN, .revents = 0};
            ::poll(&polled, 1, 5);
        }
        return true;
    }
    bool buried(ExecSource& source) {
        const MonotonicTime give_up_at = monotonic_now() + 20s;
        while (source.has_child() && monotonic_now() < give_up_at) {
            source.tend(now);
            ::poll(nullptr, 0, 1);
        }
        return !source.has_child();
    }

    MonotonicTime now{1000s};
    DatagramBatch batch;
    std::string output;
    std::vector<std::size_t> sizes;
};

TEST_F(ExecSourceTest, RunsTheCommandOnlyWhileWanted) {
    ExecSource source("echo begun; exec cat /dev/zero", 1000);
    EXPECT_FALSE(source.has_child());
    ASSERT_TRUE(source.start(now));
    EXPECT_TRUE(source.has_child());
    const pid_t group = source.child_group();
    ASSERT_TRUE(turn_until(source, [&] { return output.size() >= 100'000; }));
    EXPECT_EQ(output.substr(0, 6), "begun\n");
    EXPECT_EQ(sizes.front(), 1000U);
    source.stop(now);
    EXPECT_TRUE(buried(source));
    EXPECT_FALSE(group_exists(group)) << "ended and reaped";
    EXPECT_EQ(source.take_notice(), "") << "it was told to end";
    ASSERT_TRUE(source.start(now));
    EXPECT_TRUE(source.has_child()) << "and again";
}

TEST_F(ExecSourceTest, KillsACommandThatIgnoresTheRequestToEnd) {
    ExecSource source("trap '' TERM; echo ready; while :; do sleep 1; done", 1000);
    ASSERT_TRUE(source.start(now));
    const pid_t group = source.child_group();
    // "ready" comes after the trap is set; 20 ms by our clock flush it.
    ASSERT_TRUE(turn_until(source, [&] {
        now += 1ms;
        return output == "ready\n";
    }));
    source.stop(now);
    source.tend(now + ChildProcess::kGrace - 1ms);
    EXPECT_TRUE(group_exists(group)) << "it has its grace";
    now += ChildProcess::kGrace;
    EXPECT_TRUE(buried(source));
    EXPECT_FALSE(group_exists(group));
}

TEST_F(ExecSourceTest, EndsWhateverTheCommandStarted) {
    ExecSource source("sleep 1000 & sleep 1000 & echo ready; wait", 1000);
    ASSERT_TRUE(source.start(now));
    const pid_t group = source.child_group();
    ASSERT_TRUE(turn_until(source, [&] {
        now += 1ms;
        return output == "ready\n";
    }));
    source.stop(now);
    EXPECT_TRUE(buried(source));
    EXPECT_FALSE(group_exists(group));
}

TEST_F(ExecSourceTest, RunsACommandAgainThatEndsByItselfAfterGrowingPauses) {
    ExecSource source("printf x; exit 3", 1000);
    ASSERT_TRUE(source.start(now));
    std::string notice;
    for (const auto pause : {500ms, 1000ms, 2000ms, 4000ms, 8000ms, 10'000ms, 10'000ms}) {
        ASSERT_TRUE(turn_until(source, [&] { return !source.has_child(); }));
        notice = source.take_notice();
        EXPECT_NE(notice.find("exit status 3"), std::string::npos) << notice;
        now += pause - 1ms;
        batch.clear();
        ASSERT_TRUE(source.fill(batch, now));
        EXPECT_FALSE(source.has_child()) << "not before its pause is over";
        now += 1ms;
        batch.clear();
        ASSERT_TRUE(source.fill(batch, now));
        EXPECT_TRUE(source.has_child());
    }
    EXPECT_GE(output.size(), 7U) << "the last words of each run are sent, too";
}

TEST_F(ExecSourceTest, ForgivesACommandThatRanLong) {
    ExecSource source("exit 1", 1000);
    ASSERT_TRUE(source.start(now));
    ASSERT_TRUE(turn_until(source, [&] { return !source.has_child(); }));
    now += 500ms;
    batch.clear();
    ASSERT_TRUE(source.fill(batch, now));
    now += ExecSource::kGoodRun;
    ASSERT_TRUE(turn_until(source, [&] { return !source.has_child(); }));
    source.take_notice();
    now += ExecSource::kRestartFirst;
    batch.clear();
    ASSERT_TRUE(source.fill(batch, now));
    EXPECT_TRUE(source.has_child()) << "the pause is the first one again";
}

TEST_F(ExecSourceTest, DoesNotRunACommandAgainThatIsNotWanted) {
    ExecSource source("exit 1", 1000);
    ASSERT_TRUE(source.start(now));
    ASSERT_TRUE(turn_until(source, [&] { return !source.has_child(); }));
    source.stop(now);
    now += 60s;
    EXPECT_EQ(source.tend(now), MonotonicTime::max());
    EXPECT_FALSE(source.has_child());
}

TEST_F(ExecSourceTest, SendsWholePacketsOfATransportStreamThatPauses) {
    const std::string file = testing::TempDir() + "exec_source_test." + std::to_string(::getpid());
    const std::string fifo = file + ".go";
    {
        std::ofstream stream(file, std::ios::binary);
        for (int i = 0; i < 9; ++i) {
            stream << std::string("\x47\x1f\xff\x10", 4) << std::string(184, '\xff');
        }
    }
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    // A pause in the middle of a packet, until the test lets it go on.
    ExecSource source("head -c 500 '" + file + "'; cat '" + fifo + "'; tail -c +501 '" + file +
                          "'; exec sleep 1000",
                      1000);
    ASSERT_TRUE(source.start(now));
    ASSERT_TRUE(turn_until(source, [&] {
        now += 1ms;
        return output.size() == 2 * kTsPacketBytes;
    }));
    std::ofstream(fifo).close();
    ASSERT_TRUE(turn_until(source, [&] {
        now += 1ms;
        return output.size() == 9 * kTsPacketBytes;
    }));
    EXPECT_EQ(sizes, (std::vector<std::size_t>{2 * kTsPacketBytes, 1316}));
    std::filesystem::remove(file);
    std::filesystem::remove(fifo);
}

TEST_F(ExecSourceTest, GivesTheCommandNoFilesOfOurs) {
    const int leaked = ::dup(STDERR_FILENO);  // without close-on-exec
    ExecSource source("ls /proc/self/fd; exec sleep 1000", 1000);
    ASSERT_TRUE(source.start(now));
    ASSERT_TRUE(turn_until(source, [&] {
        now += 1ms;
        return output.size() >= 8;
    }));
    EXPECT_EQ(output, "0\n1\n2\n3\n") << "3 is the directory that ls reads";
    ::close(leaked);
}

TEST(ChildProcessTest, IsGoneWhenItsOwnerIs) {
    pid_t group = 0;
    {
        const auto child = ChildProcess::start("exec sleep 1000");
        ASSERT_TRUE(child);
        group = child->group();
        EXPECT_TRUE(group_exists(group));
    }
    EXPECT_FALSE(group_exists(group));
}

}  // namespace
}  // namespace penstock
