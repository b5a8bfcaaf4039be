#include "penstock_bench/relay_point.h"

#include "penstock_bench/child.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/relay_board.h"
#include "penstock_bench/relay_peer.h"
#include "penstock_bench/running_relay.h"
#include "penstock_bench/temporary_directory.h"
#include "rig/relay_rig.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <utility>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStopPatience{60'000};

/// What the relay's process has to say at its end.
struct RelayPorts {
    FixedText<200> drivers;
    FixedText<200> nics;
};

RelayCounts counts_of(const RelayRig& rig, const InterferenceWatch& watch) {
    RelayCounts counts;
    const RigTotals totals = rig.totals();
    counts.tx_packets = totals.tx_packets;
    counts.busy_cycles = totals.busy_cycles;
    counts.cycles = totals.cycles;
    for (std::size_t worker = 0; worker < rig.worker_count(); ++worker) {
        const WorkerCounters& its = rig.counters(worker);
        for (const PortCounters& port : its.ports) {
            counts.received += port.rx_packets.read();
        }
        for (std::size_t reason = 0; reason < counts.drops.size(); ++reason) {
            counts.drops[reason] += its.drops[reason].read();
        }
    }
    counts.interference = watch.now();
    return counts;
}

Result<RelayPorts> run_relay(const RelayPlan& plan, RelayBoard& board) {
    leave_cpus_to(plan.rig.worker_cpus);
    go_first();
    RigOptions options = plan.rig;
    options.ports = plan.ports;
    options.copies_port = static_cast<std::uint8_t>(plan.ports.size() - 1);
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    return while_running<RelayPorts>(
        **rig, plan.rig.worker_cpus, std::nullopt, [&](const InterferenceWatch& watch) {
            board.serve((*rig)->machine().ports.front().info().mac,
                        [&] { return counts_of(**rig, watch); });
            return RelayPorts();
        });
}

Result<void> be_relay(const RelayPlan& plan, RelayBoard& board, void* result) {
    auto ports = run_relay(plan, board);
    board.leave();
    if (!ports) {
        board.give_up();
        return std::move(ports).error();
    }
    *static_cast<RelayPorts*>(result) = *ports;
    return {};
}

/// Two wires of shared memory between two processes; see
/// https://doc.dpdk.org/guides-22.11/nics/memif.html
void wire_by_memif(const std::filesystem::path& directory, RelayPlan& plan) {
    constexpr int kRingSizeLog2 = 12;
    for (const char* const wire : {"content", "copies"}) {
        const auto devargs = [&](const char* role) {
            return fmt::format("net_memif_{},role={},id=0,socket={},socket-abstract=no,rsize={}",
                               wire,
                               role,
                               (directory / wire).string(),
                               kRingSizeLog2);
        };
        plan.ports.push_back(devargs("server"));
        plan.peer_ports.push_back(devargs("client"));
    }
}

milliseconds search_patience(const TrialPlan& plan) {
    // Beside its time, each trial settles for a moment.
    constexpr milliseconds kSettle{2'500};
    const auto trial = std::chrono::ceil<milliseconds>(plan.trial_time) + kSettle;
    return patience_for(plan) + trial * (RateSearch::kTrialsMax + plan.trials);
}

Result<RelayPoint> measure_between(const RelayPlan& plan, RelayBoard& board) {
    auto relay = Child::start(sizeof(RelayPorts),
                              [&](void* result) { return be_relay(plan, board, result); });
    if (!relay) {
        return std::move(relay).error();
    }
    auto point = in_child<RelayPoint>(search_patience(plan.trials),
                                      [&] { return measure_from_peer(plan, board); });
    board.stop();
    RelayPorts ports;
    // What the relay says comes first: the peer's trouble may well follow from it.
    if (auto taken = relay->take(&ports, kStopPatience); !taken) {
        return taken.error();
    }
    if (point) {
        point->drivers = ports.drivers;
        point->nics = ports.nics;
    }
    return point;
}

}  // namespace

Result<RelayPoint> measure_relay(const RelayPlan& plan) {
    auto board = share_relay_board();
    if (!board) {
        return std::move(board).error();
    }
    if (!plan.ports.empty()) {
        return measure_between(plan, **board);
    }
    const auto directory = TemporaryDirectory::create();
    if (!directory) {
        return directory.error();
    }
    RelayPlan wired = plan;
    wire_by_memif(directory->path(), wired);
    return measure_between(wired, **board);
}

}  // namespace penstock::bench
