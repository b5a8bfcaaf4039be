#include "wire/session_messages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

namespace penstock {
namespace {

constexpr std::array kTypes{MessageType::join,
                            MessageType::challenge,
                            MessageType::accept,
                            MessageType::keepalive,
                            MessageType::keepalive_ack,
                            MessageType::path_challenge,
                            MessageType::path_response,
                            MessageType::leave,
                            MessageType::ended,
                            MessageType::moved};

template <typename Message>
std::vector<std::byte> message_bytes(MessageType type) {
    Message message{};
    message.header = make_header<Message>(type);
    const auto bytes = bytes_of(message);
    return {bytes.begin(), bytes.end()};
}

/// A well-formed message of this type whose fields are zero.
std::vector<std::byte> example(MessageType type) {
    switch (type) {
        case MessageType::join:
            return message_bytes<JoinMessage>(type);
        case MessageType::challenge:
            return message_bytes<ChallengeMessage>(type);
        case MessageType::accept:
            return message_bytes<AcceptMessage>(type);
        case MessageType::keepalive:
            return message_bytes<KeepaliveMessage>(type);
        case MessageType::keepalive_ack:
            return message_bytes<KeepaliveAckMessage>(type);
        case MessageType::path_challenge:
            return message_bytes<PathChallengeMessage>(type);
        case MessageType::path_response:
            return message_bytes<PathResponseMessage>(type);
        case MessageType::leave:
            return message_bytes<LeaveMessage>(type);
        case MessageType::ended:
        case MessageType::moved:
            return message_bytes<EndedMessage>(type);
    }
    return {};
}

SessionKey counting_key() {
    SessionKey key;
    std::iota(key.bytes.begin(), key.bytes.end(), std::uint8_t{0});
    return key;
}

class SessionMessages : public testing::Test {
  protected:
    static void SetUpTestSuite() { ASSERT_TRUE(initialise_cryptography()); }
};

TEST_F(SessionMessages, LieOnTheWireFieldByField) {
    EXPECT_EQ(offsetof(MessageHeader, magic), 0U);
    EXPECT_EQ(offsetof(MessageHeader, version), 8U);
    EXPECT_EQ(offsetof(MessageHeader, type), 9U);
    EXPECT_EQ(offsetof(MessageHeader, length), 10U);
    EXPECT_EQ(offsetof(MessageHeader, reserved), 12U);
    EXPECT_EQ(offsetof(Cookie, issued_at_ms), 0U);
    EXPECT_EQ(offsetof(Cookie, mac), 8U);

    EXPECT_EQ(offsetof(JoinMessage, header), 0U);
    EXPECT_EQ(offsetof(JoinMessage, client_nonce), 16U);
    EXPECT_EQ(offsetof(JoinMessage, ticket), 24U);
    EXPECT_EQ(offsetof(JoinMessage, cookie), 88U);
    EXPECT_EQ(offsetof(JoinMessage, history_packets), 104U);
    EXPECT_EQ(offsetof(JoinMessage, history_ms), 108U);
    EXPECT_EQ(offsetof(JoinMessage, padding), 112U);
    EXPECT_EQ(offsetof(JoinMessage, tag), 248U);

    EXPECT_EQ(offsetof(ChallengeMessage, header), 0U);
    EXPECT_EQ(offsetof(ChallengeMessage, client_nonce), 16U);
    EXPECT_EQ(offsetof(ChallengeMessage, cookie), 24U);
    EXPECT_EQ(offsetof(ChallengeMessage, reserved), 40U);

    EXPECT_EQ(offsetof(AcceptMessage, header), 0U);
    EXPECT_EQ(offsetof(AcceptMessage, client_nonce), 16U);
    EXPECT_EQ(offsetof(AcceptMessage, flow_id), 24U);
    EXPECT_EQ(offsetof(AcceptMessage, server_nonce), 32U);
    EXPECT_EQ(offsetof(AcceptMessage, keepalive_ms), 40U);
    EXPECT_EQ(offsetof(AcceptMessage, lease_ms), 44U);
    EXPECT_EQ(offsetof(AcceptMessage, payload_bytes_max), 48U);
    EXPECT_EQ(offsetof(AcceptMessage, reserved), 50U);
    EXPECT_EQ(offsetof(AcceptMessage, tag), 56U);
}

TEST_F(SessionMessages, OfAFlowLieOnTheWireFieldByField) {
    EXPECT_EQ(offsetof(KeepaliveMessage, header), 0U);
    EXPECT_EQ(offsetof(KeepaliveMessage, flow_id), 16U);
    EXPECT_EQ(offsetof(KeepaliveMessage, sequence), 24U);
    EXPECT_EQ(offsetof(KeepaliveMessage, server_nonce), 32U);
    EXPECT_EQ(offsetof(KeepaliveMessage, reserved), 40U);
    EXPECT_EQ(offsetof(KeepaliveMessage, tag), 56U);

    EXPECT_EQ(offsetof(KeepaliveAckMessage, header), 0U);
    EXPECT_EQ(offsetof(KeepaliveAckMessage, flow_id), 16U);
    EXPECT_EQ(offsetof(KeepaliveAckMessage, sequence), 24U);
    EXPECT_EQ(offsetof(KeepaliveAckMessage, server_nonce), 32U);
    EXPECT_EQ(offsetof(KeepaliveAckMessage, reserved), 40U);
    EXPECT_EQ(offsetof(KeepaliveAckMessage, tag), 56U);

    EXPECT_EQ(offsetof(PathChallengeMessage, header), 0U);
    EXPECT_EQ(offsetof(PathChallengeMessage, flow_id), 16U);
    EXPECT_EQ(offsetof(PathChallengeMessage, sequence), 24U);
    EXPECT_EQ(offsetof(PathChallengeMessage, path_nonce), 32U);
    EXPECT_EQ(offsetof(PathChallengeMessage, reserved), 40U);
    EXPECT_EQ(offsetof(PathChallengeMessage, tag), 56U);

    EXPECT_EQ(offsetof(PathResponseMessage, header), 0U);
    EXPECT_EQ(offsetof(PathResponseMessage, flow_id), 16U);
    EXPECT_EQ(offsetof(PathResponseMessage, sequence), 24U);
    EXPECT_EQ(offsetof(PathResponseMessage, path_nonce), 32U);
    EXPECT_EQ(offsetof(PathResponseMessage, reserved), 40U);
    EXPECT_EQ(offsetof(PathResponseMessage, tag), 56U);

    EXPECT_EQ(offsetof(LeaveMessage, header), 0U);
    EXPECT_EQ(offsetof(LeaveMessage, flow_id), 16U);
    EXPECT_EQ(offsetof(LeaveMessage, sequence), 24U);
    EXPECT_EQ(offsetof(LeaveMessage, reserved), 32U);
    EXPECT_EQ(offsetof(LeaveMessage, tag), 40U);

    EXPECT_EQ(offsetof(EndedMessage, header), 0U);
    EXPECT_EQ(offsetof(EndedMessage, flow_id), 16U);
    EXPECT_EQ(offsetof(EndedMessage, reason), 24U);
    EXPECT_EQ(offsetof(EndedMessage, reserved_bits), 28U);
    EXPECT_EQ(offsetof(EndedMessage, reserved), 32U);
    EXPECT_EQ(offsetof(EndedMessage, tag), 40U);
}

TEST_F(SessionMessages, BeginWithMagicVersionTypeAndLength) {
    const auto bytes = example(MessageType::leave);
    constexpr std::array<int, 16> kHeader{
        0xd1, 0x7e, 0x50, 0x45, 0x4e, 0x53, 0x54, 0x4b, 1, 8, 0, 48, 0, 0, 0, 0};
    for (std::size_t i = 0; i < kHeader.size(); ++i) {
        EXPECT_EQ(std::to_integer<int>(bytes[i]), kHeader[i]) << "byte " << i;
    }
}

TEST_F(SessionMessages, AnswerWithNoMoreBytesThanAsked) {
    EXPECT_LE(sizeof(ChallengeMessage), sizeof(JoinMessage));
    EXPECT_LE(sizeof(AcceptMessage), sizeof(JoinMessage));
    EXPECT_LE(sizeof(KeepaliveAckMessage), sizeof(KeepaliveMessage));
    EXPECT_LE(sizeof(PathChallengeMessage), sizeof(KeepaliveMessage));
    EXPECT_LE(sizeof(EndedMessage), sizeof(LeaveMessage));
}

TEST_F(SessionMessages, AreKnownByTheirHeader) {
    for (const MessageType type : kTypes) {
        EXPECT_EQ(message_type(example(type)), type);
        EXPECT_LE(example(type).size(), kMessageBytesMax);
    }
}

TEST_F(SessionMessages, AreRefusedWhenCutOrLengthened) {
    for (const MessageType type : kTypes) {
        auto bytes = example(type);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_EQ(message_type(std::span(bytes).first(size)), std::nullopt)
                << "type " << static_cast<int>(type) << " cut to " << size;
        }
        bytes.emplace_back();
        EXPECT_EQ(message_type(bytes), std::nullopt);
    }
}

TEST_F(SessionMessages, AreRefusedWithAWrongHeader) {
    for (const MessageType type : kTypes) {
        const auto good = example(type);
        for (std::size_t byte = 0; byte < offsetof(MessageHeader, reserved); ++byte) {
            for (unsigned bit = 0; bit < 8; ++bit) {
                auto bad = good;
                bad[byte] ^= static_cast<std::byte>(1U << bit);
                // A flip may lead to another type of the same length, never back to this one.
                EXPECT_NE(message_type(bad), type) << "byte " << byte << " bit " << bit;
                if (byte != offsetof(MessageHeader, type)) {
                    EXPECT_EQ(message_type(bad), std::nullopt) << "byte " << byte;
                }
            }
        }
    }
}

TEST_F(SessionMessages, OfUnknownTypesAreRefused) {
    auto bytes = example(MessageType::leave);
    for (unsigned type = 0; type < 256; ++type) {
        bytes[offsetof(MessageHeader, type)] = static_cast<std::byte>(type);
        // CHALLENGE, LEAVE, ENDED and MOVED are the types of this length.
        const bool has_this_length = type == 2 || (type >= 8 && type <= 10);
        EXPECT_EQ(message_type(bytes).has_value(), has_this_length) << type;
    }
}

TEST_F(SessionMessages, WithAReservedFieldSetAreTaken) {
    auto bytes = example(MessageType::keepalive);
    std::fill_n(bytes.begin() + offsetof(MessageHeader, reserved), 4, std::byte{0xff});
    EXPECT_EQ(message_type(bytes), MessageType::keepalive);
}

TEST_F(SessionMessages, AreReadBackAsWritten) {
    JoinMessage join{};
    join.header = make_header<JoinMessage>(MessageType::join);
    join.client_nonce = 7;
    join.ticket.stream_id = 8;
    join.history_ms = 3000;
    const auto read = read_message<JoinMessage>(bytes_of(join));
    EXPECT_EQ(read.client_nonce, 7U);
    EXPECT_EQ(read.ticket.stream_id, 8U);
    EXPECT_EQ(read.history_ms, 3000U);
}

TEST_F(SessionMessages, CarryATagOverEverythingBeforeIt) {
    LeaveMessage leave{};
    leave.header = make_header<LeaveMessage>(MessageType::leave);
    leave.flow_id = 7;
    leave.sequence = 8;
    seal(leave, counting_key());
    // Computed by another implementation of SipHash-2-4.
    EXPECT_EQ(leave.tag, 0x41e95b9489035d86U);
    EXPECT_TRUE(tag_is_valid(leave, counting_key()));
    EXPECT_FALSE(tag_is_valid(leave, SessionKey{}));
    for (std::size_t bit = 0; bit < 8 * sizeof(leave); ++bit) {
        LeaveMessage bad = leave;
        reinterpret_cast<std::uint8_t*>(&bad)[bit / 8] ^=
            static_cast<std::uint8_t>(1U << (bit % 8));
        EXPECT_FALSE(tag_is_valid(bad, counting_key())) << "bit " << bit;
    }
}

TEST_F(SessionMessages, EndWithTheirTag) {
    EXPECT_EQ(offsetof(AcceptMessage, tag) + sizeof(MessageTag), sizeof(AcceptMessage));
    EXPECT_EQ(offsetof(KeepaliveMessage, tag) + sizeof(MessageTag), sizeof(KeepaliveMessage));
    EXPECT_EQ(offsetof(KeepaliveAckMessage, tag) + sizeof(MessageTag), sizeof(KeepaliveAckMessage));
    EXPECT_EQ(offsetof(PathChallengeMessage, tag) + sizeof(MessageTag),
              sizeof(PathChallengeMessage));
    EXPECT_EQ(offsetof(PathResponseMessage, tag) + sizeof(MessageTag), sizeof(PathResponseMessage));
    EXPECT_EQ(offsetof(LeaveMessage, tag) + sizeof(MessageTag), sizeof(LeaveMessage));
    EXPECT_EQ(offsetof(EndedMessage, tag) + sizeof(MessageTag), sizeof(EndedMessage));
}

}  // namespace
}  // namespace penstock
