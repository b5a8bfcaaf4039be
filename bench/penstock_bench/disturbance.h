#pragma once

#include <penstock/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::bench {

/// What the machine took so far, or between two looks, from those who have to run undisturbed.
struct Interference {
    std::uint64_t steal_ticks = 0;           // of their CPUs, taken by the hypervisor
    std::uint64_t involuntary_switches = 0;  // of their threads
};

/// Whether `a` took less than `b`: steal first. Pure.
[[nodiscard]] bool is_less(const Interference& a, const Interference& b) noexcept;

/// A trial in which the hypervisor had their CPUs for more than this says nothing.
inline constexpr double kStealShareMax = 0.005;

/// Why a trial has to be repeated, in words; "" if it counts. `cpus`: how many. Pure.
[[nodiscard]] std::string disturbance_of(const Interference& during,
                                         std::chrono::nanoseconds trial,
                                         std::size_t cpus,
                                         std::uint64_t ticks_per_second);

/// Steal ticks of CPU `cpu` in /proc/stat (proc(5)); none if it is not there. Pure.
[[nodiscard]] std::optional<std::uint64_t> steal_ticks_of(std::string_view proc_stat, unsigned cpu);
/// nonvoluntary_ctxt_switches in a task's /proc status (proc(5)). Pure.
[[nodiscard]] std::optional<std::uint64_t> involuntary_switches_of(std::string_view status);

/// Of the columns in /proc/stat.
[[nodiscard]] std::uint64_t ticks_per_second();

/// Share of all CPUs' time that the hypervisor took between two contents of /proc/stat. Pure.
[[nodiscard]] double steal_share(std::string_view stat_before, std::string_view stat_after);
/// Content of /proc/stat now; "" if it cannot be read.
[[nodiscard]] std::string read_proc_stat();

/// Looks at the threads that DPDK started on lcores 1..workers and at their CPUs, and on demand at
/// its own thread's. Thread: main.
class InterferenceWatch {
  public:
    /// `worker_cpus`: one a worker, in their order. `own_cpu`: of the calling thread, if it takes
    /// part. Errors: system, if a thread is not found.
    static Result<InterferenceWatch> start(std::vector<unsigned> worker_cpus,
                                           std::optional<unsigned> own_cpu = std::nullopt);
    /// Since the machine or the thread started; what cannot be read counts as nothing.
    [[nodiscard]] Interference now() const;
    [[nodiscard]] Interference since(const Interference& before) const;
    /// disturbance_of() what came in a trial; "" if it counts.
    [[nodiscard]] std::string words_for(const Interference& during,
                                        std::chrono::nanoseconds trial) const;

  private:
    explicit InterferenceWatch(std::vector<unsigned> cpus) noexcept : cpus_(std::move(cpus)) {}

    std::vector<unsigned> cpus_;
    std::vector<std::string> status_files_;  // of the threads
};

}  // namespace penstock::bench
