#pragma once

#include "base/cache_line.h"
#include "data_path/burst.h"
#include "data_path/drop_reasons.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace penstock {

/// A count with one writer and any number of readers. Readers may see it a little late, never torn.
class Counter {
  public:
    /// Thread: the one writer.
    void add(std::uint64_t n) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    /// add() that also makes everything written before it visible to who reads it by acquire().
    void add_and_release(std::uint64_t n) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_release);
    }
    void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
    /// Thread: any.
    [[nodiscard]] std::uint64_t read() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t acquire() const noexcept {
        return value_.load(std::memory_order_acquire);
    }

  private:
    std::atomic<std::uint64_t> value_{0};
};

/// What one worker did on one port. Written: that worker. Read: control.
struct alignas(kCacheLineBytes) PortCounters {
    Counter rx_packets;
    Counter rx_bytes;            // frames without FCS
    Counter rx_full_bursts;      // bursts that came full: the queue held more
    Counter tx_packets;          // accepted by the NIC
    Counter tx_bytes;            // frames without FCS, accepted by the NIC
    Counter tx_unsent;           // offered and not accepted
    Counter rx_queue_packets;    // last sample of rte_eth_rx_queue_count; see rx_queue_supported
    Counter rx_queue_supported;  // 1 if the driver has rte_eth_rx_queue_count
};

/// What one worker did. Written: that worker. Read: control.
struct alignas(kCacheLineBytes) WorkerCounters {
    Counter iterations;        // heartbeat: rises while the worker lives
    Counter busy_cycles;       // TSC cycles in iterations that found work
    Counter idle_cycles;       // TSC cycles in all others, sleep included
    Counter applied_commands;  // mailbox commands applied since start; released, so that memory
                               // they gave back may be used by who acquires it
    Counter copies;            // packets made for consumers, history included, taken by the NIC
                               // or dropped as tx_queue_full
    Counter content;           // packets accepted as content of streams it owns
    Counter session_messages;  // packets given to control as session messages
    Counter exceptions;        // packets given to control for Linux
    Counter handed_over;       // packets given to the worker that owns their stream
    Counter taken_over;        // packets received from workers that do not own their stream
    Counter given_to_helpers;  // packets of streams it owns, given to the workers that help it,
                               // counted once for each
    Counter taken_to_help;     // packets taken from owners of streams that it helps
    Counter sent_for_control;  // control's own frames accepted by the NIC
    Counter pool_short;        // times the payload pool was found short, looking once a millisecond
    Counter pool_evicted;      // packets of history evicted for that, oldest first; what a consumer
                               // was still to have of them is history_overrun besides
    std::array<Counter, kDropReasonCount> drops;
    std::array<PortCounters, kPortsMax> ports;
};

/// What happened to one stream. Written: its owner worker, but for `consumers` now and then: every
/// 0.1 ms for the next 4 of its streams, so of 400 each every 10 ms. Read: control.
struct alignas(kCacheLineBytes) StreamCounters {
    Counter packets_in;    // content accepted from the publisher
    Counter bytes_in;      // its payload
    Counter copies;        // packets made for consumers and accepted by the NIC
    Counter copy_bytes;    // their payload
    Counter ring_packets;  // held now
    Counter ring_bytes;    // payload held now
    Counter consumers;     // flows installed, those still in history included
    Counter dropped;       // content refused or copies lost, all reasons
};

/// What happened to one flow. Written: the stream's owner worker. Read: control.
/// A live consumer gets every packet, so nothing is counted per copy: what it received is what its
/// stream sent since it went live, plus its history, less what was lost. As of the last
/// publication: every 0.1 ms the worker publishes its next 16 flows, so of 1,600 each every 10 ms.
struct FlowCounters {
    Counter copies;
    Counter copy_bytes;    // payload
    Counter lost;          // copies the NIC did not take, or overrun in the ring
    Counter history_left;  // packets still to come from history; 0 once live
};

}  // namespace penstock
