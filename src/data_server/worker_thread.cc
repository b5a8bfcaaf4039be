#include "data_server/worker_thread.h"

#include <fmt/format.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <system_error>
#include <utility>

namespace penstock {
namespace {

constexpr unsigned kSpinTurns = 64;
constexpr unsigned kPauseTurns = 256;

void sleep_for(std::chrono::microseconds duration) noexcept {
    constexpr long kNanosecondsPerMicrosecond = 1000;
    const timespec time{
        .tv_sec = 0, .tv_nsec = static_cast<long>(duration.count()) * kNanosecondsPerMicrosecond};
    nanosleep(&time, nullptr);
}

}  // namespace

struct WorkerThread::Shared {
    Worker& worker;
    PollMode mode;
    std::atomic<bool> stop{false};  // written: main   read: the worker's lcore
};

namespace {

template <typename Shared>
int run(void* argument) {
    auto& shared = *static_cast<Shared*>(argument);
    IdlePolicy idle{shared.mode};
    while (!shared.stop.load(std::memory_order_acquire)) {
        const IdlePolicy::Decision decision = idle.next(shared.worker.run_once());
        switch (decision.step) {
            case IdlePolicy::Step::spin:
                break;
            case IdlePolicy::Step::pause:
                rte_pause();
                break;
            case IdlePolicy::Step::sleep:
                sleep_for(decision.sleep);
                break;
        }
    }
    return 0;
}

}  // namespace

IdlePolicy::Decision IdlePolicy::next(bool busy) noexcept {
    if (busy || mode_ == PollMode::busy) {
        idle_turns_ = 0;
        sleep_ = kIdleSleepMin;
        return {.step = Step::spin, .sleep = {}};
    }
    if (idle_turns_ < kSpinTurns) {
        ++idle_turns_;
        return {.step = Step::spin, .sleep = {}};
    }
    if (idle_turns_ < kSpinTurns + kPauseTurns) {
        ++idle_turns_;
        return {.step = Step::pause, .sleep = {}};
    }
    const std::chrono::microseconds sleep = sleep_;
    sleep_ = std::min(sleep_ + kIdleSleepMin, kIdleSleepMax);
    return {.step = Step::sleep, .sleep = sleep};
}

Result<WorkerThread> WorkerThread::start(Worker& worker, unsigned lcore, PollMode mode) {
    // DPDK does not look: it would write to a pipe that was never opened.
    if (rte_lcore_is_enabled(lcore) == 0 || lcore == rte_get_main_lcore()) {
        return Error{ErrorCode::system,
                     fmt::format("there is no lcore {} for a worker: check --worker-cpus", lcore)};
    }
    // NOLINTNEXTLINE(modernize-make-unique): clang 14 cannot make an aggregate so
    auto shared = std::unique_ptr<Shared>(new Shared{.worker = worker, .mode = mode});
    if (const int result = rte_eal_remote_launch(run<Shared>, shared.get(), lcore); result != 0) {
        return Error{ErrorCode::system,
                     fmt::format("worker does not start on lcore {}: {}",
                                 lcore,
                                 std::generic_category().message(-result))};
    }
    return WorkerThread{lcore, std::move(shared)};
}

WorkerThread::WorkerThread(unsigned lcore, std::unique_ptr<Shared> shared) noexcept
    : lcore_(lcore), shared_(std::move(shared)) {}

WorkerThread::WorkerThread(WorkerThread&&) noexcept = default;

WorkerThread::~WorkerThread() { stop(); }

void WorkerThread::stop() noexcept {
    if (shared_ != nullptr) {
        shared_->stop.store(true, std::memory_order_release);
        rte_eal_wait_lcore(lcore_);
        shared_.reset();
    }
}

}  // namespace penstock
