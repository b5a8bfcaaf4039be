#pragma once

#include "base/unique_fd.h"
#include "data_server/config.h"
#include "data_server/exception_tap.h"
#include "data_server/neighbours.h"
#include "data_server/quiet_linux.h"
#include "data_server/stream_table.h"
#include "dpdk/eal.h"
#include "dpdk/packet_pool.h"
#include "dpdk/port.h"

#include <penstock/result.h>

#include <memory>
#include <vector>

namespace penstock {

/// What the data server takes of the machine: DPDK's environment, memory, NIC ports, and for each
/// port its TAP. Members stand in the order they are set up; the destructor takes them down in
/// reverse and leaves nothing behind. Thread: main.
struct Machine {
    std::vector<UniqueFd> claims;  // of interfaces that Linux shares
    Eal eal;
    PoolPlan plan;
    PacketPool payloads;             // what NICs receive into, and the streams' rings
    PacketPool control_frames;       // what the control thread sends
    std::vector<PacketPool> copies;  // by worker
    std::vector<QuietLinux> quiets;  // of ports that Linux shares
    std::vector<Port> ports;         // started
    std::vector<ExceptionTap> taps;  // by port
    std::unique_ptr<Neighbours> neighbours;

    /// Errors: one line with what, why, and what to do.
    static Result<Machine> set_up(const DataServerConfig& config);
    /// Without TAPs and neighbours: for who needs nothing of Linux.
    static Result<Machine> set_up_ports(const DataServerConfig& config);
    /// Its first half: the environment with the ports' devices.
    static Result<Eal> start_environment(const DataServerConfig& config);
    /// Its second half, in an environment that has the ports' devices, whoever made them.
    static Result<Machine> set_up_ports(const DataServerConfig& config, Eal eal);

    /// Where copies of worker `worker` on port `port` come from.
    [[nodiscard]] rte_mempool* copy_pool(std::size_t worker, std::size_t port) const;
    [[nodiscard]] int socket() const noexcept { return ports.front().info().socket; }
};

/// What the streams of a data server with these options and ports look like.
StreamTableConfig stream_table_config(const DataServerConfig& config, const Machine& machine);

/// Places in the rings between one worker and control, and between two workers.
inline constexpr unsigned kControlRingPackets = 1024;
inline constexpr unsigned kHandOverRingPackets = 1024;

}  // namespace penstock
