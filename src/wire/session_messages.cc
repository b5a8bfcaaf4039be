#include "wire/session_messages.h"

namespace penstock {
namespace {

/// The one legal length of a message of this type, 0 for an unknown type.
constexpr std::size_t length_of(MessageType type) noexcept {
    switch (type) {
        case MessageType::join:
            return sizeof(JoinMessage);
        case MessageType::challenge:
            return sizeof(ChallengeMessage);
        case MessageType::accept:
            return sizeof(AcceptMessage);
        case MessageType::keepalive:
            return sizeof(KeepaliveMessage);
        case MessageType::keepalive_ack:
            return sizeof(KeepaliveAckMessage);
        case MessageType::path_challenge:
            return sizeof(PathChallengeMessage);
        case MessageType::path_response:
            return sizeof(PathResponseMessage);
        case MessageType::leave:
            return sizeof(LeaveMessage);
        case MessageType::ended:
        case MessageType::moved:
            return sizeof(EndedMessage);
    }
    return 0;
}

}  // namespace

std::optional<MessageType> message_type(std::span<const std::byte> payload) noexcept {
    if (payload.size() < sizeof(MessageHeader)) {
        return std::nullopt;
    }
    const auto header = read_message<MessageHeader>(payload);
    const auto type = static_cast<MessageType>(header.type);
    if (header.magic != kMessageMagic || header.version != kMessageVersion ||
        header.length != payload.size() || payload.size() != length_of(type)) {
        return std::nullopt;
    }
    return type;
}

}  // namespace penstock
