#pragma once

#include "base/byte_order.h"
#include "base/net_address.h"

#include <penstock/ids.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace penstock {

enum class TicketRole : std::uint8_t { publish = 1, consume = 2 };

/// Short-lived permission that presence issues and one data server verifies. Its times are that
/// data server's own monotonic clock (which presence knows from its load reports), so no wall
/// clock and no clock skew can spoil or prolong it.
struct [[gnu::packed]] Ticket {
    std::uint8_t version;  // kTicketVersion
    std::uint8_t role;     // TicketRole
    Be16 key_id;           // which of the data server's ticket keys made the MAC
    Be32 reserved;
    Be64 stream_id;
    Be64 peer_id;
    Be64 not_after_ms;                 // data server's monotonic clock
    Be64 max_bits_per_second;          // 0: no limit declared
    Be64 nonce;                        // random; the session key is derived from it
    std::array<std::uint8_t, 16> mac;  // HMAC-SHA-256 of all before it, first 128 bits
};
static_assert(sizeof(Ticket) == 64);
inline constexpr std::uint8_t kTicketVersion = 1;

/// Secret shared by presence and one data server in one life of it.
struct TicketKey {
    std::array<std::uint8_t, 32> bytes{};

    bool operator==(const TicketKey&) const = default;
};
/// Secret of one join: authenticates every message after it.
struct SessionKey {
    std::array<std::uint8_t, 16> bytes{};
};

enum class TicketVerdict { valid, bad_version, bad_mac, expired };

/// Must succeed once before anything else here is called (libsodium). Thread: main, at start.
[[nodiscard]] bool initialise_cryptography() noexcept;
void fill_random(std::span<std::uint8_t> bytes) noexcept;
std::uint64_t random_u64() noexcept;  // never 0

/// First 8 bytes of BLAKE2b-256 of the name, read big-endian; never 0.
StreamId stream_id_of(std::string_view name) noexcept;

/// The ticket key of a data server, from presence's master key: BLAKE2b-256 keyed with it over a
/// label, the server's boot id, the key id and the server's name.
TicketKey derive_ticket_key(const TicketKey& master,
                            std::string_view server,
                            std::uint64_t boot_id,
                            std::uint16_t key_id) noexcept;
/// The session key of the join made with a ticket: BLAKE2b-128 keyed with the ticket key over a
/// label and the ticket's nonce. Presence hands it to the client beside the ticket.
SessionKey derive_session_key(const TicketKey& key, std::uint64_t ticket_nonce) noexcept;

/// Seals tickets with one key, of whose use the beginning is done once.
class TicketSealer {
  public:
    explicit TicketSealer(const TicketKey& key) noexcept;
    TicketSealer(const TicketSealer&) noexcept = default;
    TicketSealer& operator=(const TicketSealer&) noexcept = default;
    ~TicketSealer();  // leaves nothing of the key behind

    /// Sets the version and the MAC of a filled ticket.
    void seal(Ticket& ticket) const noexcept;

  private:
    alignas(std::uint64_t) std::array<std::byte, 208> keyed_;  // HMAC-SHA-256 before the message
};
/// The same for a single ticket.
void seal_ticket(Ticket& ticket, const TicketKey& key) noexcept;
/// Cheap checks first; the MAC in constant time. `now_ms` is the data server's monotonic clock; a
/// ticket is good up to and including its not_after_ms.
[[nodiscard]] TicketVerdict verify_ticket(const Ticket& ticket,
                                          const TicketKey& key,
                                          std::uint64_t now_ms) noexcept;

/// SipHash-2-4, 64 bits. The reference's 8 output bytes are read little-endian, as its paper writes
/// the number: key 00..0f over 00..0e gives 0xa129ca6149be45e5.
std::uint64_t siphash(const SessionKey& key, std::span<const std::byte> bytes) noexcept;

/// MAC of a cookie: binds an address and port to a ticket nonce at a time, under a key that only
/// this data server knows (a SessionKey made with fill_random at start).
std::uint64_t cookie_mac(const SessionKey& boot_key,
                         const Endpoint& client,
                         std::uint64_t ticket_nonce,
                         std::uint64_t issued_at_ms) noexcept;

}  // namespace penstock
