#include "penstock_bench/fairness_point.h"

#include "data_path/counters.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/fan_out_clock.h"
#include "penstock_bench/latency_point.h"
#include "penstock_bench/stamped_content.h"
#include "penstock_bench/statistics.h"

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
/// Who reads the worker's counters takes their cache line from it.
constexpr std::chrono::microseconds kLookEach{5};
constexpr std::uint32_t kLarge = 0;  // streams
constexpr std::uint32_t kSmall = 1;

std::uint64_t cycles_of(std::chrono::nanoseconds duration) {
    return static_cast<std::uint64_t>(std::chrono::duration<double>(duration).count() *
                                      static_cast<double>(rte_get_tsc_hz()));
}

/// Sees the small stream's copies where the worker hands them to their port.
struct Watcher {
    FanOutClock clock;
    Counter copies;  // written: the worker, after the clock. Read: the generator, acquired
};

/// Content of one stream, sent by the thread that calls.
class Source {
  public:
    Source(const FairnessPlan& plan, const RelayRig& rig, std::uint32_t stream)
        : arriving_(*rig.ring_port(0).arriving),
          pool_(*rig.machine().payloads.get()),
          content_(content_of(plan, rig), stream) {}

    void send(std::uint64_t due_tsc, std::uint64_t now) noexcept {
        rte_mbuf* const packet = rte_pktmbuf_alloc(&pool_);
        if (packet == nullptr) {
            return;
        }
        content_.write(*packet,
                       {.due_tsc = due_tsc,
                        .number = static_cast<std::uint32_t>(sent_),
                        .late_cycles = static_cast<std::uint32_t>(now - due_tsc)});
        if (rte_ring_sp_enqueue(&arriving_, packet) != 0) {
            rte_pktmbuf_free(packet);
            return;
        }
        ++sent_;
    }
    /// Since the program began.
    [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }

  private:
    static CaptureContent content_of(const FairnessPlan& plan, const RelayRig& rig) {
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
    std::uint64_t sent_ = 0;
};

/// When the packets of a stream are due: evenly, from `began` on.
class Schedule {
  public:
    Schedule(std::uint64_t began, double packets_per_second)
        : began_(began),
          interval_(static_cast<double>(rte_get_tsc_hz()) / packets_per_second),
          due_(began) {}
    [[nodiscard]] std::uint64_t due() const noexcept { return due_; }
    [[nodiscard]] std::uint64_t passed() const noexcept { return passed_; }
    void pass() noexcept {
        ++passed_;
        due_ = began_ + static_cast<std::uint64_t>(interval_ * static_cast<double>(passed_));
    }

  private:
    std::uint64_t began_;
    double interval_;
    std::uint64_t due_;
    std::uint64_t passed_ = 0;
};

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

/// Trials of one kind: as many as wanted, the least disturbed ones.
class Trials {
  public:
    explicit Trials(std::uint64_t wanted) : wanted_(wanted) {}

    [[nodiscard]] bool is_complete() const noexcept { return undisturbed_ >= wanted_; }
    void add(Trial trial) {
        undisturbed_ += trial.disturbance.empty() ? 1 : 0;
        trials_.push_back(std::move(trial));
        std::stable_sort(trials_.begin(), trials_.end(), [](const Trial& a, const Trial& b) {
            return is_less(a.interference, b.interference);
        });
        if (trials_.size() > wanted_) {
            trials_.pop_back();
            ++repeated_;
        }
    }
    [[nodiscard]] const std::vector<Trial>& all() const noexcept { return trials_; }
    [[nodiscard]] std::uint32_t repeated() const noexcept { return repeated_; }
    [[nodiscard]] Histogram added() const {
        Histogram sum;
        for (const Trial& trial : trials_) {
            sum.add(trial.added);
        }
        return sum;
    }

  private:
    std::uint64_t wanted_;
    std::uint64_t undisturbed_ = 0;
    std::uint32_t repeated_ = 0;
    std::vector<Trial> trials_;
};

class Measurement {
  public:
    Measurement(const FairnessPlan& plan,
                const RelayRig& rig,
                Watcher& watcher,
                InterferenceWatch watch)
        : plan_(plan),
          rig_(rig),
          watcher_(watcher),
          watch_(std::move(watch)),
          large_(plan, rig, kLarge),
          small_(plan, rig, kSmall) {}

    Result<FairnessPoint> run() {
        FairnessPoint point;
        closed_loop(plan_.trials.warm_up);
        std::vector<double> rates;
        for (std::uint64_t i = 0; i < plan_.trials.trials; ++i) {
            rates.push_back(closed_loop(plan_.trials.trial_time));
        }
        point.max_copies_per_second = spread_of(std::move(rates)).median;
        if (point.max_copies_per_second <= 0) {
            return Error{ErrorCode::unavailable,
                         "no copy left the relay within the trial time; give more --trial-time"};
        }
        point.large_packets_per_second =
            plan_.load * point.max_copies_per_second / static_cast<double>(plan_.rig.consumers);
        Trials alone(plan_.trials.trials);
        Trials beside(plan_.trials.trials);
        const std::uint64_t attempts = plan_.trials.trials * (1 + kRepeatsPerTrial);
        for (std::uint64_t i = 0; i < attempts; ++i) {
            if (alone.is_complete() && beside.is_complete()) {
                break;
            }
            alone.add(open_loop(0));
            beside.add(open_loop(point.large_packets_per_second));
        }
        return summed(point, alone, beside);
    }

  private:
    static Result<FairnessPoint> summed(FairnessPoint point,
                                        const Trials& alone,
                                        const Trials& beside) {
        const Histogram added_alone = alone.added();
        const Histogram added_beside = beside.added();
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
            for (const Trial& trial : kind->all()) {
                due += trial.due;
                late += trial.late;
                point.lost_copies += trial.lost;
                busy_cycles += kind == &beside ? trial.busy_cycles : 0;
                cycles += kind == &beside ? trial.cycles : 0;
                if (!trial.disturbance.empty()) {
                    point.disturbance = std::string_view(trial.disturbance);
                }
            }
        }
        point.late_share = static_cast<double>(late) / static_cast<double>(due);
        point.idle_share =
            1 - static_cast<double>(busy_cycles) / std::max(static_cast<double>(cycles), 1.0);
        point.trials = static_cast<std::uint32_t>(beside.all().size());
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
            return passed < cycles || (copies == 0 && passed < cycles + cycles_of(kPatience));
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
        watcher_.clock.clear();
        const RigTotals before = rig_.totals();
        const std::uint64_t expected_before = large_.sent() * plan_.rig.consumers + small_.sent();
        const std::uint64_t on_time = cycles_of(kOnTime);
        const Interference interference = watch_.now();
        const std::uint64_t began = rte_rdtsc();
        const std::uint64_t end = began + cycles_of(plan_.trials.trial_time);
        Schedule small(began, plan_.packets_per_second);
        Schedule large(large_packets_per_second > 0 ? began : end,
                       std::max(large_packets_per_second, 1.0));
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
        trial.added = watcher_.clock.added();
        trial.due = small.passed();
        const RigTotals after = rig_.totals();
        trial.lost = small.passed() + large.passed() * plan_.rig.consumers -
                     (after.tx_packets - before.tx_packets);
        trial.busy_cycles = after.busy_cycles - before.busy_cycles;
        trial.cycles = after.cycles - before.cycles;
        return trial;
    }

    /// Waits until the workers have made `copies` in all, or none for a while.
    void settle(std::uint64_t copies) const noexcept {
        const std::uint64_t patience = cycles_of(kPatience);
        std::uint64_t quiet_since = rte_rdtsc();
        std::uint64_t seen = rig_.totals().copies;
        while (seen < copies && rte_rdtsc() - quiet_since < patience) {
            rte_pause();
            if (const std::uint64_t now = rig_.totals().copies; now != seen) {
                seen = now;
                quiet_since = rte_rdtsc();
            }
        }
        while (watcher_.copies.acquire() < small_.sent() && rte_rdtsc() - quiet_since < patience) {
            rte_pause();
        }
    }

    const FairnessPlan& plan_;
    const RelayRig& rig_;
    Watcher&
        watcher_;  // its clock: the worker's while packets are on their way, else this thread's
    InterferenceWatch watch_;
    Source large_;
    Source small_;
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

Result<FairnessPoint> measure_fairness(const FairnessPlan& plan) {
    run_on(plan.generator_cpu);
    go_first();
    RigOptions options = plan.rig;
    options.ports = {"content", "net_null0,no-rx=1", "net_null1,no-rx=1"};
    options.ring_ports = 1;
    options.copies_port = 1;
    options.single_streams = 1;
    options.single_copies_port = 2;
    Watcher watcher{.clock = FanOutClock(1, 0), .copies = {}};  // outlives the workers
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
    watcher.clock = FanOutClock(1, cycles_of(kOnTime));
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
