#pragma once

#include "data_path/worker.h"

#include <penstock/result.h>

#include <chrono>
#include <memory>

namespace penstock {

enum class PollMode {
    adaptive,  // sleeps up to kIdleSleepMax when nothing comes
    busy,      // never sleeps: least latency, one whole core
};

inline constexpr std::chrono::microseconds kIdleSleepMin{50};
inline constexpr std::chrono::microseconds kIdleSleepMax{500};

/// What a worker does between two turns when nothing comes: spins, pauses, then sleeps, longer and
/// longer. Pure: the caller does the waiting.
class IdlePolicy {
  public:
    explicit IdlePolicy(PollMode mode) noexcept : mode_(mode) {}

    enum class Step { spin, pause, sleep };
    struct Decision {
        Step step;
        std::chrono::microseconds sleep;  // of Step::sleep
    };
    /// `busy`: whether the last turn found anything to do.
    [[nodiscard]] Decision next(bool busy) noexcept;

  private:
    PollMode mode_;
    unsigned idle_turns_ = 0;
    std::chrono::microseconds sleep_ = kIdleSleepMin;
};

/// Runs a worker on an lcore of its own until it is stopped. Thread: main.
class WorkerThread {
  public:
    /// `worker` must outlive this, and nobody else may run it meanwhile. `lcore`:
    /// lcore_of_worker(). Errors: system.
    static Result<WorkerThread> start(Worker& worker, unsigned lcore, PollMode mode);
    WorkerThread(WorkerThread&&) noexcept;
    WorkerThread& operator=(WorkerThread&&) = delete;
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;
    /// Stops it.
    ~WorkerThread();

    /// Returns once the worker has finished its last turn.
    void stop() noexcept;

  private:
    struct Shared;
    WorkerThread(unsigned lcore, std::unique_ptr<Shared> shared) noexcept;

    unsigned lcore_;
    std::unique_ptr<Shared> shared_;  // nullptr once stopped
};

}  // namespace penstock
