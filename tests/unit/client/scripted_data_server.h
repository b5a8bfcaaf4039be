#pragma once

#include "client/join_client.h"
#include "wire/session_messages.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace penstock {

using Bytes = std::vector<std::byte>;

template <typename Message>
Bytes to_bytes(const Message& message) {
    const std::span<const std::byte> bytes = bytes_of(message);
    return {bytes.begin(), bytes.end()};
}

/// The data server's words, one by one, so that a test can lose, change and repeat them.
struct ScriptedDataServer {
    SessionKey key{{1, 2, 3}};
    std::uint64_t flow_id = 0xf1;
    std::uint64_t server_nonce = 0x51;
    std::uint32_t keepalive_ms = 5000;
    std::uint32_t lease_ms = 15'000;

    [[nodiscard]] static Bytes challenge(const JoinMessage& join, std::uint64_t cookie) {
        ChallengeMessage message{};
        message.header = make_header<ChallengeMessage>(MessageType::challenge);
        message.client_nonce = join.client_nonce;
        message.cookie = {.issued_at_ms = std::uint64_t{1}, .mac = cookie};
        return to_bytes(message);
    }
    [[nodiscard]] Bytes accept(const JoinMessage& join) const {
        AcceptMessage message{};
        message.header = make_header<AcceptMessage>(MessageType::accept);
        message.client_nonce = join.client_nonce;
        message.flow_id = flow_id;
        message.server_nonce = server_nonce;
        message.keepalive_ms = keepalive_ms;
        message.lease_ms = lease_ms;
        message.payload_bytes_max = std::uint16_t{1472};
        seal(message, key);
        return to_bytes(message);
    }
    [[nodiscard]] Bytes ack(const KeepaliveMessage& keepalive) const {
        KeepaliveAckMessage message{};
        message.header = make_header<KeepaliveAckMessage>(MessageType::keepalive_ack);
        message.flow_id = flow_id;
        message.sequence = keepalive.sequence;
        message.server_nonce = server_nonce;
        seal(message, key);
        return to_bytes(message);
    }
    [[nodiscard]] Bytes path_challenge(std::uint64_t sequence, std::uint64_t nonce) const {
        PathChallengeMessage message{};
        message.header = make_header<PathChallengeMessage>(MessageType::path_challenge);
        message.flow_id = flow_id;
        message.sequence = sequence;
        message.path_nonce = nonce;
        seal(message, key);
        return to_bytes(message);
    }
    [[nodiscard]] Bytes end(MessageType type, EndReason reason) const {
        EndedMessage message{};
        message.header = make_header<EndedMessage>(type);
        message.flow_id = flow_id;
        message.reason = static_cast<std::uint32_t>(reason);
        seal(message, key);
        return to_bytes(message);
    }
};

}  // namespace penstock
