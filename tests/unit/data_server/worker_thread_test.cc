#include "data_server/worker_thread.h"

#include "dpdk/eal.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_lcore.h>

#include <chrono>

namespace penstock {
namespace {

using std::chrono_literals::operator""us;
using Step = IdlePolicy::Step;

/// Turns until the policy first wants to sleep.
unsigned turns_until_sleep(IdlePolicy& policy) {
    unsigned turns = 1;
    while (policy.next(false).step != Step::sleep) {
        ++turns;
    }
    return turns;
}

TEST(IdlePolicy, SpinsThenPausesThenSleepsLongerAndLonger) {
    IdlePolicy policy{PollMode::adaptive};
    for (int turn = 0; turn < 64; ++turn) {
        EXPECT_EQ(policy.next(false).step, Step::spin) << turn;
    }
    EXPECT_EQ(policy.next(false).step, Step::pause);
    turns_until_sleep(policy);
    EXPECT_EQ(policy.next(false).sleep, 100us);
    EXPECT_EQ(policy.next(false).sleep, 150us);
    for (int turn = 0; turn < 20; ++turn) {
        EXPECT_LE(policy.next(false).sleep, kIdleSleepMax);
    }
    EXPECT_EQ(policy.next(false).sleep, kIdleSleepMax);
}

TEST(IdlePolicy, StartsAnewAfterWork) {
    IdlePolicy policy{PollMode::adaptive};
    const unsigned turns = turns_until_sleep(policy);
    EXPECT_EQ(policy.next(true).step, Step::spin);
    EXPECT_EQ(turns_until_sleep(policy), turns);
}

TEST(IdlePolicy, BusyNeverSleeps) {
    IdlePolicy policy{PollMode::busy};
    for (int turn = 0; turn < 10'000; ++turn) {
        ASSERT_EQ(policy.next(false).step, Step::spin);
    }
}

TEST(WorkerThread, SaysSoIfThereIsNoSuchLcore) {
    WorkerWorld world;
    EXPECT_FALSE(WorkerThread::start(world.worker(), RTE_MAX_LCORE - 1, PollMode::adaptive).ok());
}

TEST(WorkerThread, RunsTheWorkerUntilItIsStopped) {
    WorkerWorld world;
    Stream* stream = world.open_stream();
    world.set_publisher(stream);
    {
        Result<WorkerThread> thread =
            WorkerThread::start(world.worker(), lcore_of_worker(0), PollMode::adaptive);
        ASSERT_TRUE(thread.ok()) << thread.error().message;
        while (world.counters().applied_commands.read() < 2) {
        }
        WorkerThread moved = std::move(thread).value();
        world.receive(WorkerWorld::content(100, 1).bytes());
        while (stream->counters.packets_in.read() < 1) {
        }
        moved.stop();
        moved.stop();
        const std::uint64_t iterations = world.counters().iterations.read();
        EXPECT_GT(iterations, 0U);
    }
    // It may be started again after a stop.
    Result<WorkerThread> again =
        WorkerThread::start(world.worker(), lcore_of_worker(0), PollMode::busy);
    ASSERT_TRUE(again.ok()) << again.error().message;
}

}  // namespace
}  // namespace penstock
