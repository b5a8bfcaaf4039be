#pragma once

#include "base/net_address.h"
#include "wire/ticket.h"

#include <penstock/ids.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace penstock {

// What the control thread and presence say to each other, without protobuf: src/rpc/presence.proto
// explains each message and field. presence_session.cc converts.

struct PortHello {
    std::string name;
    std::string driver;
    IpAddress address;
    std::uint64_t link_bits_per_second = 0;
};

struct Hello {
    std::string name;
    std::uint64_t boot_id = 0;
    std::vector<PortHello> ports;
    std::uint16_t stream_port_first = 0;
    std::uint16_t stream_port_last = 0;
    std::uint32_t consumers_max = 0;
    std::uint32_t streams_max = 0;
};

/// A share 0..1 of a limit; nullopt: the driver cannot say, which is never the same as zero.
using Measure = std::optional<double>;

struct QueueLoad {
    std::uint32_t port = 0;
    std::uint32_t worker = 0;
    Measure busy;
    Measure rx_fill;
    Measure tx_shortfall;
    Measure missed;
    Measure egress;
};

struct StreamLoad {
    StreamId stream;
    std::uint64_t packets_in = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t copies = 0;
    std::uint64_t copy_bytes = 0;
    std::uint64_t dropped = 0;
    std::uint64_t ring_packets = 0;
    std::uint64_t ring_bytes = 0;

    bool operator==(const StreamLoad&) const = default;
};
inline constexpr std::size_t kStreamLoadsMax = 1000;  // of one report

struct LoadReport {
    std::uint64_t sequence = 0;
    std::uint64_t monotonic_ms = 0;
    std::vector<QueueLoad> queues;
    Measure pool_use;
    double utilisation = 0;
    std::string bottleneck;
    std::uint64_t packets_in = 0;
    std::uint64_t copies = 0;
    std::uint64_t copy_bytes = 0;
    std::uint64_t drops = 0;
    std::vector<StreamLoad> streams;
};

struct DesiredStream {
    StreamId stream;
    std::string name;
    PeerId publisher;
    std::uint64_t bits_per_second_max = 0;
};

struct StreamSet {
    std::uint64_t epoch = 0;
    std::uint64_t generation = 0;
    std::uint64_t base_generation = 0;  // 0: full
    std::vector<DesiredStream> open;
    std::vector<StreamId> close;
};

struct OpenedStream {
    StreamId stream;
    Endpoint endpoint;
};

struct RefusedStream {
    StreamId stream;
    std::string reason;
};

struct Applied {
    std::uint64_t epoch = 0;
    std::uint64_t generation = 0;
    std::vector<OpenedStream> opened;
    std::vector<RefusedStream> refused;
};

struct ConsumerReport {
    PeerId consumer;
    Endpoint address;
    std::uint64_t copies = 0;
    std::uint64_t copy_bytes = 0;
    std::uint64_t lost = 0;
    std::uint64_t history_left = 0;
};
// The protocol allows 4,000; this many fit 256 KiB even with every number at its largest.
inline constexpr std::size_t kConsumersPerReport = 3000;

struct StreamReport {
    StreamId stream;
    std::string name;
    Endpoint endpoint;
    PeerId publisher;
    Endpoint publisher_address;
    std::vector<ConsumerReport> consumers;
    bool continued = false;
    std::uint64_t sequence = 0;
};

struct ReportsDone {};

struct Welcome {
    std::string presence;  // the address that answered
    std::uint64_t epoch = 0;
    std::uint16_t ticket_key_id = 0;
    TicketKey ticket_key;
};

struct Detached {
    std::string reason;
};

/// Control thread → presence, in order. LoadReports go beside it: only the newest matters.
using UpMessage = std::variant<Applied, StreamReport, ReportsDone>;
/// Presence → control thread.
using DownMessage = std::variant<Welcome, StreamSet, Detached>;

}  // namespace penstock
