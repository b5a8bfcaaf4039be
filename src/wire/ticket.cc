#include "wire/ticket.h"

#include "base/check.h"

#include <sodium.h>

#include <algorithm>
#include <bit>

namespace penstock {
namespace {

// Labels keep keys made from one secret for different uses apart.
constexpr std::string_view kTicketKeyLabel = "penstock ticket key 1";
constexpr std::string_view kSessionKeyLabel = "penstock session key 1";

/// BLAKE2b (RFC 7693) fed piece by piece. The pieces' lengths are not part of the hash: all but the
/// last must be of fixed length.
class Blake2b {
  public:
    Blake2b(std::span<const std::uint8_t> key, std::size_t output_bytes) noexcept
        : output_bytes_(output_bytes) {
        crypto_generichash_init(&state_, key.data(), key.size(), output_bytes);
    }

    Blake2b& add(std::string_view text) noexcept { return add(text.data(), text.size()); }
    template <typename T>
    Blake2b& add(const BigEndian<T>& value) noexcept {
        return add(&value, sizeof(value));
    }
    void finish(std::span<std::uint8_t> output) noexcept {
        PENSTOCK_CHECK(output.size() == output_bytes_);
        crypto_generichash_final(&state_, output.data(), output.size());
    }

  private:
    Blake2b& add(const void* bytes, std::size_t size) noexcept {
        crypto_generichash_update(&state_, static_cast<const unsigned char*>(bytes), size);
        return *this;
    }

    crypto_generichash_state state_{};
    std::size_t output_bytes_;
};

using TicketMac = std::array<std::uint8_t, sizeof(Ticket::mac)>;

using KeyedHash = crypto_auth_hmacsha256_state;

KeyedHash begin_mac(const TicketKey& key) noexcept {
    KeyedHash keyed;
    crypto_auth_hmacsha256_init(&keyed, key.bytes.data(), key.bytes.size());
    return keyed;
}

TicketMac finish_mac(KeyedHash keyed, const Ticket& ticket) noexcept {
    static_assert(offsetof(Ticket, mac) + sizeof(Ticket::mac) == sizeof(Ticket));
    std::array<std::uint8_t, crypto_auth_hmacsha256_BYTES> full{};
    crypto_auth_hmacsha256_update(
        &keyed, reinterpret_cast<const unsigned char*>(&ticket), offsetof(Ticket, mac));
    crypto_auth_hmacsha256_final(&keyed, full.data());
    TicketMac mac{};
    std::copy_n(full.begin(), mac.size(), mac.begin());
    return mac;
}

}  // namespace

bool initialise_cryptography() noexcept { return sodium_init() >= 0; }

void fill_random(std::span<std::uint8_t> bytes) noexcept {
    randombytes_buf(bytes.data(), bytes.size());
}

std::uint64_t random_u64() noexcept {
    std::uint64_t value = 0;
    while (value == 0) {
        randombytes_buf(&value, sizeof(value));
    }
    return value;
}

StreamId stream_id_of(std::string_view name) noexcept {
    std::array<std::uint8_t, crypto_generichash_BYTES> hash{};
    Blake2b({}, hash.size()).add(name).finish(hash);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(value); ++i) {
        value = value << 8U | hash[i];
    }
    return {std::max<std::uint64_t>(value, 1)};
}

TicketKey derive_ticket_key(const TicketKey& master,
                            std::string_view server,
                            std::uint64_t boot_id,
                            std::uint16_t key_id) noexcept {
    TicketKey key;
    Blake2b(master.bytes, key.bytes.size())
        .add(kTicketKeyLabel)
        .add(Be64{boot_id})
        .add(Be16{key_id})
        .add(server)
        .finish(key.bytes);
    return key;
}

SessionKey derive_session_key(const TicketKey& key, std::uint64_t ticket_nonce) noexcept {
    SessionKey session;
    Blake2b(key.bytes, session.bytes.size())
        .add(kSessionKeyLabel)
        .add(Be64{ticket_nonce})
        .finish(session.bytes);
    return session;
}

TicketSealer::TicketSealer(const TicketKey& key) noexcept
    : keyed_(std::bit_cast<decltype(keyed_)>(begin_mac(key))) {
    static_assert(alignof(KeyedHash) <= alignof(std::uint64_t));
}

TicketSealer::~TicketSealer() { sodium_memzero(keyed_.data(), keyed_.size()); }

void TicketSealer::seal(Ticket& ticket) const noexcept {
    ticket.version = kTicketVersion;
    ticket.mac = finish_mac(std::bit_cast<KeyedHash>(keyed_), ticket);
}

void seal_ticket(Ticket& ticket, const TicketKey& key) noexcept { TicketSealer(key).seal(ticket); }

TicketVerdict verify_ticket(const Ticket& ticket,
                            const TicketKey& key,
                            std::uint64_t now_ms) noexcept {
    if (ticket.version != kTicketVersion) {
        return TicketVerdict::bad_version;
    }
    if (now_ms > ticket.not_after_ms) {
        return TicketVerdict::expired;
    }
    const TicketMac expected = finish_mac(begin_mac(key), ticket);
    const bool equal = sodium_memcmp(expected.data(), ticket.mac.data(), expected.size()) == 0;
    return equal ? TicketVerdict::valid : TicketVerdict::bad_mac;
}

std::uint64_t siphash(const SessionKey& key, std::span<const std::byte> bytes) noexcept {
    static_assert(sizeof(SessionKey) == crypto_shorthash_KEYBYTES);
    // The reference writes its 64-bit result little-endian; this reads it back as that number.
    std::uint64_t hash = 0;
    static_assert(sizeof(hash) == crypto_shorthash_BYTES);
    crypto_shorthash(reinterpret_cast<unsigned char*>(&hash),
                     reinterpret_cast<const unsigned char*>(bytes.data()),
                     bytes.size(),
                     key.bytes.data());
    return hash;
}

std::uint64_t cookie_mac(const SessionKey& boot_key,
                         const Endpoint& client,
                         std::uint64_t ticket_nonce,
                         std::uint64_t issued_at_ms) noexcept {
    struct [[gnu::packed]] {
        std::array<std::uint8_t, 16> ip;
        Be16 port;
        Be64 ticket_nonce;
        Be64 issued_at_ms;
    } const covered{client.ip.bytes, client.port, ticket_nonce, issued_at_ms};
    return siphash(boot_key, std::as_bytes(std::span(&covered, 1)));
}

}  // namespace penstock
