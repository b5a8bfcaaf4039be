#include "data_server/load_report.h"

#include "base/check.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock {
namespace {

// On the wire each frame also costs preamble and start delimiter (8), FCS (4) and the gap between
// frames (12): IEEE 802.3 clauses 3 and 4. Link speed pays for these too.
constexpr std::uint64_t kWireOverheadBytes = 24;

double share_of(double part, double whole) noexcept {
    return whole <= 0 ? 0 : std::clamp(part / whole, 0.0, 1.0);
}

/// A share of lost packets as a share of kLossLimit.
double loss_share(std::uint64_t lost, std::uint64_t taken) noexcept {
    const auto all = static_cast<double>(lost) + static_cast<double>(taken);
    return all == 0 ? 0 : share_of(static_cast<double>(lost) / all, kLossLimit);
}

/// Counters of a device may be reset or read late: never a negative difference.
std::uint64_t rise(std::uint64_t before, std::uint64_t now) noexcept {
    return now > before ? now - before : 0;
}

Measure busy_share(const WorkerSnapshot& before, const WorkerSnapshot& now) {
    const auto busy = static_cast<double>(rise(before.busy_cycles, now.busy_cycles));
    const auto idle = static_cast<double>(rise(before.idle_cycles, now.idle_cycles));
    return share_of(busy, busy + idle);
}

Measure egress_share(const QueueSnapshot& before,
                     const QueueSnapshot& now,
                     std::uint64_t link_bits_per_second,
                     double seconds) {
    if (link_bits_per_second == 0) {
        return std::nullopt;
    }
    const std::uint64_t bytes = rise(before.tx_bytes, now.tx_bytes) +
                                rise(before.tx_packets, now.tx_packets) * kWireOverheadBytes;
    return share_of(static_cast<double>(bytes) * 8,
                    static_cast<double>(link_bits_per_second) * seconds);
}

QueueLoad queue_load(const LoadSnapshot& before,
                     const LoadSnapshot& now,
                     std::size_t index,
                     const LoadLimits& limits,
                     double seconds) {
    const QueueSnapshot& old = before.queues[index];
    const QueueSnapshot& queue = now.queues[index];
    const PortSnapshot& port = now.ports[queue.port];
    QueueLoad load;
    load.port = queue.port;
    load.worker = queue.worker;
    load.busy = busy_share(before.workers[queue.worker], now.workers[queue.worker]);
    if (queue.rx_waiting) {
        load.rx_fill = share_of(static_cast<double>(*queue.rx_waiting),
                                static_cast<double>(limits.rx_descriptors));
    }
    load.tx_shortfall =
        loss_share(rise(old.tx_unsent, queue.tx_unsent), rise(old.tx_packets, queue.tx_packets));
    if (port.missed && before.ports[queue.port].missed) {
        load.missed = loss_share(rise(*before.ports[queue.port].missed, *port.missed),
                                 rise(old.rx_packets, queue.rx_packets));
    }
    load.egress = egress_share(old, queue, port.link_bits_per_second, seconds);
    return load;
}

/// Keeps the largest share seen and its name; of equal ones the first.
class Largest {
  public:
    template <typename... Values>
    void offer(const Measure& measure, fmt::format_string<Values...> name, Values&&... values) {
        if (measure && (name_.empty() || *measure > share_)) {
            share_ = *measure;
            name_ = fmt::format(name, std::forward<Values>(values)...);
        }
    }
    [[nodiscard]] double share() const noexcept { return share_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

  private:
    double share_ = 0;
    std::string name_;
};

/// Egress of a whole port: the link is shared by its queues.
void offer_egress(const LoadReport& report, std::size_t ports, Largest& largest) {
    for (std::size_t port = 0; port < ports; ++port) {
        Measure sum;
        for (const QueueLoad& queue : report.queues) {
            if (queue.port == port && queue.egress) {
                sum = std::min(1.0, sum.value_or(0) + *queue.egress);
            }
        }
        largest.offer(sum, "port {} egress", port);
    }
}

control::LinkState told(LinkState state) noexcept {
    switch (state) {
        case LinkState::up:
            return control::LinkState::up;
        case LinkState::down:
            return control::LinkState::down;
        case LinkState::unknown:
            break;
    }
    return control::LinkState::unknown;
}

}  // namespace

LoadReport make_load_report(const LoadSnapshot& before,
                            const LoadSnapshot& now,
                            const LoadLimits& limits) {
    PENSTOCK_CHECK(before.queues.size() == now.queues.size());
    LoadReport report;
    const double seconds = limits.tsc_hz == 0 ? 0
                                              : static_cast<double>(rise(before.tsc, now.tsc)) /
                                                    static_cast<double>(limits.tsc_hz);
    Largest largest;
    for (std::size_t i = 0; i < now.queues.size(); ++i) {
        const QueueLoad load = queue_load(before, now, i, limits, seconds);
        largest.offer(load.busy, "worker {} busy", load.worker);
        largest.offer(load.rx_fill, "port {} worker {} receive queue", load.port, load.worker);
        largest.offer(
            load.tx_shortfall, "port {} worker {} transmit queue", load.port, load.worker);
        largest.offer(load.missed, "port {} missed", load.port);
        report.queues.push_back(load);
    }
    offer_egress(report, now.ports.size(), largest);
    if (limits.pool_packets > 0) {
        report.pool_use = share_of(static_cast<double>(now.pool_packets_used),
                                   static_cast<double>(limits.pool_packets));
        largest.offer(report.pool_use, "packet pool");
    }
    report.utilisation = largest.share();
    report.bottleneck = largest.name();
    report.packets_in = now.packets_in;
    report.copies = now.copies;
    report.drops = now.drops;
    return report;
}

void Liveness::look(const LoadSnapshot& now, std::uint64_t now_ms, LoadReport& report) {
    std::vector<std::uint64_t> received(now.ports.size(), 0);
    for (const QueueSnapshot& queue : now.queues) {
        received[queue.port] += queue.rx_packets;
    }
    std::vector<std::uint64_t> turns;
    for (const WorkerSnapshot& worker : now.workers) {
        turns.push_back(worker.turns);
    }
    ports_.look(received, now_ms);
    workers_.look(turns, now_ms);
    for (std::size_t port = 0; port < now.ports.size(); ++port) {
        report.ports.push_back({told(now.ports[port].link), ports_.still_ms(port)});
    }
    for (std::size_t worker = 0; worker < turns.size(); ++worker) {
        if (workers_.still_ms(worker) >= kStuckMs) {
            report.stuck_workers.push_back(static_cast<std::uint32_t>(worker));
        }
    }
    workers_move_ = report.stuck_workers.empty();
}

std::vector<StreamLoad> StreamLoadDiff::changed(std::span<const StreamLoad> now) {
    std::vector<StreamLoad> sorted(now.begin(), now.end());
    std::ranges::sort(sorted, {}, &StreamLoad::stream);
    const auto unchanged = [this](const StreamLoad& load) {
        const auto known =
            std::ranges::lower_bound(reported_, load.stream, {}, &StreamLoad::stream);
        return known != reported_.end() && *known == load;
    };
    std::vector<StreamLoad> result;
    const auto start = std::ranges::upper_bound(sorted, last_, {}, &StreamLoad::stream);
    std::rotate(sorted.begin(), start, sorted.end());
    std::vector<StreamLoad> known;
    known.reserve(sorted.size());
    for (const StreamLoad& load : sorted) {
        const bool same = unchanged(load);
        if (!same && result.size() < control::kLoadStreamsMax) {
            result.push_back(load);
            known.push_back(load);
            last_ = load.stream;
        } else if (const auto old =
                       std::ranges::lower_bound(reported_, load.stream, {}, &StreamLoad::stream);
                   old != reported_.end() && old->stream == load.stream) {
            known.push_back(*old);  // as reported, so that the change is still seen next time
        }
    }
    std::ranges::sort(known, {}, &StreamLoad::stream);
    reported_ = std::move(known);
    return result;
}

}  // namespace penstock
