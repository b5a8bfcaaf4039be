#pragma once

#include "base/unique_fd.h"
#include "data_path/burst.h"
#include "data_server/netlink.h"

#include <penstock/result.h>

#include <cstdint>
#include <span>
#include <string>

struct rte_mempool;

namespace penstock {

/// A TAP interface that stands for one NIC port in Linux: it has the port's MAC address and the
/// data address, so Linux answers ARP and ICMP for it. What the workers do not want goes in, what
/// Linux says comes out. Not persistent: the interface goes when this object (or the process) does.
/// Thread: control.
class ExceptionTap {
  public:
    /// `name`: of the interface, with %d where the kernel puts a number.
    /// Errors: system, with the kernel's words and what to do.
    static Result<ExceptionTap> open(const std::string& name, const LinkSettings& settings);

    /// Gives frames to Linux. Never blocks; what Linux does not take is dropped and counted.
    /// Owns: takes them all.
    void to_linux(Burst frames) noexcept;
    /// Reads frames from Linux into packets of `pool`, at most `frames.size()`.
    /// Returns: how many; the caller owns them.
    PacketCount from_linux(rte_mempool& pool, Burst frames) noexcept;

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] unsigned if_index() const noexcept { return if_index_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint64_t frames_to_linux() const noexcept { return frames_to_linux_; }
    [[nodiscard]] std::uint64_t frames_refused() const noexcept { return frames_refused_; }
    [[nodiscard]] std::uint64_t frames_from_linux() const noexcept { return frames_from_linux_; }

  private:
    UniqueFd fd_;
    unsigned if_index_ = 0;
    std::string name_;
    std::uint64_t frames_to_linux_ = 0;
    std::uint64_t frames_refused_ = 0;
    std::uint64_t frames_from_linux_ = 0;
};

}  // namespace penstock
