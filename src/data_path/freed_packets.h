#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <array>
#include <cstddef>

namespace penstock {

/// Packets that a ring has let go and nobody else holds, on their way back to their pool: many at
/// once cost it little more than one.
/// Thread: the worker's own.
class FreedPackets {
  public:
    FreedPackets() = default;
    ~FreedPackets() { flush(); }
    FreedPackets(const FreedPackets&) = delete;
    FreedPackets& operator=(const FreedPackets&) = delete;

    /// `packet`: one segment in its own buffer, as its pool wants it back.
    /// Owns: takes the last reference to it.
    void add(rte_mbuf* packet) noexcept {
        if (count_ == packets_.size() || (count_ > 0 && packet->pool != packets_[0]->pool)) {
            flush();
        }
        packets_[count_++] = packet;
    }
    /// Gives them all back.
    void flush() noexcept {
        if (count_ > 0) {
            rte_mempool_put_bulk(packets_[0]->pool,
                                 reinterpret_cast<void**>(packets_.data()),
                                 static_cast<unsigned>(count_));
            count_ = 0;
        }
    }

  private:
    std::array<rte_mbuf*, 32> packets_;  // the first count_
    std::size_t count_ = 0;
};

}  // namespace penstock
