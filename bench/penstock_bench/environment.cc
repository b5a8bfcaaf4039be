#include "penstock_bench/environment.h"

#include "dpdk/eal.h"
#include "penstock_bench/commit.h"

#include <fmt/format.h>
#include <rte_version.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/utsname.h>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace penstock::bench {
namespace {

std::string first_line_of(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

/// The signature of the hypervisor's CPUID leaf 0x40000000: "KVMKVMKVM"; "" on bare metal.
std::string hypervisor() {
#if defined(__x86_64__)
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    constexpr unsigned kHypervisorBit = 1U << 31U;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kHypervisorBit) == 0) {
        return {};
    }
    constexpr unsigned kHypervisorLeaf = 0x4000'0000;
    __cpuid(kHypervisorLeaf, eax, ebx, ecx, edx);
    std::array<unsigned, 3> words{ebx, ecx, edx};
    std::array<char, sizeof(words) + 1> text{};
    std::memcpy(text.data(), words.data(), sizeof(words));
    return text.data();
#else
    return {};
#endif
}

std::string machine() {
    const std::filesystem::path dmi = "/sys/class/dmi/id";
    const std::string vendor = first_line_of(dmi / "sys_vendor");
    const std::string product = first_line_of(dmi / "product_name");
    if (!vendor.empty() || !product.empty()) {
        return fmt::format("{}{}{}", vendor, vendor.empty() ? "" : " ", product);
    }
    const std::string signature = hypervisor();
    return signature.empty() ? "unknown" : fmt::format("virtual machine ({})", signature);
}

std::string kernel() {
    utsname name{};
    return ::uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "unknown";
}

}  // namespace

Environment environment_of(const std::vector<unsigned>& worker_cpus) {
    std::ifstream cpuinfo("/proc/cpuinfo");
    Environment environment;
    environment.machine = machine();
    environment.cpu = cpu_model_in(std::string(std::istreambuf_iterator<char>(cpuinfo), {}));
    environment.cpus = std::thread::hardware_concurrency();
    environment.governor = governor_of(worker_cpus);
    environment.kernel = kernel();
    environment.dpdk = rte_version();
    environment.commit = kCommit;
    return environment;
}

std::string governor_of(const std::vector<unsigned>& cpus) {
    std::string governor;
    for (const unsigned cpu : cpus) {
        const std::string its = first_line_of(
            fmt::format("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cpu));
        if (its.empty()) {
            return "not readable";
        }
        if (!governor.empty() && its != governor) {
            return "mixed";
        }
        governor = its;
    }
    return governor;
}

PortNames names_of(const Machine& machine) {
    PortNames names;
    for (const Port& port : machine.ports) {
        names.drivers += fmt::format("{}{}", names.drivers.empty() ? "" : ", ", port.info().driver);
        const std::string nic = nic_of(port.info().name);
        names.nics += fmt::format("{}{}", names.nics.empty() || nic.empty() ? "" : ", ", nic);
    }
    return names;
}

std::string nic_of(std::string_view port_name) {
    if (!is_pci_device(port_name)) {
        return {};
    }
    const std::filesystem::path device =
        fmt::format("/sys/bus/pci/devices/{}{}",
                    std::count(port_name.begin(), port_name.end(), ':') == 1 ? "0000:" : "",
                    port_name);
    const auto id = [&device](const char* name) {
        const std::string text = first_line_of(device / name);
        return text.starts_with("0x") ? text.substr(2) : std::string("?");
    };
    return fmt::format("{} ({}:{})", port_name, id("vendor"), id("device"));
}

std::string cpu_model_in(std::string_view cpuinfo) {
    constexpr std::string_view kKey = "model name";
    const std::size_t at = cpuinfo.find(kKey);
    const std::size_t colon = at == std::string_view::npos ? at : cpuinfo.find(": ", at);
    if (colon == std::string_view::npos) {
        return "unknown";
    }
    const std::string_view rest = cpuinfo.substr(colon + 2);
    return std::string(rest.substr(0, rest.find('\n')));
}

}  // namespace penstock::bench
