#pragma once

#include <penstock/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// What DPDK's environment is started with.
struct EalOptions {
    std::string program = "penstock";        // argv[0], and part of its runtime directory's name
    std::uint64_t memory_bytes = 256 << 20;  // hugepages, or plain memory with no_huge
    bool no_huge = false;                    // plain memory: slower, needs nothing prepared
    std::vector<std::string> devices;   // devargs: vdevs ("net_af_packet0,iface=data0") and PCI
                                        // addresses ("0000:01:00.0"), as Port gets them
    std::vector<unsigned> worker_cpus;  // one lcore each, pinned; main is lcore 0, not pinned
};

/// DPDK's environment, once per process. Set-up only. Thread: main.
class Eal {
  public:
    /// Errors: system, with DPDK's own last words and what to do about them; what DPDK prints
    ///         otherwise is kept from standard error.
    static Result<Eal> start(const EalOptions& options);
    Eal(Eal&& other) noexcept;
    Eal& operator=(Eal&&) = delete;
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;
    /// Ports, pools and rings must be gone. Leaves nothing in the file system.
    ~Eal();

  private:
    explicit Eal(std::string runtime_directory) noexcept;
    bool started_ = false;
    std::string runtime_directory_;  // removed at the end; "": nothing to remove
};

/// The argument vector for rte_eal_init(). `cpus`: those main may run on. Pure.
std::vector<std::string> eal_arguments(const EalOptions& options,
                                       std::string_view file_prefix,
                                       const std::vector<unsigned>& cpus);

/// Whether devargs name a PCI device and not a virtual one.
bool is_pci_device(std::string_view devargs) noexcept;

/// lcore id of worker `index`.
constexpr unsigned lcore_of_worker(unsigned index) noexcept { return index + 1; }

/// DPDK's first error line since the last call, without its end of line; "" if there was none.
std::string take_dpdk_error();

/// While it lives, what foreign code prints on standard output and standard error (DPDK's drivers
/// and the libraries under them do) is caught. Set-up only. Thread: main, no other printing.
class CaughtOutput {
  public:
    CaughtOutput();
    ~CaughtOutput();
    CaughtOutput(const CaughtOutput&) = delete;
    CaughtOutput& operator=(const CaughtOutput&) = delete;

    /// The last line caught so far that is not empty.
    [[nodiscard]] std::string last_line() const;

  private:
    int memory_ = -1;
    int standard_output_ = -1;
    int standard_error_ = -1;
};

}  // namespace penstock
