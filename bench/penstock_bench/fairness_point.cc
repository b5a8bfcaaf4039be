#include "penstock_bench/fairness_point.h"

#include "penstock_bench/copy_watcher.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/cycles.h"
#include "penstock_bench/least_disturbed.h"
#include "penstock_bench/maximum_rate.h"
#include "penstock_bench/ring_source.h"
#include "penstock_bench/running_relay.h"
#include "penstock_bench/schedule.h"
#include "penstock_bench/settle.h"
#include "penstock_bench/statistics.h"

#include <rte_cycles.h>
#include <rte_pause.h>

#include <algorithm>
#include <string>
#include <utility>

namespace penstock::bench {
namespace {

/// Who reads the worker's counters takes their cache line from it.
constexpr std::chrono::microseconds kLookEach{5};
constexpr std::uint32_t kLarge = 0;  // streams
constexpr std::uint32_t kSmall = 1;

struct Trial {
    Histogram added;
    std::uint64_t due = 0;  // packets of the small stream
    std::uint64_t late = 0;
    std::uint64_t lost = 0;  // copies
    std::uint64_t busy_cycles = 0;
    std::uint64_t cycles = 0;
    Interference interference;
    std::string disturbance;  // "" if it counts
};

using Trials = LeastDisturbed<Trial>;

Histogram added_of(const Trials& trials) {
    Histogram sum;
    for (const Trial& trial : trials.trials()) {
        sum.add(trial.added);
    }
    return sum;
}

class Measurement {
  public:
    Measurement(const FairnessPlan& plan,
                const RelayRig& rig,
                CopyWatcher& watcher,
                InterferenceWatch watch)
        : plan_(plan),
          rig_(rig),
          watcher_(watcher),
          watch_(std::move(watch)),
          large_(rig, plan.payload_bytes, kLarge),
          small_(rig, plan.payload_bytes, kSmall) {}

    Result<FairnessPoint> run() {
        const auto maximum = maximum_rate(
            plan_.trials, [this](std::chrono::nanoseconds time) { return closed_loop(time); });
        if (!maximum) {
            return maximum.error();
        }
        FairnessPoint point;
        point.max_copies_per_second = *maximum;
        point.large_packets_per_second =
            plan_.load * point.max_copies_per_second / static_cast<double>(plan_.rig.consumers);
        Trials alone(plan_.trials.trials);
        Trials beside(plan_.trials.trials);
        while (alone.wants_more() || beside.wants_more()) {
            alone.add(open_loop(0));
            beside.add(open_loop(point.large_packets_per_second));
        }
        return summed(point, alone, beside);
    }

  private:
    static Result<FairnessPoint> summed(FairnessPoint point,
                                        const Trials& alone,
                                        const Trials& beside) {
        const Histogram added_alone = added_of(alone);
        const Histogram added_beside = added_of(beside);
        point.samples_alone = added_alone.count();
        point.samples_beside = added_beside.count();
        if (point.samples_alone == 0 || point.samples_beside == 0) {
            return Error{ErrorCode::unavailable,
                         "not one packet was sent on time and got its copy; lower --rate"};
        }
        point.alone = percentiles_of(added_alone, rte_get_tsc_hz());
        point.beside = percentiles_of(added_beside, rte_get_tsc_hz());
        std::uint64_t due = 0;
        std::uint64_t late = 0;
        std::uint64_t busy_cycles = 0;
        std::uint64_t cycles = 0;
        for (const Trials* kind : {&alone, &beside}) {
            for (const Trial& trial : kind->trials()) {
                due += trial.due;
                late += trial.late;
                point.lost_copies += trial.lost;
                busy_cycles += kind == &beside ? trial.busy_cycles : 0;
                cycles += kind == &beside ? trial.cycles : 0;
            }
            if (const std::string disturbance = kind->disturbance(); !disturbance.empty()) {
                point.disturbance = std::string_view(disturbance);
            }
        }
        point.late_share = static_cast<double>(late) / static_cast<double>(due);
        point.idle_share = idle_share(busy_cycles, cycles);
        point.trials = beside.count();
        point.repeated = alone.repeated() + beside.repeated();
        return point;
    }

    /// The large stream by itself, always with a packet to go on with. Returns copies a second.
    double closed_loop(std::chrono::nanoseconds duration) {
        // Of small fan-outs, more, so that the worker never waits for the generator.
        const std::uint64_t window = 2 + 1'024 / plan_.rig.consumers;
        const std::uint64_t copies_before = rig_.totals().copies;
        const std::uint64_t sent_before = large_.sent();
        const std::uint64_t began = rte_rdtsc();
        const std::uint64_t cycles = cycles_of(duration);
        const std::uint64_t look_each = cycles_of(kLookEach);
        std::uint64_t looked_at = 0;
        std::uint64_t copies = 0;
        // Longer only if Linux kept the worker from its CPU all the time.
        const auto goes_on = [&](std::uint64_t passed) {
            return passed < cycles || (copies == 0 && passed < cycles + cycles_of(kCopyPatience));
        };
        for (std::uint64_t now = began; goes_on(now - began); now = rte_rdtsc()) {
            if (now - looked_at < look_each) {
                rte_pause();
                continue;
            }
            looked_at = now;
            copies = rig_.totals().copies - copies_before;
            while (large_.sent() - sent_before < copies / plan_.rig.consumers + window) {
                large_.send(now, now);
            }
        }
        const auto took = static_cast<double>(rte_rdtsc() - began);
        settle(copies_before + (large_.sent() - sent_before) * plan_.rig.consumers);
        return static_cast<double>(copies) / took * static_cast<double>(rte_get_tsc_hz());
    }

    /// Every packet is sent at its own time or as soon after it as the generator can.
    Trial open_loop(double large_packets_per_second) {
        Trial trial;
        watcher_.clear();
        const RigTotals before = rig_.totals();
        const std::uint64_t expected_before = large_.sent() * plan_.rig.consumers + small_.sent();
        const std::uint64_t on_time = cycles_of(kOnTime);
        const Interference interference = watch_.now();
        const std::uint64_t began = rte_rdtsc();
        const std::uint64_t end = began + cycles_of(plan_.trials.trial_time);
        Schedule small(began, plan_.packets_per_second, rte_get_tsc_hz());
        Schedule large(large_packets_per_second > 0 ? began : end,
                       std::max(large_packets_per_second, 1.0),
                       rte_get_tsc_hz());
        while (small.due() < end || large.due() < end) {
            const std::uint64_t now = rte_rdtsc();
            if (now >= small.due() && small.due() < end) {
                small_.send(small.due(), now);
                trial.late += now - small.due() > on_time ? 1 : 0;
                small.pass();
            } else if (now >= large.due() && large.due() < end) {
                large_.send(large.due(), now);
                large.pass();
            } else {
                rte_pause();
            }
        }
        const std::uint64_t copies =
            large_.sent() * plan_.rig.consumers + small_.sent() - expected_before;
        settle(before.copies + copies);
        trial.interference = watch_.since(interference);
        trial.disturbance = watch_.words_for(trial.interference, plan_.trials.trial_time);
        trial.added = watcher_.clock().added();
        trial.due = small.passed();
        const RigTotals after = rig_.totals();
        trial.lost = small.passed() + large.passed() * plan_.rig.consumers -
                     (after.tx_packets - before.tx_packets);
        trial.busy_cycles = after.busy_cycles - before.busy_cycles;
        trial.cycles = after.cycles - before.cycles;
        return trial;
    }

    /// Waits until the workers have made `copies` in all, and those of the small stream were seen.
    void settle(std::uint64_t copies) const {
        bench::settle(copies, [this] { return rig_.totals().copies; });
        bench::settle(small_.sent(), [this] { return watcher_.copies(); });
    }

    const FairnessPlan& plan_;
    const RelayRig& rig_;
    CopyWatcher& watcher_;  // of the small stream's copies
    InterferenceWatch watch_;
    RingSource large_;
    RingSource small_;
};

}  // namespace

Result<FairnessPoint> measure_fairness(const FairnessPlan& plan) {
    run_on(plan.generator_cpu);
    go_first();
    RigOptions options = plan.rig;
    options.ports = {"content", "net_null0,no-rx=1", "net_null1,no-rx=1"};
    options.ring_ports = 1;
    options.copies_port = 1;
    options.single_streams = 1;
    options.single_copies_port = 2;
    CopyWatcher watcher(1);  // outlives the workers
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    const PortQueue leaving = (*rig)->machine().ports.back().queue_of(0);
    if (auto watched = watcher.watch(leaving); !watched) {
        return watched.error();
    }
    return while_running<FairnessPoint>(
        **rig, plan.rig.worker_cpus, plan.generator_cpu, [&](InterferenceWatch watch) {
            return Measurement(plan, **rig, watcher, std::move(watch)).run();
        });
}

}  // namespace penstock::bench
