#include "penstock_bench/latency_point.h"

#include "data_path/counters.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/fan_out_clock.h"
#include "penstock_bench/stamped_content.h"
#include "penstock_bench/statistics.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

/// For copies to come: longer than Linux may keep the worker from its CPU.
constexpr std::chrono::milliseconds kPatience{200};
std::uint64_t cycles_of(std::chrono::nanoseconds duration) {
    return static_cast<std::uint64_t>(std::chrono::duration<double>(duration).count() *
                                      static_cast<double>(rte_get_tsc_hz()));
}

/// Sees the copies where the worker hands them to its port, whose driver only drops them.
struct Watcher {
    FanOutClock clock;
    Counter copies;  // written: the worker, after the clock. Read: the generator, acquired
};

/// The generator: sends content into the port's ring, on the thread that calls. Clears the clock
/// while nothing is on its way: the packets that go there and the count of copies that comes back
/// order its memory between the threads.
class Wire {
  public:
    Wire(const LatencyPlan& plan, const RelayRig& rig, Watcher& watcher)
        : arriving_(*rig.ring_port(0).arriving),
          pool_(*rig.machine().payloads.get()),
          content_(content_of(plan, rig)),
          consumers_(plan.rig.consumers),
          watcher_(watcher) {}

    /// Whether there was room for it.
    bool send(std::uint64_t due_tsc, std::uint64_t now) noexcept {
        rte_mbuf* const packet = rte_pktmbuf_alloc(&pool_);
        if (packet == nullptr) {
            return false;
        }
        content_.write(*packet,
                       {.due_tsc = due_tsc,
                        .number = static_cast<std::uint32_t>(sent_),
                        .late_cycles = static_cast<std::uint32_t>(now - due_tsc)});
        if (rte_ring_sp_enqueue(&arriving_, packet) != 0) {
            rte_pktmbuf_free(packet);
            return false;
        }
        ++sent_;
        return true;
    }

    /// Waits until every copy was handed over, or none has been for a while.
    void settle() const noexcept {
        const std::uint64_t patience = cycles_of(kPatience);
        std::uint64_t quiet_since = rte_rdtsc();
        std::uint64_t seen = copies();
        while (seen < sent_ * consumers_ && rte_rdtsc() - quiet_since < patience) {
            rte_pause();
            if (const std::uint64_t now = copies(); now != seen) {
                seen = now;
                quiet_since = rte_rdtsc();
            }
        }
    }

    /// Begins a trial: nothing is on its way.
    void reset() noexcept {
        watcher_.clock.clear();
        sent_ = 0;
        copies_before_ = watcher_.copies.acquire();
    }

    /// Copies that were handed over.
    [[nodiscard]] std::uint64_t copies() const noexcept {
        return watcher_.copies.acquire() - copies_before_;
    }
    /// Once settled: what the worker saw.
    [[nodiscard]] const FanOutClock& clock() const noexcept { return watcher_.clock; }
    [[nodiscard]] std::uint64_t on_the_way() const noexcept {
        return sent_ - std::min(sent_, copies() / consumers_);
    }

  private:
    static CaptureContent content_of(const LatencyPlan& plan, const RelayRig& rig) {
        CaptureContent content;
        content.to_mac = rig.machine().ports.front().info().mac;
        content.to = RelayRig::address_of(0);
        content.from = RelayRig::publisher();
        content.payload_bytes = plan.payload_bytes;
        return content;
    }

    rte_ring& arriving_;
    rte_mempool& pool_;
    StampedContent content_;
    std::uint32_t consumers_;
    Watcher& watcher_;  // written: the worker, while packets are on their way; else this thread
    std::uint64_t sent_ = 0;
    std::uint64_t copies_before_ = 0;  // this trial
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
                Watcher& watcher,
                InterferenceWatch watch)
        : plan_(plan), rig_(rig), watch_(std::move(watch)), wire_(plan, rig, watcher) {}

    Result<LatencyPoint> run() {
        LatencyPoint point;
        closed_loop(plan_.trials.warm_up);
        std::vector<double> rates;
        for (std::uint64_t i = 0; i < plan_.trials.trials; ++i) {
            rates.push_back(closed_loop(plan_.trials.trial_time));
        }
        point.max_packets_per_second = spread_of(std::move(rates)).median;
        if (point.max_packets_per_second <= 0) {
            return Error{ErrorCode::unavailable,
                         "no copy left the relay within the trial time; give more --trial-time"};
        }
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

    /// Until enough undisturbed trials are in, or the last attempt: then the least disturbed count.
    void open_loops(LatencyPoint& point) {
        const std::uint64_t wanted = plan_.trials.trials;
        const std::uint64_t attempts = wanted * (1 + kRepeatsPerTrial);
        const RigTotals before = rig_.totals();
        std::vector<Trial> trials;
        std::uint64_t undisturbed = 0;
        for (std::uint64_t i = 0; i < attempts && undisturbed < wanted; ++i) {
            trials.push_back(open_loop(point.packets_per_second));
            undisturbed += trials.back().disturbance.empty() ? 1 : 0;
            std::stable_sort(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) {
                return is_less(a.interference, b.interference);
            });
            if (trials.size() > wanted) {
                trials.pop_back();
                ++point.repeated;
            }
        }
        const RigTotals after = rig_.totals();
        point.idle_share = 1 - static_cast<double>(after.busy_cycles - before.busy_cycles) /
                                   std::max(static_cast<double>(after.cycles - before.cycles), 1.0);
        point.trials = static_cast<std::uint32_t>(trials.size());
        for (const Trial& trial : trials) {
            add(trial, point);
        }
    }

    void add(const Trial& trial, LatencyPoint& point) {
        if (!trial.disturbance.empty()) {
            point.disturbance = std::string_view(trial.disturbance);
        }
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
        const double interval = static_cast<double>(rte_get_tsc_hz()) / packets_per_second;
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
        std::uint64_t due = began;
        while (due < end) {
            const std::uint64_t now = rte_rdtsc();
            if (now < due) {
                rte_pause();
                continue;
            }
            wire_.send(due, now);
            trial.late += now - due > on_time ? 1 : 0;
            ++trial.due;
            due = began + static_cast<std::uint64_t>(interval * static_cast<double>(trial.due));
        }
        wire_.settle();
        trial.interference = watch_.since(interference);
        trial.disturbance = watch_.words_for(trial.interference, plan_.trials.trial_time);
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

/// What rte_eth_tx_burst() is given, before the driver has it; in the worker's thread.
std::uint16_t watch_copies(std::uint16_t /*port*/,
                           std::uint16_t /*queue*/,
                           rte_mbuf** copies,
                           std::uint16_t count,
                           void* watcher) {
    const std::uint64_t now = rte_rdtsc();
    auto& its = *static_cast<Watcher*>(watcher);
    for (std::uint16_t i = 0; i < count; ++i) {
        its.clock.take(StampedContent::read(*copies[i]), now);
    }
    its.copies.add_and_release(count);
    return count;
}

}  // namespace

Result<LatencyPoint> measure_latency(const LatencyPlan& plan) {
    run_on(plan.generator_cpu);
    go_first();
    RigOptions options = plan.rig;
    options.ports = {"content", "net_null0,no-rx=1"};
    options.ring_ports = 1;
    options.copies_port = 1;
    Watcher watcher{.clock = FanOutClock(plan.rig.consumers, 0), .copies = {}};  // outlives workers
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    const PortQueue leaving = (*rig)->machine().ports.back().queue_of(0);
    if (rte_eth_add_tx_callback(leaving.port_id, leaving.queue, watch_copies, &watcher) ==
        nullptr) {
        return Error{ErrorCode::system,
                     "DPDK does not let us see what is sent: it was built without "
                     "RTE_ETHDEV_RXTX_CALLBACKS"};
    }
    // The TSC's rate is known only now.
    watcher.clock = FanOutClock(plan.rig.consumers, cycles_of(kOnTime));
    if (auto started = (*rig)->start(); !started) {
        return started.error();
    }
    auto watch = InterferenceWatch::start(plan.rig.worker_cpus, plan.generator_cpu);
    if (!watch) {
        return std::move(watch).error();
    }
    auto point = Measurement(plan, **rig, watcher, std::move(watch).value()).run();
    if (!point) {
        return point;
    }
    point->drivers = std::string_view(names_of((*rig)->machine()).drivers);
    if (auto balanced = (*rig)->stop(); !balanced) {
        return balanced.error();
    }
    return point;
}

}  // namespace penstock::bench
