#pragma once

#include "base/net_address.h"

#include <penstock/ids.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// What is said on the control network, as plain structs: presence.proto without protobuf. Field by
/// field the meaning is that of presence.proto; rpc/convert checks every limit named here.
namespace penstock::control {

inline constexpr std::size_t kMessageBytesMax = 256U << 10U;
inline constexpr std::size_t kNameBytesMax = 255;  // of streams and data servers: printable ASCII
inline constexpr std::size_t kTextBytesMax = 255;  // of reasons and troubles
inline constexpr std::size_t kPortsMax = 64;
inline constexpr std::size_t kQueuesMax = 4096;
inline constexpr std::size_t kLoadStreamsMax = 1000;  // of one LoadReport
// Of one StreamReport: this many fit kMessageBytesMax even with every number at its largest.
inline constexpr std::size_t kFlowsMax = 3000;
inline constexpr std::uint64_t kDeclaredRateMax = 1'000'000'000'000;  // bit/s of one stream
inline constexpr std::uint64_t kClockMsMax = 1ULL << 53U;             // 285,000 years of uptime
inline constexpr std::uint64_t kEpochMax = 1ULL << 62U;

// Opaque here: wire/ticket.h says what is in them.
using TicketKeyBytes = std::array<std::uint8_t, 32>;
using TicketBytes = std::array<std::uint8_t, 64>;
using SessionKeyBytes = std::array<std::uint8_t, 16>;

struct Heartbeat {};

struct Reject {
    std::string reason;
    std::uint32_t retry_after_ms = 0;  // 0: do not
    std::string leader;                // "": not known
};

// ------------------------------------------------------------------------------- data servers

struct Port {
    std::string name;
    std::string driver;
    IpAddress address;
    std::uint64_t link_bits_per_second = 0;  // 0: unknown
};

struct DataServerHello {
    std::uint32_t protocol = 0;
    std::string name;
    std::uint64_t boot_id = 0;
    std::vector<Port> ports;
    std::uint32_t stream_port_first = 0;
    std::uint32_t stream_port_last = 0;
    std::uint32_t consumers_max = 0;
    std::uint32_t streams_max = 0;
    std::uint64_t epoch_seen = 0;
    std::uint64_t applied_generation = 0;
    std::uint64_t monotonic_ms = 0;
    std::uint32_t protocol_oldest = 0;  // 0: `protocol` only
};

struct DataServerWelcome {
    std::uint64_t epoch = 0;
    std::uint32_t load_interval_ms = 0;
    std::uint16_t ticket_key_id = 0;
    TicketKeyBytes ticket_key{};
};

/// A share of a limit, 0..1; nullopt: the driver does not say, which is never the same as 0.
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

enum class LinkState { unknown, up, down };

struct PortLoad {
    LinkState link = LinkState::unknown;
    std::uint64_t silent_ms = 0;
};

struct LoadReport {
    std::uint64_t sequence = 0;
    std::uint64_t monotonic_ms = 0;
    std::vector<QueueLoad> queues;
    Measure pool_use;
    double utilisation = 0;  // as the peer says: may be anything
    std::string bottleneck;
    std::uint64_t packets_in = 0;
    std::uint64_t copies = 0;
    std::uint64_t copy_bytes = 0;
    std::uint64_t drops = 0;
    std::vector<StreamLoad> streams;
    std::vector<PortLoad> ports;
    std::vector<std::uint32_t> stuck_workers;
};

struct DesiredStream {
    StreamId stream;
    std::string name;
    PeerId publisher;
    std::uint64_t max_bits_per_second = 0;  // 0: not declared

    bool operator==(const DesiredStream&) const = default;
};

struct StreamSet {
    std::uint64_t epoch = 0;
    std::uint64_t generation = 0;
    std::uint64_t base_generation = 0;  // 0: full
    std::vector<DesiredStream> open;
    std::vector<StreamId> close;
    bool keep_others = false;
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

struct ConsumerFlow {
    PeerId consumer;
    Endpoint address;
    std::uint64_t copies = 0;
    std::uint64_t copy_bytes = 0;
    std::uint64_t lost = 0;
    std::uint64_t history_left = 0;
};

struct StreamReport {
    StreamId stream;
    std::string name;
    Endpoint endpoint;
    PeerId publisher;            // whose ticket was accepted; none yet: 0
    Endpoint publisher_address;  // unspecified while there is no publisher
    std::vector<ConsumerFlow> consumers;
    bool continued = false;
};

struct ReportsDone {};

// ---------------------------------------------------------------------------------- publishers

enum class StartPolicy { publish, demand };
enum class DesiredState { unspecified, wait, start, stop };

struct PublisherHello {
    std::uint32_t protocol = 0;
    PeerId publisher;
    std::string stream;
    StartPolicy start = StartPolicy::publish;
    std::uint64_t max_bits_per_second = 0;
    std::uint32_t close_after_ms = 0;  // 0: presence's default
    bool transmitting = false;
    std::uint32_t protocol_oldest = 0;
};

/// Where to prove one's address, and by what right.
struct Place {
    std::string data_server;
    Endpoint endpoint;
    TicketBytes ticket{};
    SessionKeyBytes session_key{};
};

struct PublisherDesired {
    std::uint64_t epoch = 0;
    std::uint64_t version = 0;
    DesiredState state = DesiredState::unspecified;
    std::string data_server;
    std::optional<Endpoint> endpoint;  // with START, as are the next two
    std::optional<TicketBytes> ticket;
    std::optional<SessionKeyBytes> session_key;
    std::optional<Place> also;  // with START
};

struct PublisherReport {
    std::uint64_t version = 0;
    DesiredState state = DesiredState::unspecified;
    bool transmitting = false;
    std::string trouble;
};

// ----------------------------------------------------------------------------------- consumers

enum class AssignmentState { unspecified, wait, ready, gone };

struct ConsumerRequest {
    std::uint32_t protocol = 0;
    PeerId consumer;
    std::string stream;
    std::uint64_t wait_ms = 0;
    std::uint32_t protocol_oldest = 0;
};

struct ConsumerRenew {
    std::uint64_t version = 0;
};

struct Assignment {
    std::uint64_t epoch = 0;
    std::uint64_t version = 0;
    AssignmentState state = AssignmentState::unspecified;
    std::string reason;
    std::string data_server;
    std::optional<Endpoint> endpoint;  // when ready, as are the next two
    std::optional<TicketBytes> ticket;
    std::optional<SessionKeyBytes> session_key;
    std::uint32_t keepalive_ms = 0;
    std::uint32_t retry_after_ms = 0;  // unless ready
};

// ------------------------------------------------------------------------------- each direction

using DataServerMessage =
    std::variant<DataServerHello, LoadReport, Applied, StreamReport, ReportsDone>;
using DataServerReply = std::variant<DataServerWelcome, StreamSet, Reject>;
using PublisherMessage = std::variant<PublisherHello, PublisherReport, Heartbeat>;
using PublisherReply = std::variant<PublisherDesired, Heartbeat, Reject>;
using ConsumerMessage = std::variant<ConsumerRequest, ConsumerRenew, Heartbeat>;
using ConsumerReply = std::variant<Assignment, Heartbeat, Reject>;

}  // namespace penstock::control
