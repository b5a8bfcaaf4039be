#pragma once

#include "base/byte_order.h"
#include "wire/ticket.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace penstock {

/// What publishers, consumers and data servers say to each other on the data network, on a stream's
/// own UDP port, between its content. Every struct is the UDP payload as it lies on the wire:
/// big-endian, packed, of one fixed length. A reply is never longer than its request, so a spoofed
/// source never receives more bytes than were sent in its name.
///
///   client                              data server
///   JOIN(ticket)              256 B ->  ticket good? answer; else silence and a counter
///                              48 B <-  CHALLENGE(cookie): no state kept
///   JOIN(ticket, cookie)      256 B ->  address proven, tag right: install the flow
///                              64 B <-  ACCEPT(flow id, keepalive, lease)
///   KEEPALIVE(echo of nonce)   64 B ->  extends the lease
///                              64 B <-  KEEPALIVE_ACK(newest nonce)
///                              64 B <-  PATH_CHALLENGE, to a new address of a known flow
///   PATH_RESPONSE              64 B ->  the flow moves to that address
///   LEAVE                      48 B ->  ends the flow; no answer
///                              48 B <-  ENDED, unasked: the data server ended the flow
enum class MessageType : std::uint8_t {
    join = 1,
    challenge = 2,
    accept = 3,
    keepalive = 4,
    keepalive_ack = 5,
    path_challenge = 6,
    path_response = 7,
    leave = 8,
    ended = 9,
    moved = 10,
};

/// First 8 payload bytes of every session message. Content that begins with them by accident is
/// told apart by its length, type, flow id and tag.
inline constexpr std::uint64_t kMessageMagic = 0xd1'7e'50'45'4e'53'54'4bULL;
inline constexpr std::uint8_t kMessageVersion = 1;

struct [[gnu::packed]] MessageHeader {
    Be64 magic;
    std::uint8_t version;
    std::uint8_t type;  // MessageType
    Be16 length;        // of the whole message, header included, bytes
    Be32 reserved;      // sent as 0, ignored
};
static_assert(sizeof(MessageHeader) == 16);

/// SipHash-2-4 under the session key over all bytes of the message before it.
using MessageTag = Be64;

/// Proof that its bearer receives at the address it was made for (cookie_mac() in wire/ticket.h).
struct [[gnu::packed]] Cookie {
    Be64 issued_at_ms;  // data server's monotonic clock
    Be64 mac;           // SipHash-2-4 under the data server's own boot key
};

struct [[gnu::packed]] JoinMessage {
    MessageHeader header;
    Be64 client_nonce;  // random; the reply carries it back
    Ticket ticket;
    Cookie cookie;         // all zero in the first JOIN
    Be32 history_packets;  // as HistoryRequest; 0 from a publisher
    Be32 history_ms;
    std::array<std::uint8_t, 136> padding;  // zero: a JOIN is longer than anything it can provoke
    MessageTag tag;  // whoever only saw the ticket pass by has no session key to make it with
};
static_assert(sizeof(JoinMessage) == 256);

struct [[gnu::packed]] ChallengeMessage {
    MessageHeader header;
    Be64 client_nonce;
    Cookie cookie;
    Be64 reserved;
};
static_assert(sizeof(ChallengeMessage) == 48);

struct [[gnu::packed]] AcceptMessage {
    MessageHeader header;
    Be64 client_nonce;
    Be64 flow_id;
    Be64 server_nonce;       // to be echoed in KEEPALIVE
    Be32 keepalive_ms;       // send one this often (the client varies it by +-20 %)
    Be32 lease_ms;           // the flow ends this long after the last good KEEPALIVE
    Be16 payload_bytes_max;  // largest datagram the data server relays
    std::array<std::uint8_t, 6> reserved;
    MessageTag tag;
};
static_assert(sizeof(AcceptMessage) == 64);

struct [[gnu::packed]] KeepaliveMessage {
    MessageHeader header;
    Be64 flow_id;
    Be64 sequence;      // rises with every message of the client on this flow
    Be64 server_nonce;  // newest one received: proof that the client still receives
    std::array<std::uint8_t, 16> reserved;
    MessageTag tag;
};
static_assert(sizeof(KeepaliveMessage) == 64);

struct [[gnu::packed]] KeepaliveAckMessage {
    MessageHeader header;
    Be64 flow_id;
    Be64 sequence;      // of the KEEPALIVE it answers
    Be64 server_nonce;  // to be echoed from now on
    std::array<std::uint8_t, 16> reserved;
    MessageTag tag;
};
static_assert(sizeof(KeepaliveAckMessage) == 64);

struct [[gnu::packed]] PathChallengeMessage {
    MessageHeader header;
    Be64 flow_id;
    Be64 sequence;    // of the KEEPALIVE that came from the new address
    Be64 path_nonce;  // SipHash of (boot key, new address, flow id, sequence): no state kept
    std::array<std::uint8_t, 16> reserved;
    MessageTag tag;
};
static_assert(sizeof(PathChallengeMessage) == 64);

struct [[gnu::packed]] PathResponseMessage {
    MessageHeader header;
    Be64 flow_id;
    Be64 sequence;  // of the PATH_CHALLENGE it answers
    Be64 path_nonce;
    std::array<std::uint8_t, 16> reserved;
    MessageTag tag;
};
static_assert(sizeof(PathResponseMessage) == 64);

struct [[gnu::packed]] LeaveMessage {
    MessageHeader header;
    Be64 flow_id;
    Be64 sequence;
    Be64 reserved;
    MessageTag tag;
};
static_assert(sizeof(LeaveMessage) == 48);

enum class EndReason : std::uint32_t {
    stream_closed = 1,  // ask presence again if still wanted
    lease_over = 2,
    replaced = 3,  // the same peer joined anew
    shutdown = 4,  // this data server goes away
};

/// ENDED: no more content. MOVED: the same, and presence already knows a better place; understood
/// by clients, sent by no data server yet.
struct [[gnu::packed]] EndedMessage {
    MessageHeader header;
    Be64 flow_id;
    Be32 reason;  // EndReason
    Be32 reserved_bits;
    Be64 reserved;
    MessageTag tag;
};
static_assert(sizeof(EndedMessage) == 48);

inline constexpr std::size_t kMessageBytesMax = sizeof(JoinMessage);

/// Header of a message of type T (its length is sizeof(Message)).
template <typename Message>
MessageHeader make_header(MessageType type) noexcept {
    return {.magic = kMessageMagic,
            .version = kMessageVersion,
            .type = static_cast<std::uint8_t>(type),
            .length = static_cast<std::uint16_t>(sizeof(Message)),
            .reserved = 0};
}

/// The type of a session message, if `payload` has the magic, our version, a known type and exactly
/// that type's length; nothing about its tag.
std::optional<MessageType> message_type(std::span<const std::byte> payload) noexcept;

/// Copies a message out of a payload for which message_type() named it.
template <typename Message>
Message read_message(std::span<const std::byte> payload) noexcept {
    Message message;
    __builtin_memcpy(&message, payload.data(), sizeof(Message));
    return message;
}

template <typename Message>
std::span<const std::byte> bytes_of(const Message& message) noexcept {
    return std::as_bytes(std::span<const Message, 1>(&message, 1));
}

/// Writes the tag (the last field) of a finished message.
template <typename Message>
void seal(Message& message, const SessionKey& key) noexcept {
    message.tag = siphash(key, bytes_of(message).first(sizeof(Message) - sizeof(MessageTag)));
}

/// Whether the tag is right. Constant time in the tag.
template <typename Message>
[[nodiscard]] bool tag_is_valid(const Message& message, const SessionKey& key) noexcept {
    const std::uint64_t expected =
        siphash(key, bytes_of(message).first(sizeof(Message) - sizeof(MessageTag)));
    return (expected ^ std::uint64_t{message.tag}) == 0;
}

}  // namespace penstock
