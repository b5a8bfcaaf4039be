#include "data_server/machine.h"

#include "base/log.h"
#include "data_path/flow_group.h"
#include "data_path/shares.h"
#include "data_path/stream.h"
#include "data_server/interface_claim.h"
#include "data_server/stream_memory.h"

#include <fmt/format.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <iterator>
#include <net/if.h>
#include <utility>

namespace penstock {
namespace {

constexpr std::uint64_t kMemoryForRings = std::uint64_t{4} << 20U;

PortOptions port_options(const DataServerConfig& config, const PortConfig& port) {
    PortOptions options;
    options.devargs = port.devargs;
    options.workers = static_cast<std::uint16_t>(config.worker_count());
    options.rx_descriptors = config.rx_descriptors;
    options.tx_descriptors = config.tx_descriptors;
    options.mtu = config.mtu;
    options.inline_payload_bytes_max = config.copy_threshold_bytes;
    return options;
}

/// Before DPDK touches them: the net_af_xdp driver takes the XDP program off an interface when it
/// closes, also one of another process.
Result<std::vector<UniqueFd>> claim_interfaces(const DataServerConfig& config) {
    std::vector<UniqueFd> claims;
    for (const PortConfig& port : config.ports) {
        const std::string interface = interface_of(port.devargs);
        const unsigned if_index = interface.empty() ? 0 : ::if_nametoindex(interface.c_str());
        if (if_index == 0) {
            continue;  // none that is there: DPDK will say what it makes of that
        }
        auto claim = claim_interface(interface, if_index);
        if (!claim) {
            return std::move(claim).error();
        }
        claims.push_back(std::move(claim).value());
    }
    return claims;
}

/// Frames the control thread may have on their way: in the workers' rings and on the NICs'.
std::uint32_t control_mbufs(const DataServerConfig& config) {
    const auto queues = static_cast<std::uint32_t>(config.worker_count() * config.ports.size());
    return 2 * kControlRingPackets + 256 * queues;
}

PoolDemand demand_of(const DataServerConfig& config, std::span<const PortInfo> ports) {
    PoolDemand demand;
    demand.memory_bytes = config.memory_bytes;
    constexpr std::uint64_t kAllocatorsShare = 16;  // of slabs, chunks and directories
    const std::uint64_t flow_bytes =
        sizeof(FlowRecord) + sizeof(FlowHeaders) + sizeof(void*) + kAllocatorsShare;
    const std::uint64_t flows =
        std::min(config.consumers_max * flow_bytes, config.memory_bytes / 8);
    // Streams without history have rings that little memory for packets stands behind.
    const std::uint64_t groups_bytes =
        ports.size() * (sizeof(FlowGroup) + sizeof(FlowPlaces<kFewFlows>));
    const std::uint64_t streams =
        config.ring_packets == 0
            ? config.streams_max * (sizeof(Stream) + groups_bytes + kUnkeptPackets * sizeof(Slot))
            : 0;
    demand.other_bytes = kMemoryForRings + flows + streams +
                         control_mbufs(config) * std::uint64_t{RTE_MBUF_DEFAULT_BUF_SIZE + 256};
    demand.workers = config.worker_count();
    demand.ports = static_cast<std::uint32_t>(ports.size());
    demand.rx_descriptors = config.rx_descriptors;
    demand.tx_descriptors = config.tx_descriptors;
    const auto between_two = static_cast<std::uint32_t>(kHandOverRingPackets + kShareRingPackets);
    demand.control_rings =
        demand.workers * (2 * kControlRingPackets + (demand.workers - 1) * between_two);
    demand.mtu = config.mtu;
    demand.inline_payload_bytes_max = 0;
    for (const PortInfo& port : ports) {
        const bool from_rx_pool = copies_from_rx_pool(port.driver);
        demand.copies_from_rx_pool = demand.copies_from_rx_pool || from_rx_pool;
        const std::uint32_t most =
            copy_mode_of(port.driver, config.copy_threshold_bytes).inline_payload_bytes_max;
        if (!from_rx_pool) {
            // An always-inline port says 65535; no payload is larger than the MTU.
            demand.inline_payload_bytes_max = std::max(demand.inline_payload_bytes_max,
                                                       std::min<std::uint32_t>(most, config.mtu));
        }
    }
    return demand;
}

Result<std::vector<PortInfo>> describe_ports(const DataServerConfig& config) {
    std::vector<PortInfo> ports;
    for (const PortConfig& port : config.ports) {
        auto info = Port::describe(port_options(config, port));
        if (!info) {
            return std::move(info).error();
        }
        ports.push_back(std::move(info).value());
    }
    return ports;
}

Result<std::vector<PacketPool>> make_copy_pools(const PoolPlan& plan,
                                                unsigned workers,
                                                int socket) {
    std::vector<PacketPool> pools;
    for (unsigned worker = 0; worker < workers; ++worker) {
        auto pool = PacketPool::create(
            fmt::format("copies{}", worker), plan.copy_mbufs, plan.copy_data_room, socket);
        if (!pool) {
            return std::move(pool).error();
        }
        pools.push_back(std::move(pool).value());
    }
    return pools;
}

/// Opens and starts each port, Linux kept quiet before the first packet can come.
Result<void> start_ports(const DataServerConfig& config, Machine& machine) {
    for (const PortConfig& wanted : config.ports) {
        auto port = Port::open(port_options(config, wanted), machine.payloads.get());
        if (!port) {
            return std::move(port).error();
        }
        machine.ports.push_back(std::move(port).value());
        const PortInfo& info = machine.ports.back().info();
        if (info.interface_index != 0) {
            auto quiet = QuietLinux::install(info.interface_index);
            if (!quiet) {
                return std::move(quiet).error();
            }
            machine.quiets.push_back(std::move(quiet).value());
        }
        if (auto started = machine.ports.back().start(); !started) {
            return started;
        }
    }
    return {};
}

Result<void> make_taps(const DataServerConfig& config, Machine& machine) {
    std::vector<unsigned> if_indexes;
    for (std::size_t i = 0; i < machine.ports.size(); ++i) {
        auto tap = ExceptionTap::open(
            config.tap_name, {machine.ports[i].info().mac, config.mtu, config.ports[i].address});
        if (!tap) {
            return std::move(tap).error();
        }
        if_indexes.push_back(tap->if_index());
        machine.taps.push_back(std::move(tap).value());
    }
    auto neighbours = Neighbours::open(std::move(if_indexes));
    if (!neighbours) {
        return std::move(neighbours).error();
    }
    machine.neighbours = std::move(neighbours).value();
    return {};
}

Result<Machine> make_pools(const DataServerConfig& config, Eal eal) {
    const auto infos = describe_ports(config);
    if (!infos) {
        return infos.error();
    }
    const auto plan = plan_pools(demand_of(config, *infos));
    if (!plan) {
        return plan.error();
    }
    const int socket = infos->front().socket;
    auto payloads =
        PacketPool::create("payloads", plan->payload_mbufs, plan->payload_data_room, socket);
    if (!payloads) {
        return std::move(payloads).error();
    }
    auto frames = PacketPool::create(
        "control_frames", control_mbufs(config), plan->payload_data_room, socket);
    if (!frames) {
        return std::move(frames).error();
    }
    auto copies = make_copy_pools(*plan, config.worker_count(), socket);
    if (!copies) {
        return std::move(copies).error();
    }
    return Machine{.claims = {},
                   .eal = std::move(eal),
                   .plan = *plan,
                   .payloads = std::move(payloads).value(),
                   .control_frames = std::move(frames).value(),
                   .copies = std::move(copies).value(),
                   .quiets = {},
                   .ports = {},
                   .taps = {},
                   .neighbours = {}};
}

}  // namespace

Result<Eal> Machine::start_environment(const DataServerConfig& config) {
    EalOptions options;
    options.program = "penstock-data";
    options.memory_bytes = config.memory_bytes;
    options.no_huge = config.no_huge;
    options.worker_cpus = config.worker_cpus;
    const auto workers = static_cast<std::uint16_t>(config.worker_count());
    for (const PortConfig& port : config.ports) {
        if (auto checked = check_interface_queues(port.devargs, workers); !checked) {
            return std::move(checked).error();
        }
        std::ranges::move(devices_of(port.devargs, workers, config.mtu),
                          std::back_inserter(options.devices));
    }
    return Eal::start(options);
}

Result<Machine> Machine::set_up_ports(const DataServerConfig& config) {
    auto claims = claim_interfaces(config);
    if (!claims) {
        return std::move(claims).error();
    }
    auto eal = start_environment(config);
    if (!eal) {
        return std::move(eal).error();
    }
    auto machine = set_up_ports(config, std::move(eal).value());
    if (machine) {
        machine->claims = std::move(claims).value();
    }
    return machine;
}

Result<Machine> Machine::set_up_ports(const DataServerConfig& config, Eal eal) {
    auto machine = make_pools(config, std::move(eal));
    if (!machine) {
        return machine;
    }
    if (auto started = start_ports(config, *machine); !started) {
        return std::move(started).error();
    }
    return machine;
}

Result<Machine> Machine::set_up(const DataServerConfig& config) {
    auto machine = set_up_ports(config);
    if (!machine) {
        return machine;
    }
    if (auto made = make_taps(config, *machine); !made) {
        return std::move(made).error();
    }
    for (const std::string& line : lines_of(machine->plan)) {
        log_info(line);
    }
    return machine;
}

StreamTableConfig stream_table_config(const DataServerConfig& config, const Machine& machine) {
    StreamTableConfig table;
    table.udp_port_first = config.stream_ports.first;
    table.udp_port_last = config.stream_ports.last;
    table.streams_max = config.streams_max;
    table.ring_packets = config.ring_packets;
    table.ring_bytes = config.ring_bytes;
    for (std::size_t i = 0; i < machine.ports.size(); ++i) {
        table.ports.push_back({machine.ports[i].info().mac, config.ports[i].address.ip});
    }
    return table;
}

rte_mempool* Machine::copy_pool(std::size_t worker, std::size_t port) const {
    return copies_from_rx_pool(ports[port].info().driver) ? payloads.get() : copies[worker].get();
}

}  // namespace penstock
