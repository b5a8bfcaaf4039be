#pragma once

#include "base/net_address.h"
#include "data_server/worker_thread.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace penstock {

/// One NIC port and the data address it carries.
struct PortConfig {
    std::string devargs;  // DPDK devargs: "net_af_packet0,iface=data0" or "0000:01:00.0"
    InterfaceAddress address;

    auto operator<=>(const PortConfig&) const = default;
};

/// UDP ports that are streams: first..last.
struct StreamPorts {
    std::uint16_t first;
    std::uint16_t last;

    [[nodiscard]] std::uint32_t count() const noexcept { return last - first + 1U; }
    auto operator<=>(const StreamPorts&) const = default;
};

/// Everything penstock-data is told at start; constant afterwards. The comment names the option;
/// its unit and range stand in config.cc, where --help and the check come from.
struct DataServerConfig {
    std::string id;                                          // --id
    std::vector<std::string> presence;                       // --presence HOST:PORT, tried in turn
    std::vector<PortConfig> ports;                           // --port and --address, pair by pair
    StreamPorts stream_ports{20000, 29999};                  // --stream-ports
    std::vector<unsigned> worker_cpus;                       // --worker-cpus, one per worker
    PollMode poll = PollMode::adaptive;                      // --poll
    bool no_huge = false;                                    // --no-huge
    std::uint64_t memory_bytes = std::uint64_t{256} << 20U;  // --memory
    std::uint32_t ring_packets = 4096;                       // --ring-packets of a stream; 0: none
    std::uint64_t ring_bytes = std::uint64_t{64} << 20U;     // --ring-bytes, payload of a stream
    std::uint32_t streams_max = 1024;                        // --streams-max
    std::uint32_t consumers_max = 131072;                    // --consumers-max, of all streams
    std::optional<std::uint16_t> copy_threshold_bytes;       // --copy-threshold; none: by driver
    std::chrono::milliseconds lease{15'000};                 // --lease
    std::chrono::milliseconds keepalive{5'000};              // --keepalive
    std::string tap_name = "pst%d";                          // --tap-name
    std::uint64_t link_bits_per_second = 0;                  // --link-speed; 0: ask the driver
    std::uint16_t rx_descriptors = 1024;                     // --rx-descriptors
    std::uint16_t tx_descriptors = 1024;                     // --tx-descriptors
    std::uint16_t mtu = 1500;                                // --mtu
    TlsFiles tls;           // --tls-ca --tls-cert --tls-key: towards presence
    bool insecure = false;  // --insecure

    std::string effective;  // the options in force as INI text, for the log

    [[nodiscard]] unsigned worker_count() const noexcept {
        return static_cast<unsigned>(worker_cpus.size());
    }
};

/// Reads argv, the environment and --config, and checks how the values relate. `usable_cpus`: the
/// CPUs this process may run on. nullopt: --help or --version has been answered.
/// Errors: invalid_argument, one line naming the option, what is wrong, and what to write instead.
/// Thread: main, at start.
Result<std::optional<DataServerConfig>> parse_config(int argc,
                                                     const char* const* argv,
                                                     const std::set<unsigned>& usable_cpus);

/// The CPUs this process may run on (sched_getaffinity).
std::set<unsigned> usable_cpus();

}  // namespace penstock
