#pragma once

#include "base/net_address.h"
#include "data_path/burst.h"
#include "data_path/shares.h"

#include <array>
#include <cstdint>
#include <span>

struct rte_mempool;
struct rte_ring;

namespace penstock {

struct Stream;

/// One port as one worker uses it.
struct WorkerPort {
    std::uint16_t port_id;  // DPDK's
    std::uint16_t rx_queue;
    std::uint16_t tx_queue;
    CopyMode copy_mode;
    rte_mempool* copies;  // outgoing mbufs of this worker, without private area: headers,
                          // and inline payloads
    MacAddress mac;
    IpAddress address;  // the data address: what is sent to it is ours, and what copies come from
};

struct WorkerConfig {
    std::uint8_t index;         // 0..kWorkersMax-1
    std::uint8_t worker_count;  // of the data server: senders in hand_over_from
    std::uint8_t port_count;
    // mbuf->port of a frame given to others is the index in here, set by classify.
    std::array<WorkerPort, kPortsMax> ports;
    std::uint16_t stream_port_first;  // UDP ports that are streams: this one and those behind it
    // By UDP port, from stream_port_first on: the table of classify, which alone uses it while the
    // worker lives. Made by control, all nullptr.
    std::span<Stream*> streams;
    // Where packets are received into, and history is: with fewer than `payloads_low` of its mbufs
    // free the worker evicts history. 0: nobody looks.
    rte_mempool* payloads;
    std::uint32_t payloads_low;
    // Rings of mbufs, all SP/SC, made by control and outliving the worker.
    rte_ring* session_messages;  // worker → control: frames of session messages, mbuf->port set
    rte_ring* exceptions;        // worker → control: frames for Linux, mbuf->port set
    rte_ring* outgoing;          // control → worker: complete frames, mbuf->port set
    std::array<rte_ring*, kWorkersMax> hand_over_from;  // frames for streams we own, by sender
    std::array<rte_ring*, kWorkersMax> hand_over_to;    // frames for streams others own
    // As those, of packets for shares; nullptr from and to itself.
    std::array<ShareRing*, kWorkersMax> shares_from;  // by who owns the stream
    std::array<ShareRing*, kWorkersMax> shares_to;    // by helper
};

}  // namespace penstock
