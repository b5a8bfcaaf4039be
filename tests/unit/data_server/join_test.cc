#include "data_server/join.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

namespace penstock {
namespace {

constexpr std::uint64_t kStart = 1'000'000;  // ms
constexpr std::uint16_t kUdpPort = 20'000;
constexpr std::uint16_t kOtherUdpPort = 20'001;
const StreamId kStream{11};
const StreamId kOtherStream{12};
const PeerId kPublisher{501};
const Endpoint kServer{IpAddress::v4(0x0a5b0001), kUdpPort};  // 10.91.0.1
const Endpoint kClient{IpAddress::v4(0x0a5b0064), 40'000};    // 10.91.0.100
const MacAddress kClientMac{{2, 0, 0, 0, 0, 100}};

template <typename Message>
Message message_in(const SessionReply& reply) {
    EXPECT_EQ(reply.size, sizeof(Message));
    return read_message<Message>(reply.payload());
}

/// A data server with one stream open, and the means to speak to it as any client.
class Join : public testing::Test {
  protected:
    Join() {
        fill_random(ticket_key.bytes);
        handler.set_ticket_key(1, ticket_key);
        handler.open_stream(kStream, kUdpPort, kPublisher, outcome);
        handler.open_stream(kOtherStream, kOtherUdpPort, PeerId{}, outcome);
    }

    static JoinConfig config() {
        JoinConfig config;
        config.consumers_max = 4;
        config.data_addresses = {{kServer.ip, 24}};
        return config;
    }

    Ticket ticket(TicketRole role = TicketRole::consume, PeerId peer = PeerId{77}) {
        Ticket ticket{};
        ticket.role = static_cast<std::uint8_t>(role);
        ticket.key_id = 1;
        ticket.stream_id = kStream.value;
        ticket.peer_id = peer.value;
        ticket.not_after_ms = kStart + 60'000;
        ticket.nonce = ++nonces;
        seal_ticket(ticket, ticket_key);
        return ticket;
    }

    JoinMessage join(const Ticket& ticket, const Cookie& cookie = {}) const {
        JoinMessage message{};
        message.header = make_header<JoinMessage>(MessageType::join);
        message.client_nonce = 4711;
        message.ticket = ticket;
        message.cookie = cookie;
        seal(message, key_of(ticket));
        return message;
    }

    /// Sends bytes and checks, of every reply ever made here, that it is no longer than the
    /// request.
    const JoinOutcome& send(std::span<const std::byte> bytes,
                            const Endpoint& from = kClient,
                            const Endpoint& to = kServer,
                            std::uint8_t port = 0) {
        outcome.clear();
        handler.handle({port, mac, from, to, bytes}, now_ms, outcome);
        std::size_t replied = 0;
        for (const SessionReply& reply : outcome.replies) {
            replied += reply.size;
        }
        EXPECT_LE(replied, bytes.size());
        return outcome;
    }
    template <typename Message>
    const JoinOutcome& send(const Message& message,
                            const Endpoint& from = kClient,
                            const Endpoint& to = kServer,
                            std::uint8_t port = 0) {
        return send(bytes_of(message), from, to, port);
    }

    Cookie cookie_for(const Ticket& ticket, const Endpoint& from = kClient) {
        send(join(ticket), from);
        EXPECT_EQ(outcome.replies.size(), 1U);
        return message_in<ChallengeMessage>(outcome.replies.at(0)).cookie;
    }

    /// The whole handshake; the ACCEPT.
    AcceptMessage accepted(const Ticket& ticket, const Endpoint& from = kClient) {
        send(join(ticket, cookie_for(ticket, from)), from);
        EXPECT_FALSE(outcome.replies.empty());
        return message_in<AcceptMessage>(outcome.replies.back());
    }

    SessionKey key_of(const Ticket& ticket) const {
        return derive_session_key(ticket_key, ticket.nonce);
    }

    KeepaliveMessage keepalive(const Ticket& ticket,
                               std::uint64_t flow,
                               std::uint64_t sequence,
                               std::uint64_t server_nonce) const {
        KeepaliveMessage message{};
        message.header = make_header<KeepaliveMessage>(MessageType::keepalive);
        message.flow_id = flow;
        message.sequence = sequence;
        message.server_nonce = server_nonce;
        seal(message, key_of(ticket));
        return message;
    }

    LeaveMessage leave(const Ticket& ticket, std::uint64_t flow, std::uint64_t sequence) const {
        LeaveMessage message{};
        message.header = make_header<LeaveMessage>(MessageType::leave);
        message.flow_id = flow;
        message.sequence = sequence;
        seal(message, key_of(ticket));
        return message;
    }

    PathResponseMessage path_response(const Ticket& ticket, const PathChallengeMessage& to) const {
        PathResponseMessage message{};
        message.header = make_header<PathResponseMessage>(MessageType::path_response);
        message.flow_id = to.flow_id;
        message.sequence = to.sequence;
        message.path_nonce = to.path_nonce;
        seal(message, key_of(ticket));
        return message;
    }

    std::uint64_t count(SessionEvent event) const { return handler.counters()[event]; }

    /// Nothing said, nothing done, counted under this name.
    void expect_silence(SessionEvent event, std::uint64_t times = 1) const {
        EXPECT_TRUE(outcome.replies.empty());
        EXPECT_TRUE(outcome.operations.empty());
        EXPECT_EQ(count(event), times);
    }

    TicketKey ticket_key;
    Ticket fixed_ticket{};
    std::uint64_t nonces = 100;
    std::uint64_t randoms = 9'000;
    std::uint64_t now_ms = kStart;
    MacAddress mac = kClientMac;
    JoinOutcome outcome;
    JoinHandler handler{config(), SessionKey{{1, 2, 3}}, [this] { return ++randoms; }};
};

TEST_F(Join, AnswersAGoodTicketWithACookieAndKeepsNoState) {
    send(join(ticket()));
    ASSERT_EQ(outcome.replies.size(), 1U);
    const SessionReply& reply = outcome.replies[0];
    EXPECT_EQ(reply.destination, kClient);
    EXPECT_EQ(reply.source, kServer);
    EXPECT_EQ(reply.next_hop, kClientMac);
    EXPECT_EQ(message_in<ChallengeMessage>(reply).client_nonce, 4711U);
    EXPECT_TRUE(outcome.operations.empty());
    EXPECT_EQ(handler.sessions().size(), 0U);
}

TEST_F(Join, InstallsAConsumerThatProvedItsAddress) {
    const Ticket good = ticket();
    JoinMessage message = join(good, cookie_for(good));
    message.history_packets = 500;
    message.history_ms = 2'000;
    seal(message, key_of(good));
    send(message);
    ASSERT_EQ(outcome.operations.size(), 1U);
    const auto& install = std::get<InstallConsumer>(outcome.operations[0]);
    EXPECT_EQ(install.session.address, kClient);
    EXPECT_EQ(install.session.local, kServer);
    EXPECT_EQ(install.session.next_hop, kClientMac);
    EXPECT_EQ(install.history_packets, 500U);
    EXPECT_EQ(install.history_ms, 2'000U);
    const auto accept = message_in<AcceptMessage>(outcome.replies.at(0));
    EXPECT_EQ(accept.flow_id, install.session.flow.value);
    EXPECT_EQ(accept.keepalive_ms, 5'000U);
    EXPECT_EQ(accept.lease_ms, 15'000U);
    EXPECT_EQ(accept.payload_bytes_max, 1472U);
    EXPECT_TRUE(tag_is_valid(accept, key_of(good)));
}

TEST_F(Join, GivesTheStreamItsPublisher) {
    const Ticket good = ticket(TicketRole::publish, kPublisher);
    accepted(good);
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<InstallPublisher>(outcome.operations[0]).session.address, kClient);
    ASSERT_NE(handler.publisher_of(kStream), nullptr);
    EXPECT_EQ(handler.publisher_of(kStream)->peer, kPublisher);
}

TEST_F(Join, RefusesAPublisherThatPresenceHasReplaced) {
    const Ticket old = ticket(TicketRole::publish, PeerId{502});
    send(join(old));
    expect_silence(SessionEvent::wrong_publisher);
}

TEST_F(Join, EndsThePublisherWhenPresenceNamesAnother) {
    accepted(ticket(TicketRole::publish, kPublisher));
    outcome.clear();
    handler.open_stream(kStream, kUdpPort, PeerId{502}, outcome);
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<RemovePublisher>(outcome.operations[0]));
    EXPECT_EQ(message_in<EndedMessage>(outcome.replies.at(0)).reason,
              static_cast<std::uint32_t>(EndReason::replaced));
    EXPECT_EQ(handler.publisher_of(kStream), nullptr);
}

TEST_F(Join, AnswersARepeatedJoinWithTheSameFlow) {
    const Ticket good = ticket();
    const Cookie cookie = cookie_for(good);
    send(join(good, cookie));
    const auto first = message_in<AcceptMessage>(outcome.replies.at(0));
    send(join(good, cookie));
    EXPECT_TRUE(outcome.operations.empty());
    EXPECT_EQ(message_in<AcceptMessage>(outcome.replies.at(0)).flow_id, first.flow_id);
    EXPECT_EQ(count(SessionEvent::accepted_again), 1U);
}

TEST_F(Join, NewestSessionOfAPeerReplacesTheOlder) {
    const auto first = accepted(ticket());
    const Endpoint elsewhere{kClient.ip, 40'001};
    const auto second = accepted(ticket(), elsewhere);
    EXPECT_NE(first.flow_id, second.flow_id);
    ASSERT_EQ(outcome.operations.size(), 2U);
    EXPECT_EQ(std::get<RemoveConsumer>(outcome.operations[0]).flow.value, first.flow_id);
    ASSERT_EQ(outcome.replies.size(), 2U);
    EXPECT_EQ(outcome.replies[0].destination, kClient);
    EXPECT_EQ(message_in<EndedMessage>(outcome.replies[0]).reason,
              static_cast<std::uint32_t>(EndReason::replaced));
    EXPECT_EQ(handler.sessions().size(), 1U);
}

TEST_F(Join, JoiningAnewFromTheSameAddressEndsNothingAloud) {
    accepted(ticket());
    accepted(ticket());
    EXPECT_EQ(outcome.replies.size(), 1U);
    EXPECT_EQ(handler.sessions().size(), 1U);
}

TEST_F(Join, KeepaliveExtendsTheLeaseAndIsAcknowledged) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    now_ms += 14'999;
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce));
    const auto ack = message_in<KeepaliveAckMessage>(outcome.replies.at(0));
    EXPECT_EQ(ack.sequence, 1U);
    EXPECT_TRUE(tag_is_valid(ack, key_of(good)));
    now_ms += 14'999;
    outcome.clear();
    handler.expire(now_ms, 10, outcome);
    EXPECT_EQ(handler.sessions().size(), 1U);
    handler.expire(now_ms + 1, 10, outcome);
    EXPECT_EQ(handler.sessions().size(), 0U);
    EXPECT_EQ(count(SessionEvent::lease_over), 1U);
}

TEST_F(Join, ServerNonceChangesAndTheOneBeforeStillCounts) {
    const Ticket good = ticket();
    now_ms = kStart;  // a multiple of the period
    const auto accept = accepted(good);
    now_ms = kStart + 10'000;
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce));
    const auto ack = message_in<KeepaliveAckMessage>(outcome.replies.at(0));
    EXPECT_NE(ack.server_nonce, accept.server_nonce);
    EXPECT_EQ(count(SessionEvent::renewed), 1U);
}

TEST_F(Join, StaleEchoExtendsNothingButTellsTheNewestNonce) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    now_ms = kStart + 14'000;
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce ^ 1U));
    EXPECT_EQ(count(SessionEvent::stale_echo), 1U);
    EXPECT_EQ(count(SessionEvent::renewed), 0U);
    const auto ack = message_in<KeepaliveAckMessage>(outcome.replies.at(0));
    send(keepalive(good, accept.flow_id, 2, ack.server_nonce));
    EXPECT_EQ(count(SessionEvent::renewed), 1U);
}

TEST_F(Join, KeepaliveThroughAnotherNextHopMovesTheFlowThere) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    mac = MacAddress{{2, 0, 0, 0, 0, 101}};
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce));
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<MoveConsumer>(outcome.operations[0]).session.next_hop, mac);
}

TEST_F(Join, NewAddressMustProveItselfBeforeContentGoesThere) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    const Endpoint rebound{kClient.ip, 50'000};
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce), rebound);
    EXPECT_TRUE(outcome.operations.empty());
    ASSERT_EQ(outcome.replies.size(), 1U);
    EXPECT_EQ(outcome.replies[0].destination, rebound);
    const auto challenge = message_in<PathChallengeMessage>(outcome.replies[0]);
    send(path_response(good, challenge), rebound);
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<MoveConsumer>(outcome.operations[0]).session.address, rebound);
    EXPECT_EQ(outcome.replies.at(0).destination, rebound);
}

TEST_F(Join, PublisherMovesAsConsumersDo) {
    const Ticket good = ticket(TicketRole::publish, kPublisher);
    const auto accept = accepted(good);
    const Endpoint rebound{kClient.ip, 50'000};
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce), rebound);
    const auto challenge = message_in<PathChallengeMessage>(outcome.replies.at(0));
    send(path_response(good, challenge), rebound);
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<InstallPublisher>(outcome.operations[0]).session.address, rebound);
}

TEST_F(Join, PathResponseFromAThirdAddressMovesNothing) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce), {kClient.ip, 50'000});
    const auto challenge = message_in<PathChallengeMessage>(outcome.replies.at(0));
    send(path_response(good, challenge), {kClient.ip, 50'001});
    expect_silence(SessionEvent::bad_path_nonce);
}

TEST_F(Join, PathResponseOvertakenByANewerKeepaliveMovesNothing) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    const Endpoint rebound{kClient.ip, 50'000};
    send(keepalive(good, accept.flow_id, 1, accept.server_nonce), rebound);
    const auto challenge = message_in<PathChallengeMessage>(outcome.replies.at(0));
    send(keepalive(good, accept.flow_id, 2, accept.server_nonce));
    send(path_response(good, challenge), rebound);
    expect_silence(SessionEvent::old_sequence);
}

TEST_F(Join, MovesAtMostOnceASecond) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    const auto move_to = [&](std::uint16_t port, std::uint64_t sequence) {
        const Endpoint there{kClient.ip, port};
        send(keepalive(good, accept.flow_id, sequence, accept.server_nonce), there);
        const auto challenge = message_in<PathChallengeMessage>(outcome.replies.at(0));
        send(path_response(good, challenge), there);
    };
    move_to(50'000, 1);
    now_ms += 999;
    move_to(50'001, 2);
    expect_silence(SessionEvent::moved_too_often);
    now_ms += 1;
    move_to(50'002, 3);
    EXPECT_EQ(count(SessionEvent::moved), 2U);
}

TEST_F(Join, LeaveEndsTheFlowInSilence) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    send(leave(good, accept.flow_id, 1));
    EXPECT_TRUE(outcome.replies.empty());
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<RemoveConsumer>(outcome.operations[0]).flow.value, accept.flow_id);
    send(leave(good, accept.flow_id, 2));
    expect_silence(SessionEvent::unknown_flow);
}

TEST_F(Join, ClosingAStreamTellsEveryoneAndOnlyThem) {
    accepted(ticket(TicketRole::consume, PeerId{1}), {kClient.ip, 1'001});
    accepted(ticket(TicketRole::consume, PeerId{2}), {kClient.ip, 1'002});
    accepted(ticket(TicketRole::publish, kPublisher), {kClient.ip, 1'003});
    outcome.clear();
    handler.close_stream(kStream, outcome);
    EXPECT_EQ(outcome.replies.size(), 3U);
    EXPECT_TRUE(outcome.operations.empty());
    EXPECT_EQ(handler.sessions().size(), 0U);
    send(join(ticket()));
    expect_silence(SessionEvent::unknown_stream);
}

TEST_F(Join, ShutdownTellsEveryone) {
    accepted(ticket());
    outcome.clear();
    handler.end_all(EndReason::shutdown, outcome);
    ASSERT_EQ(outcome.replies.size(), 1U);
    EXPECT_EQ(message_in<EndedMessage>(outcome.replies[0]).reason,
              static_cast<std::uint32_t>(EndReason::shutdown));
}

TEST_F(Join, RefusesConsumersBeyondTheLimitUntilOneLeaves) {
    std::vector<Ticket> tickets;
    std::vector<AcceptMessage> accepts;
    for (std::uint16_t i = 0; i < 4; ++i) {
        tickets.push_back(ticket(TicketRole::consume, PeerId{i + 1U}));
        accepts.push_back(
            accepted(tickets.back(), {kClient.ip, static_cast<std::uint16_t>(41'000 + i)}));
    }
    const Ticket fifth = ticket(TicketRole::consume, PeerId{5});
    send(join(fifth, cookie_for(fifth)));
    expect_silence(SessionEvent::limit_reached);
    send(leave(tickets[0], accepts[0].flow_id, 1), {kClient.ip, 41'000});
    EXPECT_EQ(handler.sessions().size(), 3U);
    accepted(fifth);
    EXPECT_EQ(handler.sessions().size(), 4U);
}

TEST_F(Join, NeighbourChangeMovesFlowsBehindIt) {
    accepted(ticket());
    outcome.clear();
    const MacAddress now_there{{2, 0, 0, 0, 0, 200}};
    handler.move_next_hop(1, kClient.ip, kClientMac, now_there, outcome);
    EXPECT_TRUE(outcome.operations.empty());
    handler.move_next_hop(0, kClient.ip, kClientMac, now_there, outcome);
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<MoveConsumer>(outcome.operations[0]).session.next_hop, now_there);
}

TEST_F(Join, NeighbourChangeLeavesAnotherClientOfTheSameMacAlone) {
    accepted(ticket());
    const Endpoint beyond_router{IpAddress::v4(0xc0000201), 40'000};
    accepted(ticket(TicketRole::consume, PeerId{78}), beyond_router);
    outcome.clear();
    const IpAddress other = IpAddress::v4(kClient.ip.v4() + 1);
    handler.move_next_hop(0, other, kClientMac, MacAddress{{2, 0, 0, 0, 0, 200}}, outcome);
    ASSERT_EQ(outcome.operations.size(), 1U);
    EXPECT_EQ(std::get<MoveConsumer>(outcome.operations[0]).session.address, beyond_router);
}

TEST_F(Join, NextHopThatIsAGroupIsSilent) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    for (const MacAddress& group :
         {MacAddress{{255, 255, 255, 255, 255, 255}}, MacAddress{{1, 0, 0x5e, 0, 0, 1}}}) {
        mac = group;
        send(join(ticket()));
        EXPECT_TRUE(outcome.replies.empty());
        send(keepalive(good, accept.flow_id, 1, accept.server_nonce));
        EXPECT_TRUE(outcome.replies.empty());
        EXPECT_TRUE(outcome.operations.empty());
    }
    EXPECT_EQ(count(SessionEvent::source_invalid), 4U);
}

TEST_F(Join, TicketsOfThePreviousKeyStayGood) {
    const Ticket old = ticket();
    TicketKey newer;
    fill_random(newer.bytes);
    handler.set_ticket_key(1, newer);
    accepted(old);
    handler.set_ticket_key(1, newer);  // the same again changes nothing
    accepted(old);
    TicketKey newest;
    fill_random(newest.bytes);
    handler.set_ticket_key(2, newest);
    send(join(old));
    expect_silence(SessionEvent::bad_ticket);
}

// ---- Bad input: each is answered by silence and its own counter.

TEST_F(Join, TicketWithAnyBitFlippedIsBad) {
    const Ticket good = ticket();
    std::uint64_t refused = 0;
    for (std::size_t bit = 0; bit < sizeof(Ticket) * 8; ++bit) {
        Ticket bad = good;
        std::array<std::uint8_t, sizeof(Ticket)> bytes{};
        std::memcpy(bytes.data(), &bad, sizeof(bad));
        bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1U << (bit % 8)));
        std::memcpy(&bad, bytes.data(), sizeof(bad));
        send(join(bad));
        EXPECT_TRUE(outcome.replies.empty()) << "bit " << bit;
        ++refused;
    }
    EXPECT_EQ(count(SessionEvent::bad_ticket) + count(SessionEvent::expired_ticket), refused);
}

TEST_F(Join, JoinCutAtEveryByteIsUnpadded) {
    const JoinMessage whole = join(ticket());
    for (std::size_t bytes = 0; bytes < sizeof(whole); ++bytes) {
        send(bytes_of(whole).first(bytes));
        EXPECT_TRUE(outcome.replies.empty());
    }
    EXPECT_EQ(count(SessionEvent::unpadded), sizeof(whole) - sizeof(MessageHeader));
    EXPECT_EQ(count(SessionEvent::malformed), sizeof(MessageHeader));
}

TEST_F(Join, HeaderThatIsNotOursIsMalformed) {
    const JoinMessage good = join(ticket());
    std::vector<JoinMessage> bad(5, good);
    bad[0].header.magic = kMessageMagic ^ 1U;
    bad[1].header.version = 2;
    bad[2].header.type = 99;
    bad[3].header.length = 255;
    bad[4].header.length = 257;
    for (const JoinMessage& message : bad) {
        send(message);
    }
    expect_silence(SessionEvent::malformed, bad.size());
}

TEST_F(Join, MessagesOnlyDataServersSendAreRefused) {
    AcceptMessage message{};
    message.header = make_header<AcceptMessage>(MessageType::accept);
    send(message);
    expect_silence(SessionEvent::wrong_direction);
}

TEST_F(Join, ExpiredTicketIsSilent) {
    now_ms = kStart + 60'001;
    send(join(ticket()));
    expect_silence(SessionEvent::expired_ticket);
}

TEST_F(Join, TicketOfUnknownKeyIsSilent) {
    Ticket bad = ticket();
    bad.key_id = 2;
    seal_ticket(bad, ticket_key);
    send(join(bad));
    expect_silence(SessionEvent::bad_ticket);
}

TEST_F(Join, BeforePresenceGaveAKeyEveryTicketIsBad) {
    JoinHandler keyless(config(), SessionKey{}, [] { return std::uint64_t{1}; });
    keyless.open_stream(kStream, kUdpPort, kPublisher, outcome);
    const JoinMessage message = join(ticket());
    keyless.handle({0, mac, kClient, kServer, bytes_of(message)}, now_ms, outcome);
    EXPECT_TRUE(outcome.replies.empty());
    EXPECT_EQ(keyless.counters()[SessionEvent::bad_ticket], 1U);
}

TEST_F(Join, TicketOfAnotherStreamIsSilent) {
    send(join(ticket()), kClient, {kServer.ip, kOtherUdpPort});
    expect_silence(SessionEvent::wrong_stream);
}

TEST_F(Join, TicketForNeitherRoleIsSilent) {
    send(join(ticket(static_cast<TicketRole>(0))));
    send(join(ticket(static_cast<TicketRole>(3))));
    expect_silence(SessionEvent::wrong_role, 2);
}

TEST_F(Join, SwappedRoleBreaksTheTicket) {
    Ticket bad = ticket();
    bad.role = static_cast<std::uint8_t>(TicketRole::publish);
    send(join(bad));
    expect_silence(SessionEvent::bad_ticket);
}

TEST_F(Join, CookieIsGoodOnlyForItsAddressPortAndTicket) {
    const Ticket good = ticket();
    const Ticket other = ticket();
    const Cookie cookie = cookie_for(good);
    send(join(good, cookie), {kClient.ip, 40'001});
    send(join(good, cookie), {IpAddress::v4(0x0a5b0065), kClient.port});
    send(join(other, cookie));
    Cookie later = cookie;
    later.issued_at_ms = now_ms + 1;
    send(join(good, later));
    Cookie forged = cookie;
    forged.mac = cookie.mac ^ 1U;
    send(join(good, forged));
    expect_silence(SessionEvent::bad_cookie, 5);
}

TEST_F(Join, TicketInHandsWithoutItsSessionKeyIsSilent) {
    const Endpoint thief{IpAddress::v4(0x0a5b0066), 40'000};
    for (const TicketRole role : {TicketRole::publish, TicketRole::consume}) {
        const Endpoint owner{kClient.ip, static_cast<std::uint16_t>(41'000 + ++nonces)};
        const Ticket stolen = ticket(role, kPublisher);
        accepted(stolen, owner);
        JoinMessage forged = join(stolen, cookie_for(stolen, owner));
        forged.cookie = cookie_for(stolen, thief);  // his own address he can prove
        send(forged, thief);
        EXPECT_TRUE(outcome.replies.empty());
        EXPECT_TRUE(outcome.operations.empty());
    }
    EXPECT_EQ(count(SessionEvent::bad_tag), 2U);
    EXPECT_EQ(count(SessionEvent::replaced), 0U);
    EXPECT_NE(handler.publisher_of(kStream)->address, thief);
}

TEST_F(Join, OldCookieIsAnsweredWithAFreshOne) {
    const Ticket good = ticket();
    const Cookie cookie = cookie_for(good);
    now_ms += 4'001;
    send(join(good, cookie));
    EXPECT_TRUE(outcome.operations.empty());
    EXPECT_EQ(count(SessionEvent::stale_cookie), 1U);
    const auto fresh = message_in<ChallengeMessage>(outcome.replies.at(0)).cookie;
    send(join(good, fresh));
    EXPECT_EQ(count(SessionEvent::accepted), 1U);
}

TEST_F(Join, SourcesThatNobodyMayHaveAreRefused) {
    const std::vector<std::uint32_t> invalid{
        0x00000000, 0x7f000001, 0xffffffff, 0xe0000001, 0x0a5b00ff, 0x0a5b0000};
    const JoinMessage message = join(ticket());
    for (const std::uint32_t ip : invalid) {
        send(message, {IpAddress::v4(ip), 40'000});
    }
    send(message, {kClient.ip, 0});
    expect_silence(SessionEvent::source_invalid, invalid.size() + 1);
}

TEST_F(Join, OurOwnAddressIsNoClient) {
    send(join(ticket()), {kServer.ip, 40'000});
    expect_silence(SessionEvent::own_address);
}

TEST_F(Join, ConsumerAtThePublishersAddressIsRefused) {
    accepted(ticket(TicketRole::publish, kPublisher));
    send(join(ticket()));
    expect_silence(SessionEvent::publisher_address);
}

TEST_F(Join, MessagesOfAnotherFlowAreRefused) {
    const Ticket mine = ticket(TicketRole::consume, PeerId{1});
    const Ticket theirs = ticket(TicketRole::consume, PeerId{2});
    const Endpoint there{kClient.ip, 40'001};
    const auto accept = accepted(mine);
    const auto other = accepted(theirs, there);
    send(leave(mine, other.flow_id, 1));
    expect_silence(SessionEvent::bad_tag);
    send(keepalive(mine, accept.flow_id ^ (std::uint64_t{1} << 40U), 1, accept.server_nonce));
    expect_silence(SessionEvent::unknown_flow);
    send(keepalive(mine, accept.flow_id, 1, accept.server_nonce),
         kClient,
         {kServer.ip, kOtherUdpPort});
    expect_silence(SessionEvent::wrong_stream);
    send(keepalive(mine, accept.flow_id, 1, accept.server_nonce), kClient, kServer, 1);
    expect_silence(SessionEvent::wrong_port);
}

TEST_F(Join, EveryFlippedBitOfAKeepaliveIsRefused) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    const KeepaliveMessage message = keepalive(good, accept.flow_id, 1, accept.server_nonce);
    for (std::size_t bit = 0; bit < sizeof(message) * 8; ++bit) {
        std::array<std::byte, sizeof(message)> bytes{};
        std::memcpy(bytes.data(), &message, sizeof(message));
        bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        send(std::span<const std::byte>(bytes));
        EXPECT_TRUE(outcome.replies.empty()) << "bit " << bit;
    }
    EXPECT_EQ(count(SessionEvent::renewed), 0U);
}

TEST_F(Join, RepeatedAndOvertakenKeepalivesAreRefused) {
    const Ticket good = ticket();
    const auto accept = accepted(good);
    send(keepalive(good, accept.flow_id, 5, accept.server_nonce));
    send(keepalive(good, accept.flow_id, 5, accept.server_nonce));
    expect_silence(SessionEvent::old_sequence, 1);
    send(keepalive(good, accept.flow_id, 4, accept.server_nonce));
    send(keepalive(good, accept.flow_id, UINT64_MAX, accept.server_nonce));
    send(leave(good, accept.flow_id, 5));
    expect_silence(SessionEvent::old_sequence, 4);
    EXPECT_EQ(handler.sessions().size(), 1U);
}

TEST_F(Join, OneSourceCannotUseUpTheLimitOfAll) {
    const JoinMessage message = join(ticket());
    for (std::uint32_t i = 0; i < config().joins_per_source.burst + 100; ++i) {
        send(message, {kClient.ip, static_cast<std::uint16_t>(1'024 + i)});  // from every port
    }
    expect_silence(SessionEvent::rate_limited, 100);
    send(message, {IpAddress::v4(0x0a5b0065), 40'000});
    EXPECT_EQ(outcome.replies.size(), 1U);
    now_ms += 1;  // a thousand a second: one more each millisecond
    send(message);
    EXPECT_EQ(outcome.replies.size(), 1U);
}

TEST_F(Join, FloodFromEverywhereIsLimitedAndKeepsNothing) {
    const JoinMessage message = join(ticket());
    std::uint64_t answered = 0;
    for (std::uint32_t i = 0; i < 200'000; ++i) {
        send(message, {IpAddress::v4(0x0b000001 + i), 40'000});
        answered += outcome.replies.size();
    }
    EXPECT_EQ(answered, config().joins.burst);
    EXPECT_EQ(count(SessionEvent::rate_limited), 200'000 - answered);
    EXPECT_EQ(handler.sessions().size(), 0U);
    EXPECT_LE(outcome.replies.capacity(), 16U);
    EXPECT_LE(outcome.operations.capacity(), 16U);
}

TEST_F(Join, LeasesEndInTheirOrderAndAtMostSoManyAtOnce) {
    for (std::uint16_t i = 0; i < 4; ++i) {
        accepted(ticket(TicketRole::consume, PeerId{i + 1U}),
                 {kClient.ip, static_cast<std::uint16_t>(41'000 + i)});
        now_ms += 10;
    }
    outcome.clear();
    handler.expire(kStart + 15'000 - 1, 10, outcome);
    EXPECT_TRUE(outcome.replies.empty());
    handler.expire(kStart + 15'000 + 100, 3, outcome);
    ASSERT_EQ(outcome.replies.size(), 3U);
    EXPECT_EQ(outcome.replies[0].destination.port, 41'000);
    EXPECT_EQ(outcome.replies[2].destination.port, 41'002);
    EXPECT_EQ(message_in<EndedMessage>(outcome.replies[0]).reason,
              static_cast<std::uint32_t>(EndReason::lease_over));
    EXPECT_EQ(handler.sessions().size(), 1U);
}

TEST_F(Join, SameCallsGiveTheSameReplies) {
    const auto run = [this] {
        std::uint64_t random = 0;
        JoinHandler twin(config(), SessionKey{{9}}, [&random] { return ++random; });
        twin.set_ticket_key(1, ticket_key);
        JoinOutcome replies;
        twin.open_stream(kStream, kUdpPort, kPublisher, replies);
        const JoinMessage first = join(fixed_ticket);
        twin.handle({0, mac, kClient, kServer, bytes_of(first)}, kStart, replies);
        const auto challenge = message_in<ChallengeMessage>(replies.replies.at(0));
        const JoinMessage second = join(fixed_ticket, challenge.cookie);
        twin.handle({0, mac, kClient, kServer, bytes_of(second)}, kStart, replies);
        return replies.replies.at(1).bytes;
    };
    fixed_ticket = ticket();
    EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace penstock
