#pragma once

#include "data_server/machine.h"

#include <string>
#include <string_view>
#include <vector>

namespace penstock::bench {

/// Where a report was made: without it no figure means anything.
struct Environment {
    std::string machine;  // "Dell Inc. PowerEdge R650", or the hypervisor: "KVM guest"
    std::string cpu;
    unsigned cpus = 0;     // of the machine
    std::string governor;  // of the workers' CPUs; "not readable"
    std::string kernel;
    std::string dpdk;
    std::string commit;
    std::string drivers;     // of the ports that were measured: "net_pcap, net_null"
    std::string nics;        // "0000:81:00.0 (15b3:1017)", or "none: virtual ports"
    double steal_share = 0;  // of all CPUs' time while the benchmark ran
};

/// Everything but drivers, nics and steal_share. `worker_cpus`: at least one.
[[nodiscard]] Environment environment_of(const std::vector<unsigned>& worker_cpus);

/// "performance", "mixed" if they differ, or "not readable". See
/// https://www.kernel.org/doc/html/latest/admin-guide/pm/cpufreq.html
[[nodiscard]] std::string governor_of(const std::vector<unsigned>& cpus);

struct PortNames {
    std::string drivers;  // "net_pcap, net_null"
    std::string nics;     // of those that are NICs, "" if none
};
[[nodiscard]] PortNames names_of(const Machine& machine);

/// The port's PCI address and ids if it is a NIC; "" if it is virtual.
[[nodiscard]] std::string nic_of(std::string_view port_name);

/// "vendor model" of /proc/cpuinfo, "unknown" if it does not say. Pure.
[[nodiscard]] std::string cpu_model_in(std::string_view cpuinfo);

}  // namespace penstock::bench
