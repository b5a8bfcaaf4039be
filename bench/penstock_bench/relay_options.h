#pragma once

#include "base/options.h"
#include "rig/relay_rig.h"

#include <penstock/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::bench {

/// How often and how long each point is measured.
struct TrialPlan {
    std::uint64_t trials = 5;
    std::chrono::nanoseconds trial_time{};
    std::chrono::nanoseconds warm_up{};
};

/// The disturbed trials that may be repeated for each that has to count.
inline constexpr std::uint64_t kRepeatsPerTrial = 4;

/// The most that a point can take: set-up and tear-down, and every trial repeated.
[[nodiscard]] std::chrono::milliseconds patience_for(const TrialPlan& plan);

/// The options of every sub-command that runs the relay: its memory, its CPUs, and the trials.
class RelayOptions {
  public:
    explicit RelayOptions(const TrialPlan& defaults) : trials_(defaults) {}

    void add_to(Options& options);
    /// After parse(). `workers`: the most there will be. Errors: invalid_argument.
    Result<void> check(std::size_t workers);

    [[nodiscard]] const TrialPlan& trials() const noexcept { return trials_; }
    [[nodiscard]] bool is_quick() const noexcept { return quick_; }
    [[nodiscard]] const std::vector<unsigned>& worker_cpus() const noexcept { return cpus_; }
    /// With the first `workers` of the CPUs; ports, streams and consumers are the caller's to name.
    [[nodiscard]] RigOptions rig(std::size_t workers, bool history) const;

  private:
    std::uint64_t memory_bytes_ = std::uint64_t{512} << 20U;
    bool no_huge_ = false;
    std::uint64_t ring_packets_ = 4096;
    std::string copy_threshold_ = "auto";
    std::string worker_cpus_;
    bool quick_ = false;
    TrialPlan trials_;

    std::vector<unsigned> cpus_;
    std::optional<std::uint16_t> copy_threshold_bytes_;
};

/// "on", "off" or both. Errors: invalid_argument, naming --history. Pure.
Result<std::vector<bool>> parse_histories(std::string_view text);

}  // namespace penstock::bench
