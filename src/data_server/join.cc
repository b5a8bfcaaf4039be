#include "data_server/join.h"

#include "base/check.h"

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

constexpr std::uint64_t kCookieLifeMs = 4'000;
constexpr std::uint64_t kNoncePeriodMs = 10'000;
constexpr std::uint64_t kMovePauseMs = 1'000;
constexpr std::uint8_t kGroupBit = 1;  // IEEE 802.3 section 3.2.3: of a MAC address's first byte
// Different uses of the boot key sign different labels. Cookies carry none: they are shorter.
constexpr std::uint64_t kServerNonceLabel = 1;
constexpr std::uint64_t kPathNonceLabel = 2;

/// What a client in whose place we speak would see: sent back the way it came.
template <typename Message>
SessionReply reply_to(const SessionFrame& frame, StreamId stream, const Message& message) {
    static_assert(sizeof(Message) <= sizeof(SessionReply::bytes));
    SessionReply reply{.stream = stream,
                       .port = frame.port,
                       .next_hop = frame.source_mac,
                       .source = frame.destination,
                       .destination = frame.source,
                       .size = sizeof(Message)};
    std::ranges::copy(bytes_of(message), reply.bytes.begin());
    return reply;
}

template <typename Message>
SessionReply message_to(const ClientSession& session, const Message& message) {
    static_assert(sizeof(Message) <= sizeof(SessionReply::bytes));
    SessionReply reply{.stream = session.stream,
                       .port = session.port,
                       .next_hop = session.next_hop,
                       .source = session.local,
                       .destination = session.address,
                       .size = sizeof(Message)};
    std::ranges::copy(bytes_of(message), reply.bytes.begin());
    return reply;
}

/// Whether what is no message was meant to be a JOIN but lacks the padding.
bool is_unpadded_join(std::span<const std::byte> payload) noexcept {
    if (payload.size() < sizeof(MessageHeader) || payload.size() >= sizeof(JoinMessage)) {
        return false;
    }
    const auto header = read_message<MessageHeader>(payload);
    return header.magic == kMessageMagic &&
           header.type == static_cast<std::uint8_t>(MessageType::join);
}

bool is_within(const InterfaceAddress& network, std::uint32_t address) noexcept {
    const std::uint64_t host_mask = (std::uint64_t{1} << (32U - network.prefix_bits)) - 1;
    return ((address ^ network.ip.v4()) & ~host_mask) == 0;
}

bool is_broadcast_of(const InterfaceAddress& network, std::uint32_t address) noexcept {
    if (network.prefix_bits >= 31) {  // RFC 3021: no broadcast address
        return false;
    }
    const auto host_mask =
        static_cast<std::uint32_t>((std::uint64_t{1} << (32U - network.prefix_bits)) - 1);
    const bool same_network = ((address ^ network.ip.v4()) & ~host_mask) == 0;
    const std::uint32_t host = address & host_mask;
    return same_network && (host == host_mask || host == 0);
}

}  // namespace

JoinHandler::JoinHandler(JoinConfig config,
                         const SessionKey& boot_key,
                         std::function<std::uint64_t()> random)
    : config_(std::move(config)),
      boot_key_(boot_key),
      random_(std::move(random)),
      joins_(config_.joins, 0),
      joins_by_source_(config_.joins_per_source, boot_key) {}

void JoinHandler::set_ticket_key(std::uint16_t key_id, const TicketKey& key) {
    if (!ticket_keys_.empty() && ticket_keys_.front().id == key_id &&
        ticket_keys_.front().key.bytes == key.bytes) {
        return;  // the same again, after a reconnect
    }
    ticket_keys_.insert(ticket_keys_.begin(), KeyedTicket{key_id, key});
    if (ticket_keys_.size() > 2) {
        ticket_keys_.pop_back();
    }
}

void JoinHandler::open_stream(StreamId stream,
                              std::uint16_t udp_port,
                              PeerId publisher,
                              JoinOutcome& outcome) {
    OpenPort& open = open_.try_emplace(udp_port, OpenPort{stream, publisher, {}}).first->second;
    PENSTOCK_CHECK(open.stream == stream);
    udp_port_of_[stream.value] = udp_port;
    if (open.publisher == publisher) {
        return;
    }
    open.publisher = publisher;
    const ClientSession* old = sessions_.find(open.publishing);
    if (old != nullptr && publisher && old->peer != publisher) {
        counters_.count(SessionEvent::replaced);
        end(old->flow, EndReason::replaced, outcome);
    }
}

void JoinHandler::close_stream(StreamId stream, JoinOutcome& outcome) {
    const auto port = udp_port_of_.find(stream.value);
    PENSTOCK_CHECK(port != udp_port_of_.end());
    while (!sessions_.of_stream(stream).empty()) {
        const FlowId flow = sessions_.of_stream(stream).back();
        send_ended(*sessions_.find(flow), EndReason::stream_closed, outcome);
        forget(flow);
    }
    open_.erase(port->second);
    udp_port_of_.erase(port);
}

void JoinHandler::handle(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome) {
    const auto type = message_type(frame.payload);
    if (!type) {
        counters_.count(is_unpadded_join(frame.payload) ? SessionEvent::unpadded
                                                        : SessionEvent::malformed);
        return;
    }
    if (const auto trouble = source_trouble(frame.source)) {
        counters_.count(*trouble);
        return;
    }
    // It becomes a next hop: every copy to a group address would go to the whole network.
    if ((frame.source_mac.bytes[0] & kGroupBit) != 0) {
        counters_.count(SessionEvent::source_invalid);
        return;
    }
    switch (*type) {
        case MessageType::join:
            return join(frame, now_ms, outcome);
        case MessageType::keepalive:
            return keepalive(frame, now_ms, outcome);
        case MessageType::path_response:
            return path_response(frame, now_ms, outcome);
        case MessageType::leave:
            return leave(frame, outcome);
        case MessageType::challenge:
        case MessageType::accept:
        case MessageType::keepalive_ack:
        case MessageType::path_challenge:
        case MessageType::ended:
        case MessageType::moved:
            return counters_.count(SessionEvent::wrong_direction);
    }
}

void JoinHandler::join(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome) {
    // The source's own limit first: one source that shouts does not use up the limit of all.
    if (!joins_by_source_.take(frame.source.ip, now_ms) || !joins_.take(config_.joins, now_ms)) {
        return counters_.count(SessionEvent::rate_limited);
    }
    const auto open = open_.find(frame.destination.port);
    if (open == open_.end()) {
        return counters_.count(SessionEvent::unknown_stream);
    }
    const auto message = read_message<JoinMessage>(frame.payload);
    const auto key = check_ticket(message.ticket, now_ms);
    if (!key) {
        return;
    }
    if (const auto trouble = ticket_mismatch(message.ticket, open->second, frame)) {
        return counters_.count(*trouble);
    }
    const bool has_cookie = message.cookie.issued_at_ms != 0 || message.cookie.mac != 0;
    if (!has_cookie) {
        counters_.count(SessionEvent::challenged);
        return challenge(frame, message, now_ms, outcome);
    }
    if (!cookie_is_ours(frame, message)) {
        return counters_.count(SessionEvent::bad_cookie);
    }
    if (now_ms - message.cookie.issued_at_ms > kCookieLifeMs) {
        counters_.count(SessionEvent::stale_cookie);
        return challenge(frame, message, now_ms, outcome);
    }
    // A ticket is readable to everyone on its way; the session key that came with it is not.
    if (!tag_is_valid(message, *key)) {
        return counters_.count(SessionEvent::bad_tag);
    }
    join_proven(frame, message, *key, now_ms, outcome);
}

void JoinHandler::join_proven(const SessionFrame& frame,
                              const JoinMessage& message,
                              const SessionKey& key,
                              std::uint64_t now_ms,
                              JoinOutcome& outcome) {
    OpenPort& open = open_.at(frame.destination.port);
    const Ticket& ticket = message.ticket;
    const auto role = static_cast<TicketRole>(ticket.role);
    const ClientSession* old = sessions_.find(open.stream, PeerId{ticket.peer_id}, role);
    if (old != nullptr && old->ticket_nonce == ticket.nonce && old->address == frame.source &&
        old->local == frame.destination) {
        counters_.count(SessionEvent::accepted_again);
        return accept(frame, message, *old, now_ms, outcome);
    }
    if (role == TicketRole::consume && old == nullptr && consumers_ >= config_.consumers_max) {
        return counters_.count(SessionEvent::limit_reached);
    }
    ClientSession session{.flow = FlowId{random_()},
                          .stream = open.stream,
                          .peer = PeerId{ticket.peer_id},
                          .role = role,
                          .key = key,
                          .ticket_nonce = ticket.nonce,
                          .address = frame.source,
                          .local = frame.destination,
                          .next_hop = frame.source_mac,
                          .port = frame.port,
                          .lease_end_ms = now_ms + config_.lease_ms};
    while (sessions_.find(session.flow) != nullptr) {
        session.flow = FlowId{random_()};
    }
    make_room(session, open, outcome);
    counters_.count(SessionEvent::accepted);
    install(sessions_.add(session), message, outcome);
    accept(frame, message, session, now_ms, outcome);
}

/// Ends what the new session takes the place of: the same client's older one, or the publisher's.
void JoinHandler::make_room(const ClientSession& session, OpenPort& open, JoinOutcome& outcome) {
    const ClientSession* old = session.role == TicketRole::publish
                                   ? sessions_.find(open.publishing)
                                   : sessions_.find(session.stream, session.peer, session.role);
    if (old == nullptr) {
        return;
    }
    counters_.count(SessionEvent::replaced);
    if (old->address == session.address) {
        drop_flow(old->flow, outcome);  // who joins anew from there need not be told
    } else {
        end(old->flow, EndReason::replaced, outcome);
    }
}

void JoinHandler::install(ClientSession& session,
                          const JoinMessage& message,
                          JoinOutcome& outcome) {
    if (session.role == TicketRole::publish) {
        open_.at(session.local.port).publishing = session.flow;
        outcome.operations.emplace_back(InstallPublisher{session});
    } else {
        ++consumers_;
        outcome.operations.emplace_back(
            InstallConsumer{session, message.history_packets, message.history_ms});
    }
}

void JoinHandler::keepalive(const SessionFrame& frame, std::uint64_t now_ms, JoinOutcome& outcome) {
    const auto message = read_message<KeepaliveMessage>(frame.payload);
    ClientSession* session = authentic(frame, message);
    if (session == nullptr) {
        return;
    }
    if (message.sequence < session->next_sequence || message.sequence == UINT64_MAX) {
        return counters_.count(SessionEvent::old_sequence);
    }
    session->next_sequence = message.sequence + 1;
    if (frame.source != session->address) {
        counters_.count(SessionEvent::path_challenged);
        PathChallengeMessage reply{
            .header = make_header<PathChallengeMessage>(MessageType::path_challenge),
            .flow_id = session->flow.value,
            .sequence = message.sequence,
            .path_nonce = path_nonce(frame.source, session->flow, message.sequence),
            .reserved = {},
            .tag = 0};
        seal(reply, session->key);
        outcome.replies.push_back(reply_to(frame, session->stream, reply));
        return;
    }
    const std::uint64_t period = now_ms / kNoncePeriodMs;
    const bool fresh =
        message.server_nonce == server_nonce(session->flow, period) ||
        (period > 0 && message.server_nonce == server_nonce(session->flow, period - 1));
    if (!fresh) {
        // Answered all the same: a client that lost two answers needs the newest nonce to go on.
        counters_.count(SessionEvent::stale_echo);
        return acknowledge(*session, message.sequence, now_ms, outcome);
    }
    counters_.count(SessionEvent::renewed);
    sessions_.renew(*session, now_ms + config_.lease_ms);
    if (frame.source_mac != session->next_hop) {
        session->next_hop = frame.source_mac;
        update_flow(*session, outcome);
    }
    acknowledge(*session, message.sequence, now_ms, outcome);
}

void JoinHandler::path_response(const SessionFrame& frame,
                                std::uint64_t now_ms,
                                JoinOutcome& outcome) {
    const auto message = read_message<PathResponseMessage>(frame.payload);
    ClientSession* session = authentic(frame, message);
    if (session == nullptr) {
        return;
    }
    if (message.path_nonce != path_nonce(frame.source, session->flow, message.sequence)) {
        return counters_.count(SessionEvent::bad_path_nonce);
    }
    // Only the newest message of the client may move it (RFC 9000 section 9.3).
    if (message.sequence + 1 != session->next_sequence) {
        return counters_.count(SessionEvent::old_sequence);
    }
    if (frame.source != session->address) {
        if (session->moved_at_ms != 0 && now_ms - session->moved_at_ms < kMovePauseMs) {
            return counters_.count(SessionEvent::moved_too_often);
        }
        counters_.count(SessionEvent::moved);
        session->moved_at_ms = now_ms;
        session->address = frame.source;
        session->next_hop = frame.source_mac;
        sessions_.renew(*session, now_ms + config_.lease_ms);
        update_flow(*session, outcome);
    }
    acknowledge(*session, message.sequence, now_ms, outcome);
}

void JoinHandler::leave(const SessionFrame& frame, JoinOutcome& outcome) {
    const auto message = read_message<LeaveMessage>(frame.payload);
    const ClientSession* session = authentic(frame, message);
    if (session == nullptr) {
        return;
    }
    if (message.sequence < session->next_sequence) {
        return counters_.count(SessionEvent::old_sequence);
    }
    counters_.count(SessionEvent::left);
    drop_flow(session->flow, outcome);  // whoever leaves listens no longer
}

void JoinHandler::expire(std::uint64_t now_ms, std::size_t most, JoinOutcome& outcome) {
    for (std::size_t ended = 0; ended < most; ++ended) {
        const ClientSession* session = sessions_.next_to_end();
        if (session == nullptr || session->lease_end_ms > now_ms) {
            return;
        }
        counters_.count(SessionEvent::lease_over);
        end(session->flow, EndReason::lease_over, outcome);
    }
}

void JoinHandler::end(FlowId flow, EndReason reason, JoinOutcome& outcome) {
    const ClientSession* session = sessions_.find(flow);
    if (session == nullptr) {
        return;
    }
    send_ended(*session, reason, outcome);
    drop_flow(flow, outcome);
}

void JoinHandler::not_installed(FlowId flow, JoinOutcome& outcome) {
    counters_.count(SessionEvent::not_installed);
    end(flow, EndReason::stream_closed, outcome);
}

void JoinHandler::end_all(EndReason reason, JoinOutcome& outcome) {
    while (const ClientSession* session = sessions_.next_to_end()) {
        end(session->flow, reason, outcome);
    }
}

void JoinHandler::move_next_hop(std::uint8_t port,
                                const IpAddress& neighbour,
                                const MacAddress& before,
                                const MacAddress& now,
                                JoinOutcome& outcome) {
    const auto is_local = [this](const IpAddress& ip) {
        return std::ranges::any_of(config_.data_addresses, [&ip](const InterfaceAddress& network) {
            return is_within(network, ip.v4());
        });
    };
    sessions_.for_each([&](ClientSession& session) {
        const IpAddress& client = session.address.ip;
        const bool is_behind = client == neighbour || !is_local(client);
        if (session.port == port && session.next_hop == before && is_behind) {
            session.next_hop = now;
            update_flow(session, outcome);
        }
    });
}

const ClientSession* JoinHandler::publisher_of(StreamId stream) {
    const auto port = udp_port_of_.find(stream.value);
    return port == udp_port_of_.end() ? nullptr : sessions_.find(open_.at(port->second).publishing);
}

/// The session a message names, if the message belongs to it and carries its tag. The flow id is 64
/// random bits, so nobody but the client makes us compute a MAC here.
template <typename Message>
ClientSession* JoinHandler::authentic(const SessionFrame& frame, const Message& message) {
    ClientSession* session = sessions_.find(FlowId{message.flow_id});
    SessionEvent trouble = SessionEvent::unknown_flow;
    if (session != nullptr) {
        if (frame.destination.port != session->local.port) {
            trouble = SessionEvent::wrong_stream;
        } else if (frame.port != session->port || frame.destination.ip != session->local.ip) {
            trouble = SessionEvent::wrong_port;
        } else if (!tag_is_valid(message, session->key)) {
            trouble = SessionEvent::bad_tag;
        } else {
            return session;
        }
    }
    counters_.count(trouble);
    return nullptr;
}

std::optional<SessionEvent> JoinHandler::source_trouble(const Endpoint& source) const {
    const IpAddress& ip = source.ip;
    if (source.port == 0 || !ip.is_v4() || ip.is_unspecified() || ip.is_loopback() ||
        ip.is_multicast() || ip.v4() == 0xffffffff) {
        return SessionEvent::source_invalid;
    }
    for (const InterfaceAddress& ours : config_.data_addresses) {
        if (ours.ip == ip) {
            return SessionEvent::own_address;
        }
        if (is_broadcast_of(ours, ip.v4())) {
            return SessionEvent::source_invalid;
        }
    }
    return std::nullopt;
}

/// The session key of a good ticket; counts why not.
std::optional<SessionKey> JoinHandler::check_ticket(const Ticket& ticket, std::uint64_t now_ms) {
    for (const KeyedTicket& candidate : ticket_keys_) {
        if (candidate.id != ticket.key_id) {
            continue;
        }
        switch (verify_ticket(ticket, candidate.key, now_ms)) {
            case TicketVerdict::valid:
                return derive_session_key(candidate.key, ticket.nonce);
            case TicketVerdict::expired:
                counters_.count(SessionEvent::expired_ticket);
                return std::nullopt;
            case TicketVerdict::bad_version:
            case TicketVerdict::bad_mac:
                break;
        }
    }
    counters_.count(SessionEvent::bad_ticket);
    return std::nullopt;
}

std::optional<SessionEvent> JoinHandler::ticket_mismatch(const Ticket& ticket,
                                                         const OpenPort& open,
                                                         const SessionFrame& frame) {
    if (StreamId{ticket.stream_id} != open.stream) {
        return SessionEvent::wrong_stream;
    }
    const auto role = static_cast<TicketRole>(ticket.role);
    if (role == TicketRole::publish) {
        const bool welcome = !open.publisher || PeerId{ticket.peer_id} == open.publisher;
        return welcome ? std::nullopt : std::optional(SessionEvent::wrong_publisher);
    }
    if (role != TicketRole::consume) {
        return SessionEvent::wrong_role;
    }
    const ClientSession* publisher = sessions_.find(open.publishing);
    if (publisher != nullptr && publisher->address == frame.source) {
        return SessionEvent::publisher_address;
    }
    return std::nullopt;
}

bool JoinHandler::cookie_is_ours(const SessionFrame& frame, const JoinMessage& message) const {
    const std::uint64_t expected =
        cookie_mac(boot_key_, frame.source, message.ticket.nonce, message.cookie.issued_at_ms);
    return expected == message.cookie.mac;
}

void JoinHandler::challenge(const SessionFrame& frame,
                            const JoinMessage& message,
                            std::uint64_t now_ms,
                            JoinOutcome& outcome) const {
    const ChallengeMessage reply{
        .header = make_header<ChallengeMessage>(MessageType::challenge),
        .client_nonce = message.client_nonce,
        .cookie = {.issued_at_ms = now_ms,
                   .mac = cookie_mac(boot_key_, frame.source, message.ticket.nonce, now_ms)},
        .reserved = 0};
    outcome.replies.push_back(reply_to(frame, StreamId{message.ticket.stream_id}, reply));
}

void JoinHandler::accept(const SessionFrame& frame,
                         const JoinMessage& message,
                         const ClientSession& session,
                         std::uint64_t now_ms,
                         JoinOutcome& outcome) const {
    AcceptMessage reply{.header = make_header<AcceptMessage>(MessageType::accept),
                        .client_nonce = message.client_nonce,
                        .flow_id = session.flow.value,
                        .server_nonce = server_nonce(session.flow, now_ms / kNoncePeriodMs),
                        .keepalive_ms = config_.keepalive_ms,
                        .lease_ms = config_.lease_ms,
                        .payload_bytes_max = config_.payload_bytes_max,
                        .reserved = {},
                        .tag = 0};
    seal(reply, session.key);
    outcome.replies.push_back(reply_to(frame, session.stream, reply));
}

void JoinHandler::acknowledge(const ClientSession& session,
                              std::uint64_t sequence,
                              std::uint64_t now_ms,
                              JoinOutcome& outcome) const {
    KeepaliveAckMessage reply{
        .header = make_header<KeepaliveAckMessage>(MessageType::keepalive_ack),
        .flow_id = session.flow.value,
        .sequence = sequence,
        .server_nonce = server_nonce(session.flow, now_ms / kNoncePeriodMs),
        .reserved = {},
        .tag = 0};
    seal(reply, session.key);
    outcome.replies.push_back(message_to(session, reply));
}

void JoinHandler::update_flow(const ClientSession& session, JoinOutcome& outcome) const {
    if (session.role == TicketRole::publish) {
        outcome.operations.emplace_back(InstallPublisher{session});
    } else {
        outcome.operations.emplace_back(MoveConsumer{session});
    }
}

void JoinHandler::send_ended(const ClientSession& session,
                             EndReason reason,
                             JoinOutcome& outcome) const {
    EndedMessage message{.header = make_header<EndedMessage>(MessageType::ended),
                         .flow_id = session.flow.value,
                         .reason = static_cast<std::uint32_t>(reason),
                         .reserved_bits = 0,
                         .reserved = 0,
                         .tag = 0};
    seal(message, session.key);
    outcome.replies.push_back(message_to(session, message));
}

void JoinHandler::drop_flow(FlowId flow, JoinOutcome& outcome) {
    const ClientSession* session = sessions_.find(flow);
    if (session->role == TicketRole::publish) {
        outcome.operations.emplace_back(RemovePublisher{session->stream});
    } else {
        outcome.operations.emplace_back(RemoveConsumer{session->stream, flow});
    }
    forget(flow);
}

void JoinHandler::forget(FlowId flow) {
    const ClientSession* session = sessions_.find(flow);
    if (session->role == TicketRole::publish) {
        open_.at(session->local.port).publishing = FlowId{};
    } else {
        --consumers_;
    }
    sessions_.remove(flow);
}

/// Changes every kNoncePeriodMs; nothing is stored for it.
std::uint64_t JoinHandler::server_nonce(FlowId flow, std::uint64_t period) const noexcept {
    const std::array<Be64, 3> covered{Be64{kServerNonceLabel}, Be64{flow.value}, Be64{period}};
    return siphash(boot_key_, std::as_bytes(std::span(covered)));
}

std::uint64_t JoinHandler::path_nonce(const Endpoint& client,
                                      FlowId flow,
                                      std::uint64_t sequence) const noexcept {
    const struct [[gnu::packed]] {
        Be64 label;
        std::array<std::uint8_t, 16> ip;
        Be16 port;
        Be64 flow;
        Be64 sequence;
    } covered{kPathNonceLabel, client.ip.bytes, client.port, flow.value, sequence};
    return siphash(boot_key_, std::as_bytes(std::span(&covered, 1)));
}

}  // namespace penstock
