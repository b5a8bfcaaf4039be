#pragma once

#include "data_server/rate_limits.h"
#include "data_server/session_events.h"
#include "data_server/session_frame.h"
#include "data_server/session_table.h"
#include "wire/session_messages.h"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <variant>
#include <vector>

namespace penstock {

struct JoinConfig {
    std::uint32_t lease_ms = 15'000;
    std::uint32_t keepalive_ms = 5'000;
    std::uint32_t consumers_max = 131'072;
    std::uint16_t payload_bytes_max = 1472;
    std::vector<InterfaceAddress> data_addresses;  // of all ports
    Rate joins_per_source{1'000, 2'000};
    Rate joins{20'000, 20'000};  // a JOIN costs about 2 us: at most 4 % of a core
};

/// A message to a client: at most as long as what the client sent.
struct SessionReply {
    StreamId stream;
    std::uint8_t port = 0;
    MacAddress next_hop;
    Endpoint source;       // ours
    Endpoint destination;  // the client's
    std::array<std::byte, 64> bytes{};
    std::uint8_t size = 0;

    [[nodiscard]] std::span<const std::byte> payload() const noexcept {
        return std::span(bytes).first(size);
    }
};

/// What is to be done at the worker that owns the stream. A flow's addresses are those of its
/// session (JoinHandler::session), which outlives the removal by nothing.
struct InstallConsumer {
    ClientSession session;
    std::uint32_t history_packets;
    std::uint32_t history_ms;
};
/// New address or next hop.
struct MoveConsumer {
    ClientSession session;
};
struct RemoveConsumer {
    StreamId stream;
    FlowId flow;
};
/// Also when the publisher moved.
struct InstallPublisher {
    ClientSession session;
};
struct RemovePublisher {
    StreamId stream;
};
using FlowOperation =
    std::variant<InstallConsumer, MoveConsumer, RemoveConsumer, InstallPublisher, RemovePublisher>;

/// What came of one or more calls; the caller carries it out in order and empties it.
struct JoinOutcome {
    std::vector<FlowOperation> operations;
    std::vector<SessionReply> replies;

    void clear() noexcept {
        operations.clear();
        replies.clear();
    }
};

/// The data server's side of the handshake in wire/session_messages.h, for all streams, publishers
/// and consumers. Pure: its only inputs are the messages, the time handed in, the keys and the
/// random numbers, so the same calls give the same replies. No memory is kept for a client before
/// it has proven its address. Thread: control.
class JoinHandler {
  public:
    /// `boot_key`: secret of this process, of cookies and nonces. `random`: never 0.
    JoinHandler(JoinConfig config,
                const SessionKey& boot_key,
                std::function<std::uint64_t()> random);

    /// The key of tickets from now on; the one before it stays good, for tickets on their way.
    void set_ticket_key(std::uint16_t key_id, const TicketKey& key);

    /// `publisher`: whose publish tickets count; none: anyone's. Of a stream that is open it
    /// changes the publisher only.
    void open_stream(StreamId stream,
                     std::uint16_t udp_port,
                     PeerId publisher,
                     JoinOutcome& outcome);
    /// Ends all its sessions, each with an ENDED; their flows go with the stream, not one by one.
    void close_stream(StreamId stream, JoinOutcome& outcome);

    /// One message. The replies to it together are no longer than itself.
    void handle(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome);
    /// Ends sessions whose lease is over, at most `most` of them. To be called every few ms.
    void expire(std::uint64_t now_ms, std::size_t most, JoinOutcome& outcome);
    /// The flow of an InstallConsumer could not be: its session ends.
    void not_installed(FlowId flow, JoinOutcome& outcome);
    void end_all(EndReason reason, JoinOutcome& outcome);
    /// Linux learnt that a neighbour's MAC address changed: the client that is this neighbour is
    /// reached there, and, as the neighbour may be their router, clients beyond our network.
    /// Another client that shared the old MAC address is a neighbour of its own and stays.
    void move_next_hop(std::uint8_t port,
                       const IpAddress& neighbour,
                       const MacAddress& before,
                       const MacAddress& now,
                       JoinOutcome& outcome);

    [[nodiscard]] const SessionCounters& counters() const noexcept { return counters_; }
    [[nodiscard]] const SessionTable& sessions() const noexcept { return sessions_; }
    [[nodiscard]] SessionTable& sessions() noexcept { return sessions_; }
    /// The publisher's session; nullptr if none has joined.
    [[nodiscard]] const ClientSession* publisher_of(StreamId stream);

  private:
    struct KeyedTicket {
        std::uint16_t id;
        TicketKey key;
    };
    struct OpenPort {
        StreamId stream;
        PeerId publisher;   // whose ticket counts
        FlowId publishing;  // who joined
    };

    void join(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome);
    void join_proven(const SessionFrame& frame,
                     const JoinMessage& message,
                     const SessionKey& key,
                     std::uint64_t now_ms,
                     JoinOutcome& outcome);
    void keepalive(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome);
    void path_response(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome);
    void leave(const SessionFrame& frame, JoinOutcome& outcome);

    template <typename Message>
    ClientSession* authentic(const SessionFrame& frame, const Message& message);
    std::optional<SessionEvent> source_trouble(const Endpoint& source) const;
    std::optional<SessionKey> check_ticket(const Ticket& ticket, std::uint64_t now_ms);
    std::optional<SessionEvent> ticket_mismatch(const Ticket& ticket,
                                                const OpenPort& open,
                                                const SessionFrame& frame);
    bool cookie_is_ours(const SessionFrame& frame, const JoinMessage& message) const;
    void challenge(const SessionFrame& frame,
                   const JoinMessage& message,
                   std::uint64_t now_ms,
                   JoinOutcome& outcome) const;
    void make_room(const ClientSession& session, OpenPort& open, JoinOutcome& outcome);
    void install(ClientSession& session, const JoinMessage& message, JoinOutcome& outcome);
    void accept(const SessionFrame& frame,
                const JoinMessage& message,
                const ClientSession& session,
                std::uint64_t now_ms,
                JoinOutcome& outcome) const;
    void acknowledge(const ClientSession& session,
                     std::uint64_t sequence,
                     std::uint64_t now_ms,
                     JoinOutcome& outcome) const;
    void end(FlowId flow, EndReason reason, JoinOutcome& outcome);
    void update_flow(const ClientSession& session, JoinOutcome& outcome) const;
    void send_ended(const ClientSession& session, EndReason reason, JoinOutcome& outcome) const;
    void drop_flow(FlowId flow, JoinOutcome& outcome);
    void forget(FlowId flow);
    [[nodiscard]] std::uint64_t server_nonce(FlowId flow, std::uint64_t period) const noexcept;
    [[nodiscard]] std::uint64_t path_nonce(const Endpoint& client,
                                           FlowId flow,
                                           std::uint64_t sequence) const noexcept;

    JoinConfig config_;
    SessionKey boot_key_;
    std::function<std::uint64_t()> random_;
    std::vector<KeyedTicket> ticket_keys_;  // newest first, at most 2
    TokenBucket joins_;
    SourceRates joins_by_source_;
    std::unordered_map<std::uint16_t, OpenPort> open_;
    std::unordered_map<std::uint64_t, std::uint16_t> udp_port_of_;  // by stream id
    SessionTable sessions_;
    std::uint32_t consumers_ = 0;
    SessionCounters counters_;
};

}  // namespace penstock
