#include "penstock_bench/relay_options.h"

#include "penstock_bench/arguments.h"
#include "penstock_bench/cpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr TrialPlan kQuick{
    .trials = 3, .trial_time = milliseconds{100}, .warm_up = milliseconds{50}};
/// Set-up, tear-down, and the installation of a million flows.
constexpr milliseconds kSetUpPatience{120'000};

}  // namespace

milliseconds patience_for(const TrialPlan& plan) {
    const auto measuring = plan.warm_up + plan.trial_time * (plan.trials * (1 + kRepeatsPerTrial));
    return kSetUpPatience + 2 * std::chrono::ceil<milliseconds>(measuring);
}

void RelayOptions::add_to(Options& options) {
    options.bytes("memory", memory_bytes_, 32 * kMiB, kMiB * kMiB, "of hugepages, for each point");
    options.flag("no-huge", no_huge_, "plain memory in place of hugepages: slower");
    options.number("ring-packets", ring_packets_, 1, 65'536, "a stream's newest packets, kept");
    options.text("copy-threshold",
                 copy_threshold_,
                 "auto|BYTES",
                 "payloads up to this are copied, larger ones shared");
    options.text("worker-cpus",
                 worker_cpus_,
                 "N,N,...",
                 "one a worker (default: from the second on that may be used)");
    options.number("trials", trials_.trials, 1, 1'000, "trials a point");
    options.duration("trial-time", trials_.trial_time, milliseconds{1}, minutes{1}, "of one trial");
    options.duration("warm-up", trials_.warm_up, nanoseconds{0}, minutes{1}, "before the first");
    options.flag("quick", quick_, "at most 3 trials of 100ms, after 50ms");
}

Result<void> RelayOptions::check(std::size_t workers) {
    auto cpus = choose_worker_cpus(worker_cpus_, workers);
    if (!cpus) {
        return cpus.error();
    }
    cpus_ = std::move(cpus).value();
    if (copy_threshold_ != "auto") {
        const auto bytes = parse_numbers("copy-threshold", copy_threshold_, 64, 65'535);
        if (!bytes) {
            return bytes.error();
        }
        copy_threshold_bytes_ = static_cast<std::uint16_t>(bytes->front());
    }
    if (quick_) {
        trials_.trials = std::min(trials_.trials, kQuick.trials);
        trials_.trial_time = std::min(trials_.trial_time, kQuick.trial_time);
        trials_.warm_up = std::min(trials_.warm_up, kQuick.warm_up);
    }
    return {};
}

RigOptions RelayOptions::rig(std::size_t workers, bool history) const {
    RigOptions rig;
    rig.worker_cpus.assign(cpus_.begin(), cpus_.begin() + static_cast<std::ptrdiff_t>(workers));
    rig.memory_bytes = memory_bytes_;
    rig.no_huge = no_huge_;
    rig.ring_packets = history ? static_cast<std::uint32_t>(ring_packets_) : 0;
    rig.copy_threshold_bytes = copy_threshold_bytes_;
    return rig;
}

Result<std::vector<bool>> parse_histories(std::string_view text) {
    if (text == "on" || text == "off") {
        return std::vector<bool>{text == "on"};
    }
    if (text == "on,off" || text == "off,on") {
        return std::vector<bool>{text == "on,off", text != "on,off"};
    }
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("--history {}: wants on, off or both, for example --history on,off", text)};
}

}  // namespace penstock::bench
