#include "penstock_bench/latency_point.h"

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

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_pause.h>

#include <algorithm>
#include <string>
#include <utility>

namespace penstock::bench {
namespace {

/// The generator, and how many of its packets' copies have come, trial by trial.
class Wire {
  public:
    Wire(const LatencyPlan& plan, const RelayRig& rig, CopyWatcher& watcher)
        : source_(rig, plan.payload_bytes), consumers_(plan.rig.consumers), watcher_(watcher) {}

    void send(std::uint64_t due_tsc, std::uint64_t now) noexcept { source_.send(due_tsc, now); }

    /// Waits until every copy was handed over, or none has been for a while.
    void settle() const {
        bench::settle(sent() * consumers_, [this] { return copies(); });
    }

    /// Begins a trial: nothing is on its way.
    void reset() noexcept {
        watcher_.clear();
        sent_before_ = source_.sent();
        copies_before_ = watcher_.copies();
    }

    /// Copies that were handed over.
    [[nodiscard]] std::uint64_t copies() const noexcept {
        return watcher_.copies() - copies_before_;
    }
    /// Once settled: what the worker saw.
    [[nodiscard]] const FanOutClock& clock() const noexcept { return watcher_.clock(); }
    [[nodiscard]] std::uint64_t on_the_way() const noexcept {
        return sent() - std::min(sent(), copies() / consumers_);
    }

  private:
    [[nodiscard]] std::uint64_t sent() const noexcept { return source_.sent() - sent_before_; }

    RingSource source_;
    std::uint32_t consumers_;
    CopyWatcher& watcher_;
    std::uint64_t sent_before_ = 0;  // this trial
    std::uint64_t copies_before_ = 0;
};

struct Trial {
    std::uint64_t due = 0;
    std::uint64_t late = 0;
    std::uint64_t copies = 0;
    Interference interference;
    std::string disturbance;  // "" if it counts
    FanOutClock clock;
};

class Measurement {
  public:
    Measurement(const LatencyPlan& plan,
                const RelayRig& rig,
                CopyWatcher& watcher,
                InterferenceWatch watch)
        : plan_(plan), rig_(rig), watch_(std::move(watch)), wire_(plan, rig, watcher) {}

    Result<LatencyPoint> run() {
        const auto maximum = maximum_rate(
            plan_.trials, [this](std::chrono::nanoseconds time) { return closed_loop(time); });
        if (!maximum) {
            return maximum.error();
        }
        LatencyPoint point;
        point.max_packets_per_second = *maximum;
        point.packets_per_second = plan_.packets_per_second > 0
                                       ? plan_.packets_per_second
                                       : plan_.load * point.max_packets_per_second;
        open_loops(point);
        if (last_.count() == 0) {
            return Error{
                ErrorCode::unavailable,
                fmt::format("not one packet of {} got all its copies; lower --rate", due_)};
        }
        point.first = percentiles_of(first_, rte_get_tsc_hz());
        point.last = percentiles_of(last_, rte_get_tsc_hz());
        point.added = percentiles_of(added_, rte_get_tsc_hz());
        point.skew = percentiles_of(skew_, rte_get_tsc_hz());
        point.samples = last_.count();
        point.late_share = static_cast<double>(late_) / static_cast<double>(due_);
        return point;
    }

  private:
    /// Keeps so few packets on their way that none is lost. Returns packets a second.
    double closed_loop(std::chrono::nanoseconds duration) {
        constexpr std::uint64_t kWindow = 64;
        wire_.reset();
        const std::uint64_t began = rte_rdtsc();
        const std::uint64_t cycles = cycles_of(duration);
        while (rte_rdtsc() - began < cycles) {
            if (wire_.on_the_way() < kWindow) {
                const std::uint64_t now = rte_rdtsc();
                wire_.send(now, now);
            }
        }
        wire_.settle();  // within the time: a worker that had no CPU for all of it still has a rate
        const auto took = static_cast<double>(rte_rdtsc() - began);
        const auto complete =
            static_cast<double>(wire_.copies()) / static_cast<double>(plan_.rig.consumers);
        return complete / took * static_cast<double>(rte_get_tsc_hz());
    }

    void open_loops(LatencyPoint& point) {
        const RigTotals before = rig_.totals();
        LeastDisturbed<Trial> trials(plan_.trials.trials);
        while (trials.wants_more()) {
            trials.add(open_loop(point.packets_per_second));
        }
        const RigTotals after = rig_.totals();
        point.idle_share =
            idle_share(after.busy_cycles - before.busy_cycles, after.cycles - before.cycles);
        point.trials = trials.count();
        point.repeated = trials.repeated();
        point.disturbance = std::string_view(trials.disturbance());
        for (const Trial& trial : trials.trials()) {
            add(trial, point);
        }
    }

    void add(const Trial& trial, LatencyPoint& point) {
        first_.add(trial.clock.first());
        last_.add(trial.clock.last());
        added_.add(trial.clock.added());
        skew_.add(trial.clock.skew());
        due_ += trial.due;
        late_ += trial.late;
        point.lost_copies += trial.due * plan_.rig.consumers - trial.copies;
    }

    /// Every packet leaves at its own time or as soon after it as the generator can, and counts
    /// from its own time: a stall of whoever it was shows in every packet that was due meanwhile.
    Trial open_loop(double packets_per_second) {
        const std::uint64_t on_time = cycles_of(kOnTime);
        Trial trial{.due = 0,
                    .late = 0,
                    .copies = 0,
                    .interference = {},
                    .disturbance = {},
                    .clock = FanOutClock(plan_.rig.consumers, on_time)};
        wire_.reset();
        const Interference interference = watch_.now();
        const std::uint64_t began = rte_rdtsc();
        const std::uint64_t end = began + cycles_of(plan_.trials.trial_time);
        Schedule schedule(began, packets_per_second, rte_get_tsc_hz());
        while (schedule.due() < end) {
            const std::uint64_t now = rte_rdtsc();
            if (now < schedule.due()) {
                rte_pause();
                continue;
            }
            wire_.send(schedule.due(), now);
            trial.late += now - schedule.due() > on_time ? 1 : 0;
            schedule.pass();
        }
        wire_.settle();
        trial.interference = watch_.since(interference);
        trial.disturbance = watch_.words_for(trial.interference, plan_.trials.trial_time);
        trial.due = schedule.passed();
        trial.copies = wire_.copies();
        trial.clock = wire_.clock();
        return trial;
    }

    const LatencyPlan& plan_;
    const RelayRig& rig_;
    InterferenceWatch watch_;
    Wire wire_;
    Histogram first_;
    Histogram last_;
    Histogram added_;
    Histogram skew_;
    std::uint64_t due_ = 0;
    std::uint64_t late_ = 0;
};

}  // namespace

Result<LatencyPoint> measure_latency(const LatencyPlan& plan) {
    run_on(plan.generator_cpu);
    go_first();
    RigOptions options = plan.rig;
    options.ports = {"content", "net_null0,no-rx=1"};
    options.ring_ports = 1;
    options.copies_port = 1;
    CopyWatcher watcher(plan.rig.consumers);  // outlives the workers
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    const PortQueue leaving = (*rig)->machine().ports.back().queue_of(0);
    if (auto watched = watcher.watch(leaving); !watched) {
        return watched.error();
    }
    return while_running<LatencyPoint>(
        **rig, plan.rig.worker_cpus, plan.generator_cpu, [&](InterferenceWatch watch) {
            return Measurement(plan, **rig, watcher, std::move(watch)).run();
        });
}

}  // namespace penstock::bench
