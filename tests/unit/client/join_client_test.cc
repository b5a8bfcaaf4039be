#include "client/join_client.h"

#include "unit/client/scripted_data_server.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace penstock {
namespace {

using namespace std::chrono_literals;

const Endpoint kServer{IpAddress::v4(0x0a000001), 20'000};
const Endpoint kStranger{IpAddress::v4(0x0a000002), 20'000};

/// A client, a data server and a clock; nothing moves unless the test says so.
class JoinClientTest : public testing::Test {
  protected:
    void begin(HistoryRequest history = {}) {
        JoinTarget target{.server = kServer, .ticket = {}, .key = server.key, .history = history};
        target.ticket.nonce = std::uint64_t{7};
        client.start(target, 0xabc, now);
    }
    /// The message due now, which must be of this type; and nothing else is due.
    template <typename Message>
    Message sent(MessageType type) {
        const std::span<const std::byte> bytes = client.poll(now);
        EXPECT_EQ(message_type(bytes), type);
        const auto message = bytes.empty() ? Message{} : read_message<Message>(bytes);
        EXPECT_TRUE(client.poll(now).empty());
        return message;
    }
    JoinMessage sent_join() { return sent<JoinMessage>(MessageType::join); }
    KeepaliveMessage sent_keepalive() {
        const auto message = sent<KeepaliveMessage>(MessageType::keepalive);
        EXPECT_TRUE(tag_is_valid(message, server.key));
        return message;
    }
    Arrival receive(const Bytes& bytes, const Endpoint& from = kServer) {
        return client.on_datagram(from, bytes, now);
    }
    void be_accepted() {
        begin();
        receive(ScriptedDataServer::challenge(sent_join(), 99));
        receive(server.accept(sent_join()));
        ASSERT_EQ(client.state(), JoinState::accepted);
    }
    void move_to_deadline() { now = std::max(now, client.next_deadline()); }

    MonotonicTime now{1000s};
    ScriptedDataServer server;
    JoinClient client{JoinClient::kProbeAfter, 1};
};

TEST_F(JoinClientTest, ProvesItsAddressAndIsAccepted) {
    begin({.packets = 500, .duration = 2s});
    const JoinMessage first = sent_join();
    EXPECT_EQ(first.cookie.mac, 0U);
    EXPECT_EQ(first.ticket.nonce, 7U);
    EXPECT_EQ(first.history_packets, 500U);
    EXPECT_EQ(first.history_ms, 2000U);
    EXPECT_EQ(receive(ScriptedDataServer::challenge(first, 99)), Arrival::session_message);
    const JoinMessage second = sent_join();
    EXPECT_EQ(second.cookie.mac, 99U);
    EXPECT_EQ(second.client_nonce, first.client_nonce);
    EXPECT_TRUE(tag_is_valid(second, server.key));
    EXPECT_EQ(receive(server.accept(second)), Arrival::session_message);
    EXPECT_EQ(client.state(), JoinState::accepted);
    EXPECT_EQ(client.flow_id().value, server.flow_id);
    EXPECT_EQ(client.payload_bytes_max(), 1472U);
    EXPECT_TRUE(client.poll(now).empty());
}

TEST_F(JoinClientTest, RepeatsALostJoinMoreAndMoreSlowly) {
    begin();
    sent_join();
    MonotonicTime before = now;
    for (const auto mean : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        EXPECT_TRUE(client.poll(now + mean * 8 / 10 - 1ms).empty());
        do {
            move_to_deadline();
        } while (client.take_renewal(now));
        EXPECT_GE(now - before, mean * 8 / 10);
        EXPECT_LE(now - before, mean * 12 / 10);
        sent_join();
        before = now;
    }
}

TEST_F(JoinClientTest, RepeatsTheCookieWhenTheAnswerToItIsLost) {
    begin();
    receive(ScriptedDataServer::challenge(sent_join(), 99));
    EXPECT_EQ(sent_join().cookie.mac, 99U);
    move_to_deadline();
    EXPECT_EQ(sent_join().cookie.mac, 99U);
}

TEST_F(JoinClientTest, ForgetsACookieThatHasGrownOld) {
    begin();
    receive(ScriptedDataServer::challenge(sent_join(), 99));
    sent_join();
    now += JoinClient::kCookieLifetime + 1ms;
    EXPECT_EQ(sent_join().cookie.mac, 0U);
}

TEST_F(JoinClientTest, AnswersARepeatedChallengeOnlyOnce) {
    begin();
    const JoinMessage first = sent_join();
    receive(ScriptedDataServer::challenge(first, 99));
    sent_join();
    EXPECT_EQ(receive(ScriptedDataServer::challenge(first, 99)), Arrival::session_message);
    EXPECT_TRUE(client.poll(now).empty());
}

TEST_F(JoinClientTest, TakesAChallengeWithAStaleNonceForContent) {
    begin();
    JoinMessage stale = sent_join();
    stale.client_nonce = std::uint64_t{0xdead};
    EXPECT_EQ(receive(ScriptedDataServer::challenge(stale, 99)), Arrival::content);
    EXPECT_TRUE(client.poll(now).empty());
}

TEST_F(JoinClientTest, TakesAnAcceptWithAWrongTagForContent) {
    begin();
    const JoinMessage join = sent_join();
    Bytes accept = server.accept(join);
    accept.back() ^= std::byte{1};
    EXPECT_EQ(receive(accept), Arrival::content);
    EXPECT_EQ(client.state(), JoinState::joining);
    EXPECT_EQ(receive(server.accept(join)), Arrival::session_message);
    EXPECT_EQ(client.state(), JoinState::accepted);
}

TEST_F(JoinClientTest, TakesAnAcceptWithAStaleNonceForContent) {
    begin();
    JoinMessage stale = sent_join();
    stale.client_nonce = std::uint64_t{0xdead};
    EXPECT_EQ(receive(server.accept(stale)), Arrival::content);
    EXPECT_EQ(client.state(), JoinState::joining);
}

TEST_F(JoinClientTest, TakesNothingFromStrangers) {
    begin();
    const JoinMessage join = sent_join();
    EXPECT_EQ(receive(server.accept(join), kStranger), Arrival::stranger);
    EXPECT_EQ(client.state(), JoinState::joining);
}

TEST_F(JoinClientTest, TakesContentThatLooksLikeAMessageForContent) {
    be_accepted();
    KeepaliveMessage like{};
    like.header = make_header<KeepaliveMessage>(MessageType::keepalive);
    like.flow_id = server.flow_id;
    seal(like, server.key);
    EXPECT_EQ(receive(to_bytes(like)), Arrival::content) << "only clients send this type";
    Bytes short_ack = server.ack(like);
    short_ack.pop_back();
    EXPECT_EQ(receive(short_ack), Arrival::content) << "its length says otherwise";
    server.flow_id = 0xf2;
    EXPECT_EQ(receive(server.ack(like)), Arrival::content) << "of another flow";
    server.flow_id = 0xf1;
    server.key.bytes[0] ^= 1;
    EXPECT_EQ(receive(server.end(MessageType::ended, EndReason::shutdown)), Arrival::content)
        << "its tag is wrong";
    EXPECT_EQ(client.state(), JoinState::accepted);
    EXPECT_EQ(receive(Bytes{}), Arrival::content);
}

TEST_F(JoinClientTest, TakesContentThatOvertookTheAccept) {
    begin();
    sent_join();
    EXPECT_EQ(receive(Bytes(1316)), Arrival::content);
}

TEST_F(JoinClientTest, KeepsItsFlowByKeepalivesAboutAsOftenAsAsked) {
    client = JoinClient(JoinClient::kNeverProbe, 1);
    be_accepted();
    std::uint64_t sequence = 0;
    bool differs = false;
    std::chrono::nanoseconds first_pause{0};
    for (int i = 0; i < 20; ++i) {
        const MonotonicTime before = now;
        move_to_deadline();
        const auto pause = now - before;
        EXPECT_GE(pause, 4s);
        EXPECT_LE(pause, 6s);
        differs = differs || (i > 0 && pause != first_pause);
        first_pause = i == 0 ? pause : first_pause;
        const KeepaliveMessage keepalive = sent_keepalive();
        EXPECT_EQ(keepalive.sequence, ++sequence);
        EXPECT_EQ(keepalive.server_nonce, server.server_nonce);
        ++server.server_nonce;
        EXPECT_EQ(receive(server.ack(keepalive)), Arrival::session_message);
    }
    EXPECT_TRUE(differs) << "clients that began together must drift apart";
}

TEST_F(JoinClientTest, RepeatsALostKeepaliveSoon) {
    client = JoinClient(JoinClient::kNeverProbe, 1);
    be_accepted();
    move_to_deadline();
    sent_keepalive();
    const MonotonicTime before = now;
    move_to_deadline();
    EXPECT_EQ(now - before, JoinClient::kKeepaliveRetry);
    const KeepaliveMessage second = sent_keepalive();
    EXPECT_EQ(second.sequence, 2U);
    receive(server.ack(second));
    EXPECT_GE(client.next_deadline() - now, 4s);
}

TEST_F(JoinClientTest, IgnoresTheNonceOfAnOvertakenAck) {
    client = JoinClient(JoinClient::kNeverProbe, 1);
    be_accepted();
    move_to_deadline();
    const KeepaliveMessage first = sent_keepalive();
    move_to_deadline();
    const KeepaliveMessage second = sent_keepalive();
    server.server_nonce = 0x52;
    receive(server.ack(second));
    server.server_nonce = 0x51;
    receive(server.ack(first));
    move_to_deadline();
    EXPECT_EQ(sent_keepalive().server_nonce, 0x52U);
}

TEST_F(JoinClientTest, TellsASilentStreamFromADeadDataServer) {
    be_accepted();
    const MonotonicTime accepted_at = now;
    move_to_deadline();
    EXPECT_EQ(now - accepted_at, JoinClient::kProbeAfter);
    receive(server.ack(sent_keepalive()));
    EXPECT_FALSE(client.take_renewal(now)) << "it answered: the stream is silent";
    const MonotonicTime answered_at = now;
    int asked = 0;
    while (!client.take_renewal(now)) {
        ASSERT_LT(++asked, 10);
        move_to_deadline();
        client.poll(now);
    }
    EXPECT_LE(now - answered_at, 2s);
    EXPECT_TRUE(client.is_silent(now));
    EXPECT_NE(client.trouble(now), "");
    EXPECT_FALSE(client.take_renewal(now)) << "not twice for one silence";
    EXPECT_TRUE(client.take_renewal(now + JoinClient::kRenewalInterval));
}

TEST_F(JoinClientTest, ContentProvesADataServerAlive) {
    be_accepted();
    for (int i = 0; i < 100; ++i) {
        now += 100ms;
        EXPECT_EQ(receive(Bytes(1316)), Arrival::content);
        client.poll(now);
        EXPECT_FALSE(client.take_renewal(now));
    }
}

TEST_F(JoinClientTest, GivesTheFlowUpAfterALeaseOfSilence) {
    be_accepted();
    const MonotonicTime accepted_at = now;
    while (client.state() == JoinState::accepted) {
        move_to_deadline();
        client.poll(now);
        ASSERT_LT(now - accepted_at, 20s);
    }
    EXPECT_EQ(client.state(), JoinState::ended);
    EXPECT_GE(now - accepted_at, 15s);
}

TEST_F(JoinClientTest, AsksForRenewalWhenNobodyAnswersItsJoin) {
    begin();
    const MonotonicTime started_at = now;
    while (!client.take_renewal(now)) {
        client.poll(now);
        move_to_deadline();
        ASSERT_LT(now - started_at, 5s);
    }
    EXPECT_GE(now - started_at, JoinClient::kUnansweredJoin);
    EXPECT_EQ(client.state(), JoinState::joining) << "and goes on trying";
}

TEST_F(JoinClientTest, AnswersAPathChallengeAtOnce) {
    be_accepted();
    EXPECT_EQ(receive(server.path_challenge(3, 77)), Arrival::session_message);
    EXPECT_LE(client.next_deadline(), now);
    const auto response = sent<PathResponseMessage>(MessageType::path_response);
    EXPECT_EQ(response.path_nonce, 77U);
    EXPECT_EQ(response.sequence, 3U);
    EXPECT_TRUE(tag_is_valid(response, server.key));
}

TEST_F(JoinClientTest, EndsWhenTheDataServerSaysSo) {
    for (const MessageType type : {MessageType::ended, MessageType::moved}) {
        be_accepted();
        EXPECT_EQ(receive(server.end(type, EndReason::stream_closed)), Arrival::session_message);
        EXPECT_EQ(client.state(), JoinState::ended);
        EXPECT_TRUE(client.take_renewal(now));
        EXPECT_NE(client.trouble(now), "");
        EXPECT_TRUE(client.poll(now).empty());
    }
}

TEST_F(JoinClientTest, StaysEndedWhenAnAcceptIsRepeated) {
    begin();
    receive(ScriptedDataServer::challenge(sent_join(), 99));
    const Bytes accept = server.accept(sent_join());
    receive(accept);
    receive(server.end(MessageType::ended, EndReason::shutdown));
    EXPECT_EQ(receive(accept), Arrival::session_message);
    EXPECT_EQ(client.state(), JoinState::ended);
}

TEST_F(JoinClientTest, LeavesWithASealedMessageAndOnlyOnce) {
    be_accepted();
    const std::span<const std::byte> bytes = client.leave_message();
    ASSERT_EQ(message_type(bytes), MessageType::leave);
    const auto leave = read_message<LeaveMessage>(bytes);
    EXPECT_EQ(leave.flow_id, server.flow_id);
    EXPECT_GT(leave.sequence, 0U);
    EXPECT_TRUE(tag_is_valid(leave, server.key));
    EXPECT_EQ(client.state(), JoinState::idle);
    EXPECT_TRUE(client.leave_message().empty());
    EXPECT_EQ(client.next_deadline(), MonotonicTime::max());
}

TEST_F(JoinClientTest, ConfirmsAFlowThatStandsWithoutJoiningAnew) {
    be_accepted();
    client.confirm(now);
    receive(server.ack(sent_keepalive()));
    EXPECT_EQ(client.state(), JoinState::accepted);
}

TEST_F(JoinClientTest, DoesNotFloodADataServerThatAsksForTooManyKeepalives) {
    server.keepalive_ms = 0;
    server.lease_ms = 0;
    be_accepted();
    EXPECT_GE(client.next_deadline() - now, 80ms);
}

}  // namespace
}  // namespace penstock
