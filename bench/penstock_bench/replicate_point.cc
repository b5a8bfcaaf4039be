#include "penstock_bench/replicate_point.h"

#include "penstock_bench/cpus.h"
#include "penstock_bench/least_disturbed.h"
#include "penstock_bench/running_relay.h"
#include "penstock_bench/temporary_directory.h"
#include "rig/capture_file.h"
#include "rig/instant_source.h"
#include "rig/relay_rig.h"

#include <fmt/format.h>
#include <rte_cycles.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

/// Enough that a source playing them over and over is not bound to a few cache lines.
constexpr std::uint32_t kCapturePacketsMin = 512;
/// What net_pcap gives every port, in infinite_rx mode, too.
constexpr MacAddress kCapturePortMac{{0x02, 0x70, 0x63, 0x61, 0x70, 0x00}};
constexpr MacAddress kOtherMac{{0x02, 0x70, 0x63, 0x61, 0x70, 0xff}};

/// The queue of worker `worker` brings the streams it owns, as of a NIC that steers by UDP port:
/// streams open at the workers in turn. A queue without any cannot be empty: it brings the smallest
/// frames for somebody else, which die on sight.
CaptureContent content_of(const ReplicatePlan& plan, std::size_t worker, const MacAddress& to_mac) {
    CaptureContent content;
    content.to_mac = to_mac;
    content.to = RelayRig::address_of(0);
    content.from = RelayRig::publisher();
    const std::size_t workers = plan.rig.worker_cpus.size();
    for (std::size_t stream = worker; stream < plan.rig.streams; stream += workers) {
        content.udp_ports.push_back(static_cast<std::uint16_t>(RelayRig::kFirstUdpPort + stream));
    }
    content.payload_bytes = plan.payload_bytes;
    if (content.udp_ports.empty()) {
        content.to_mac = kOtherMac;
        content.udp_ports = {RelayRig::kFirstUdpPort};
        content.payload_bytes = kPayloadBytesMin;
    }
    const auto streams = static_cast<std::uint32_t>(content.udp_ports.size());
    content.packets = std::max(kCapturePacketsMin, streams);
    return content;
}

/// Writes what each queue plays into `directory`. Returns: the port that plays it.
Result<std::string> capture_devargs(const ReplicatePlan& plan,
                                    const std::filesystem::path& directory) {
    std::string devargs = "net_pcap0";
    for (std::size_t worker = 0; worker < plan.rig.worker_cpus.size(); ++worker) {
        const std::filesystem::path capture = directory / fmt::format("{}.pcap", worker);
        const CaptureContent content = content_of(plan, worker, kCapturePortMac);
        if (auto written = write_capture(capture, content); !written) {
            return written.error();
        }
        devargs += fmt::format(",rx_pcap={}", capture.string());
    }
    return devargs + ",infinite_rx=1";
}

/// The relay, and what feeds it. The source outlives the relay's workers.
struct Setting {
    std::unique_ptr<InstantSource> source;  // unless DPDK's driver is the source
    std::unique_ptr<RelayRig> rig;
};

Result<Setting> set_up_instant(const ReplicatePlan& plan, RigOptions options) {
    options.ports.front() = InstantSource::devargs(plan.payload_bytes);
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    const Machine& machine = (*rig)->machine();
    const Port& port = machine.ports.front();
    std::vector<CaptureContent> contents;
    for (std::size_t worker = 0; worker < options.worker_cpus.size(); ++worker) {
        contents.push_back(content_of(plan, worker, port.info().mac));
    }
    auto source = InstantSource::start(port.queue_of(0).port_id, contents, *machine.payloads.get());
    if (!source) {
        return std::move(source).error();
    }
    return Setting{.source = std::move(source).value(), .rig = std::move(rig).value()};
}

/// `options`: with its ports.
Result<Setting> set_up_relay(const RigOptions& options) {
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    return Setting{.source = nullptr, .rig = std::move(rig).value()};
}

Result<Setting> set_up(const ReplicatePlan& plan) {
    RigOptions options = plan.rig;
    options.ports = {plan.source};
    if (plan.sink != plan.source || plan.source.empty()) {
        options.ports.push_back(plan.sink.empty() ? "net_null0,no-rx=1" : plan.sink);
        options.copies_port = 1;
    }
    if (plan.source == kInstantSource) {
        return set_up_instant(plan, std::move(options));
    }
    if (!plan.source.empty()) {
        return set_up_relay(options);
    }
    // The capture is read while the port is set up, and not needed afterwards.
    const auto directory = TemporaryDirectory::create();
    if (!directory) {
        return directory.error();
    }
    auto devargs = capture_devargs(plan, directory->path());
    if (!devargs) {
        return devargs.error();
    }
    options.ports.front() = std::move(devargs).value();
    return set_up_relay(options);
}

DropCounts drops_of(const RelayRig& rig) {
    DropCounts drops{};
    for (std::size_t worker = 0; worker < rig.worker_count(); ++worker) {
        for (std::size_t reason = 0; reason < drops.size(); ++reason) {
            drops[reason] += rig.counters(worker).drops[reason].read();
        }
    }
    return drops;
}

struct Trial {
    double copies_per_second;
    double cycles_per_copy;
    double packets_per_second;
    Interference interference;
    std::string disturbance;  // "" if it counts
};

class Measurement {
  public:
    Measurement(const ReplicatePlan& plan, const RelayRig& rig, InterferenceWatch watch)
        : plan_(plan), rig_(rig), watch_(std::move(watch)) {}

    Result<ReplicatePoint> run() {
        std::this_thread::sleep_for(plan_.trials.warm_up);
        const RigTotals before = rig_.totals();
        const DropCounts drops_before = drops_of(rig_);
        LeastDisturbed<Trial> trials(plan_.trials.trials);
        while (trials.wants_more()) {
            trials.add(one_trial());
        }
        const RigTotals after = rig_.totals();
        if (after.tx_packets == before.tx_packets) {
            return Error{ErrorCode::unavailable,
                         fmt::format("no copy left in {} trial(s): {}",
                                     trials.count() + trials.repeated(),
                                     silence())};
        }
        ReplicatePoint point = point_of(trials);
        point.copies = after.copies - before.copies;
        point.idle_share =
            idle_share(after.busy_cycles - before.busy_cycles, after.cycles - before.cycles);
        point.drops = drops_of(rig_);
        for (std::size_t reason = 0; reason < point.drops.size(); ++reason) {
            point.drops[reason] -= drops_before[reason];
        }
        return point;
    }

  private:
    Trial one_trial() {
        const Interference interference = watch_.now();
        const RigTotals before = rig_.totals();
        const std::uint64_t began = rte_rdtsc();
        std::this_thread::sleep_for(plan_.trials.trial_time);
        const RigTotals after = rig_.totals();
        const std::uint64_t ended = rte_rdtsc();
        const Interference during = watch_.since(interference);
        const auto cycles = static_cast<double>(ended - began);
        const double seconds = cycles / static_cast<double>(rte_get_tsc_hz());
        const auto copies = static_cast<double>(after.tx_packets - before.tx_packets);
        const auto workers = static_cast<double>(rig_.worker_count());
        return {.copies_per_second = copies / seconds,
                .cycles_per_copy = copies > 0 ? workers * cycles / copies : 0,
                .packets_per_second = static_cast<double>(after.content - before.content) / seconds,
                .interference = during,
                .disturbance = watch_.words_for(during, plan_.trials.trial_time)};
    }

    static ReplicatePoint point_of(const LeastDisturbed<Trial>& trials) {
        std::vector<double> rates;
        std::vector<double> cycles;
        std::vector<double> packets;
        for (const Trial& trial : trials.trials()) {
            rates.push_back(trial.copies_per_second);
            cycles.push_back(trial.cycles_per_copy);
            packets.push_back(trial.packets_per_second);
        }
        ReplicatePoint point;
        point.copies_per_second = spread_of(std::move(rates));
        point.cycles_per_copy = spread_of(std::move(cycles));
        point.packets_per_second = spread_of(std::move(packets));
        point.trials = trials.count();
        point.repeated = trials.repeated();
        point.disturbance = std::string_view(trials.disturbance());
        return point;
    }

    /// What to do about a relay that sends nothing.
    [[nodiscard]] std::string silence() const {
        if (rig_.totals().content == 0) {
            return fmt::format(
                "no content came in at {}; it is UDP from {} to {}:{} and the ports "
                "behind it, one a stream",
                rig_.machine().ports.front().info().name,
                to_string(RelayRig::publisher()),
                to_string(RelayRig::address_of(0)),
                RelayRig::kFirstUdpPort);
        }
        return fmt::format("port {} takes none; check its link",
                           rig_.machine().ports.back().info().name);
    }

    const ReplicatePlan& plan_;
    const RelayRig& rig_;
    InterferenceWatch watch_;
};

}  // namespace

Result<ReplicatePoint> measure_replicate(const ReplicatePlan& plan) {
    leave_cpus_to(plan.rig.worker_cpus);
    go_first();
    auto setting = set_up(plan);
    if (!setting) {
        return std::move(setting).error();
    }
    const std::unique_ptr<RelayRig>& rig = setting->rig;
    auto point = while_running<ReplicatePoint>(
        *rig, plan.rig.worker_cpus, std::nullopt, [&](InterferenceWatch watch) {
            return Measurement(plan, *rig, std::move(watch)).run();
        });
    if (point) {
        point->copies_in_all = rig->totals().tx_packets;
    }
    return point;
}

}  // namespace penstock::bench
