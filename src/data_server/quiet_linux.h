#pragma once

#include <penstock/result.h>

namespace penstock {

/// Keeps Linux from seeing (and answering) the packets of an interface that a DPDK driver reads
/// beside it: net_af_packet always shares, net_af_xdp while no socket is bound. A classifier at the
/// ingress of the interface drops everything; packet sockets and XDP come before it. Gone with this
/// object; one left by a killed process is replaced.
class QuietLinux {
  public:
    /// Errors: denied if Linux uses the interface itself (it has an address there); system.
    static Result<QuietLinux> install(unsigned if_index);

    QuietLinux(QuietLinux&& other) noexcept;
    QuietLinux& operator=(QuietLinux&&) = delete;
    ~QuietLinux();

  private:
    QuietLinux(unsigned if_index, bool owns_hook) noexcept
        : if_index_(if_index), owns_hook_(owns_hook) {}

    unsigned if_index_;  // 0: moved from
    bool owns_hook_;     // the clsact qdisc is ours to remove
};

}  // namespace penstock
