#include "penstock_bench/relay_peer.h"

#include "dpdk/eal.h"
#include "dpdk/packet_pool.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/traffic.h"
#include "rig/capture_file.h"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>
#include <utility>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kReadyPatience{60'000};
constexpr milliseconds kLeavePatience{10'000};
constexpr milliseconds kLinkPatience{10'000};
/// A generator that was stalled for longer has not offered the rate.
constexpr double kKeptShareMin = 0.98;
/// Of all copies, those that may come after the last packet was sent.
constexpr double kLateShareMax = 0.02;
constexpr std::uint64_t kMemoryBytes = std::uint64_t{128} << 20U;
constexpr std::uint32_t kMbufs = 16'383;

Error wrong(ErrorCode code, std::string message) { return {code, std::move(message)}; }

struct Wires {
    Eal eal;
    PacketPool pool;
    std::vector<Port> ports;
};

Result<void> open_port(const std::string& devargs, Wires& wires) {
    PortOptions options;
    options.devargs = devargs;
    auto port = Port::open(options, wires.pool.get());
    if (!port) {
        return std::move(port).error();
    }
    wires.ports.push_back(std::move(port).value());
    Port& opened = wires.ports.back();
    if (auto started = opened.start(); !started) {
        return started;
    }
    // Copies are addressed to consumers, whose MACs are none of the port's. A driver that cannot
    // be promiscuous receives everything anyway.
    rte_eth_promiscuous_enable(opened.id());
    const auto give_up = steady_clock::now() + kLinkPatience;
    while (opened.link() != LinkState::up) {
        if (steady_clock::now() > give_up) {
            return wrong(ErrorCode::timed_out,
                         fmt::format("port {} has no link after {} s: check the wire between it "
                                     "and the relay's port",
                                     opened.info().name,
                                     kLinkPatience.count() / 1000));
        }
        std::this_thread::sleep_for(milliseconds{1});
    }
    return {};
}

Result<Wires> open_wires(const RelayPlan& plan) {
    EalOptions options;
    options.program = "penstock-bench";
    options.memory_bytes = kMemoryBytes;
    options.no_huge = plan.rig.no_huge;
    for (const std::string& devargs : plan.peer_ports) {
        options.devices.push_back(complete_devargs(devargs, 1, PortOptions().mtu));
    }
    auto eal = Eal::start(options);
    if (!eal) {
        return std::move(eal).error();
    }
    auto pool = PacketPool::create("traffic", kMbufs, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    if (!pool) {
        return std::move(pool).error();
    }
    Wires wires{std::move(eal).value(), std::move(pool).value(), {}};
    for (const std::string& devargs : plan.peer_ports) {
        if (auto opened = open_port(devargs, wires); !opened) {
            return opened.error();
        }
    }
    return wires;
}

std::vector<std::uint8_t> content_frame(const RelayPlan& plan, const MacAddress& to_mac) {
    constexpr std::uint8_t kFiller = 0x47;
    CaptureContent content;
    content.to_mac = to_mac;
    content.to = RelayRig::address_of(0);
    content.from = RelayRig::publisher();
    return frame_of(
        content, RelayRig::kFirstUdpPort, std::vector<std::uint8_t>(plan.payload_bytes, kFiller));
}

struct Trial {
    TrafficCounts counts;
    double loss_share = 0;
    LostBy lost_by;
    double idle_share = 0;
    std::string disturbance;  // "" if there was none
};

class Measurement {
  public:
    Measurement(const RelayPlan& plan, RelayBoard& board, Traffic traffic, InterferenceWatch watch)
        : plan_(plan), board_(board), traffic_(std::move(traffic)), watch_(std::move(watch)) {}

    Result<RelayPoint> run() {
        constexpr double kUnpaced = std::numeric_limits<double>::infinity();
        const double warm_up = std::chrono::duration<double>(plan_.trials.warm_up).count();
        if (warm_up > 0 && traffic_.run(kUnpaced, warm_up).received == 0) {
            return silence();
        }
        std::vector<double> received;
        double offered = 0;
        double came_through = 0;
        for (std::uint64_t i = 0; i < plan_.trials.trials; ++i) {
            const Trial trial = one_trial(kUnpaced);
            received.push_back(per_second(trial.counts.in_time));
            offered = std::max(offered, per_second(trial.counts.sent));
            came_through = std::max(came_through, received.back() / copies_);
        }
        if (came_through <= 0) {
            return silence();
        }
        RelayPoint point;
        point.max_copies_per_second = spread_of(std::move(received));
        search(offered, came_through, point);
        return point;
    }

  private:
    void search(double offered, double came_through, RelayPoint& point) {
        RateSearch search(offered, came_through, plan_.goal);
        Trial found;
        Trial lossy;
        while (const auto rate = search.next()) {
            Trial trial = one_trial(*rate);
            const auto lossy_before = search.lossy();
            search.record(trial.loss_share, !trial.disturbance.empty());
            if (trial.loss_share <= plan_.goal.loss_share) {
                found = std::move(trial);
            } else if (search.lossy() != lossy_before) {
                lossy = std::move(trial);
            }
        }
        point.packets_per_second = search.found();
        point.lossy_packets_per_second = search.lossy().value_or(0);
        point.trials = search.trials();
        point.repeated = search.repeated();
        if (search.found() > 0) {
            point.offered_copies_per_second = per_second(found.counts.due) * copies_;
            point.received_copies_per_second = per_second(found.counts.received);
            point.loss_share = found.loss_share;
            point.idle_share = found.idle_share;
        }
        if (search.lossy()) {
            point.lost_by = lossy.lost_by;
            point.disturbance = std::string_view(lossy.disturbance);
        }
    }

    Trial one_trial(double packets_per_second) {
        const double seconds = std::chrono::duration<double>(plan_.trials.trial_time).count();
        const RelayCounts before = relay_counts();
        const Interference own_before = watch_.now();
        Trial trial;
        trial.counts = traffic_.run(packets_per_second, seconds);
        const Interference own = watch_.since(own_before);
        const RelayCounts after = relay_counts();
        trial.loss_share = share_lost(trial.counts);
        trial.lost_by = lost_between(before, after, trial.counts);
        trial.idle_share =
            idle_share(after.busy_cycles - before.busy_cycles, after.cycles - before.cycles);
        trial.disturbance =
            disturbance_of({.steal_ticks = own.steal_ticks + after.interference.steal_ticks -
                                           before.interference.steal_ticks,
                            .involuntary_switches = own.involuntary_switches +
                                                    after.interference.involuntary_switches -
                                                    before.interference.involuntary_switches},
                           plan_.trials.trial_time,
                           plan_.rig.worker_cpus.size() + 1,
                           ticks_per_second());
        const double kept = per_second(trial.counts.due) / packets_per_second;
        if (std::isfinite(packets_per_second) && kept < kKeptShareMin) {
            trial.loss_share = 1;
            trial.disturbance = fmt::format("the generator kept {:.0f} % of its rate", 100 * kept);
        }
        return trial;
    }

    /// What did not come, and if it is more than what is always on its way, what came too late:
    /// else the queues between would pass for speed in a trial that they can hold.
    [[nodiscard]] double share_lost(const TrafficCounts& counts) const {
        const double expected = static_cast<double>(counts.due) * copies_;
        if (expected <= 0) {
            return 1;
        }
        const double received = static_cast<double>(counts.received) / expected;
        const double in_time = static_cast<double>(counts.in_time) / expected;
        return std::max(0.0, 1 - (received - in_time > kLateShareMax ? in_time : received));
    }

    [[nodiscard]] LostBy lost_between(const RelayCounts& before,
                                      const RelayCounts& after,
                                      const TrafficCounts& counts) const {
        const auto less = [](std::uint64_t all, std::uint64_t part) {
            return all - std::min(all, part);
        };
        const std::uint64_t copies = plan_.rig.consumers;
        LostBy lost;
        lost.generator = less(counts.due, counts.sent) * copies;
        lost.before_relay = less(counts.sent, after.received - before.received) * copies;
        for (std::size_t reason = 0; reason < lost.drops.size(); ++reason) {
            const bool is_of_copies = is_copy_drop(static_cast<DropReason>(reason));
            lost.drops[reason] =
                (after.drops[reason] - before.drops[reason]) * (is_of_copies ? 1 : copies);
        }
        lost.late = counts.received - counts.in_time;
        lost.after_relay = less(after.tx_packets - before.tx_packets, counts.received);
        return lost;
    }

    /// Whether it counts copies, and not packets as they came in.
    static bool is_copy_drop(DropReason reason) {
        return reason == DropReason::fanout_overrun || reason == DropReason::history_overrun ||
               reason == DropReason::no_copy_mbuf || reason == DropReason::tx_queue_full;
    }

    [[nodiscard]] double per_second(std::uint64_t count) const {
        return static_cast<double>(count) /
               std::chrono::duration<double>(plan_.trials.trial_time).count();
    }

    /// A relay that does not answer has died, which its own process will say.
    RelayCounts relay_counts() { return board_.ask().value_or(RelayCounts()); }

    Error silence() {
        const RelayCounts counts = relay_counts();
        return wrong(ErrorCode::unavailable,
                     counts.received == 0
                         ? fmt::format("nothing that left {} came in at {}: check the wire",
                                       plan_.peer_ports.front(),
                                       plan_.ports.front())
                         : fmt::format("the relay received {} packets and sent {}, and none came "
                                       "in at {}: check the wire",
                                       counts.received,
                                       counts.tx_packets,
                                       plan_.peer_ports.back()));
    }

    const RelayPlan& plan_;
    RelayBoard& board_;
    Traffic traffic_;
    InterferenceWatch watch_;
    const double copies_ = plan_.rig.consumers;
};

}  // namespace

Result<RelayPoint> measure_from_peer(const RelayPlan& plan, RelayBoard& board) {
    run_on(plan.generator_cpu);
    go_first();
    const auto to_mac = board.wait(kReadyPatience);
    if (!to_mac) {
        return wrong(ErrorCode::unavailable, "the relay's process does not get ready");
    }
    auto wires = open_wires(plan);
    if (!wires) {
        return std::move(wires).error();
    }
    auto watch = InterferenceWatch::start({}, plan.generator_cpu);
    if (!watch) {
        return std::move(watch).error();
    }
    Traffic traffic(wires->ports.front(),
                    wires->ports.back(),
                    *wires->pool.get(),
                    content_frame(plan, *to_mac),
                    plan.rig.consumers);
    traffic.settle();
    auto point = Measurement(plan, board, std::move(traffic), std::move(watch).value()).run();
    // The relay goes first: net_memif unmaps a wire whose other end is gone, though a worker may
    // be reading it. A relay that does not leave has died, which its own process will say.
    board.stop_and_wait(kLeavePatience);
    return point;
}

}  // namespace penstock::bench
