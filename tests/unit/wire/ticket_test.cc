#include "wire/ticket.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <string_view>

namespace penstock {
namespace {

constexpr std::uint64_t kNonce = 0x1122334455667788;

/// The lower-case hexadecimal digits of bytes.
template <typename Bytes>
std::string hex(const Bytes& bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text.push_back(kDigits[byte >> 4U]);
        text.push_back(kDigits[byte & 0xfU]);
    }
    return text;
}

/// A key of the bytes 00 01 02 ...
template <typename Key>
Key counting_key() {
    Key key;
    std::iota(key.bytes.begin(), key.bytes.end(), std::uint8_t{0});
    return key;
}

TicketKey example_key() {
    return derive_ticket_key(counting_key<TicketKey>(), "data-1", 0x0102030405060708, 9);
}

Ticket example_ticket() {
    Ticket ticket{};
    ticket.role = static_cast<std::uint8_t>(TicketRole::consume);
    ticket.key_id = 9;
    ticket.stream_id = 0xa1;
    ticket.peer_id = 0xb2;
    ticket.not_after_ms = 5000;
    ticket.max_bits_per_second = 20'000'000;
    ticket.nonce = kNonce;
    seal_ticket(ticket, example_key());
    return ticket;
}

class TicketTest : public testing::Test {
  protected:
    static void SetUpTestSuite() { ASSERT_TRUE(initialise_cryptography()); }
};

TEST_F(TicketTest, LiesOnTheWireFieldByField) {
    EXPECT_EQ(sizeof(Ticket), 64U);
    EXPECT_EQ(alignof(Ticket), 1U);
    EXPECT_EQ(offsetof(Ticket, version), 0U);
    EXPECT_EQ(offsetof(Ticket, role), 1U);
    EXPECT_EQ(offsetof(Ticket, key_id), 2U);
    EXPECT_EQ(offsetof(Ticket, reserved), 4U);
    EXPECT_EQ(offsetof(Ticket, stream_id), 8U);
    EXPECT_EQ(offsetof(Ticket, peer_id), 16U);
    EXPECT_EQ(offsetof(Ticket, not_after_ms), 24U);
    EXPECT_EQ(offsetof(Ticket, max_bits_per_second), 32U);
    EXPECT_EQ(offsetof(Ticket, nonce), 40U);
    EXPECT_EQ(offsetof(Ticket, mac), 48U);
}

// Source: RFC 4231 section 4.2. HMAC pads a short key with zeros, so 20 bytes fit our 32.
TEST_F(TicketTest, UsesHmacSha256AsTheRfcKnowsIt) {
    std::array<std::uint8_t, 32> key{};
    std::fill_n(key.begin(), 20, std::uint8_t{0x0b});
    constexpr std::string_view kData = "Hi There";
    std::array<std::uint8_t, 32> mac{};
    crypto_auth_hmacsha256(
        mac.data(), reinterpret_cast<const unsigned char*>(kData.data()), kData.size(), key.data());
    EXPECT_EQ(hex(mac), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

// Source: the reference implementation's vectors (Aumasson and Bernstein, SipHash, appendix A).
TEST_F(TicketTest, ReadsSipHashAsTheReferenceWritesTheNumber) {
    const auto key = counting_key<SessionKey>();
    std::array<std::byte, 15> input{};
    for (std::size_t i = 0; i < input.size(); ++i) {
        input[i] = static_cast<std::byte>(i);
    }
    EXPECT_EQ(siphash(key, input), 0xa129ca6149be45e5U);
    EXPECT_EQ(siphash(key, {}), 0x726fdb47dd0e0e31U);
}

// The values below were computed from the definitions in ticket.h by another implementation.
TEST_F(TicketTest, DerivesTheKeysAnotherImplementationDerives) {
    const TicketKey key = example_key();
    EXPECT_EQ(hex(key.bytes), "4626a0b418319c9e374d631652966f96bdac374b500f22ea350879258a8c70ea");
    EXPECT_EQ(hex(derive_session_key(key, kNonce).bytes), "a2cae2bd20fe2a8b49796419c8acde15");
    EXPECT_EQ(hex(example_ticket().mac), "95f84079ffeab486e60fe58ddae24f4c");
    EXPECT_EQ(
        cookie_mac(counting_key<SessionKey>(), {IpAddress::v4(0x0a000001), 7400}, kNonce, 5000),
        0x81f017c8be6f81f8U);
}

TEST_F(TicketTest, NamesStreamsByBlake2b) {
    EXPECT_EQ(stream_id_of("news").value, 0x3d0d3f97572a1c6dU);
    EXPECT_EQ(stream_id_of("").value, 0x0e5751c026e543b2U);
    EXPECT_NE(stream_id_of("news"), stream_id_of("News"));
}

TEST_F(TicketTest, DerivesAnotherKeyFromEveryOtherInput) {
    const auto master = counting_key<TicketKey>();
    std::set<std::string> keys{
        hex(derive_ticket_key(master, "data-1", 1, 1).bytes),
        hex(derive_ticket_key(master, "data-2", 1, 1).bytes),
        hex(derive_ticket_key(master, "data-1", 2, 1).bytes),
        hex(derive_ticket_key(master, "data-1", 1, 2).bytes),
        hex(derive_ticket_key(TicketKey{}, "data-1", 1, 1).bytes),
        hex(derive_ticket_key(master, "", 1, 1).bytes),
        hex(derive_session_key(example_key(), 1).bytes),
        hex(derive_session_key(example_key(), 2).bytes),
        hex(derive_session_key(master, 1).bytes),
    };
    EXPECT_EQ(keys.size(), 9U);
}

TEST_F(TicketTest, IsValidUpToItsLastMillisecond) {
    const Ticket ticket = example_ticket();
    EXPECT_EQ(verify_ticket(ticket, example_key(), 0), TicketVerdict::valid);
    EXPECT_EQ(verify_ticket(ticket, example_key(), 4999), TicketVerdict::valid);
    EXPECT_EQ(verify_ticket(ticket, example_key(), 5000), TicketVerdict::valid);
    EXPECT_EQ(verify_ticket(ticket, example_key(), 5001), TicketVerdict::expired);
    EXPECT_EQ(verify_ticket(ticket, example_key(), std::numeric_limits<std::uint64_t>::max()),
              TicketVerdict::expired);
}

TEST_F(TicketTest, IsRefusedWithAnyBitFlipped) {
    const Ticket good = example_ticket();
    for (std::size_t bit = 0; bit < 8 * sizeof(Ticket); ++bit) {
        Ticket bad = good;
        reinterpret_cast<std::uint8_t*>(&bad)[bit / 8] ^=
            static_cast<std::uint8_t>(1U << (bit % 8));
        const TicketVerdict verdict = verify_ticket(bad, example_key(), 5000);
        EXPECT_NE(verdict, TicketVerdict::valid) << "bit " << bit;
        if (bit < 8) {
            EXPECT_EQ(verdict, TicketVerdict::bad_version);
        } else if (bit / 8 < offsetof(Ticket, not_after_ms) ||
                   bit / 8 >= offsetof(Ticket, max_bits_per_second)) {
            EXPECT_EQ(verdict, TicketVerdict::bad_mac) << "bit " << bit;
        }
    }
}

TEST_F(TicketTest, CannotBeProlongedWithoutTheKey) {
    Ticket ticket = example_ticket();
    ticket.not_after_ms = 6000;
    EXPECT_EQ(verify_ticket(ticket, example_key(), 5500), TicketVerdict::bad_mac);
}

TEST_F(TicketTest, IsRefusedUnderAnotherKey) {
    EXPECT_EQ(verify_ticket(example_ticket(), counting_key<TicketKey>(), 0),
              TicketVerdict::bad_mac);
    EXPECT_EQ(verify_ticket(Ticket{}, example_key(), 0), TicketVerdict::bad_version);
}

TEST_F(TicketTest, BindsACookieToAddressPortTicketAndTime) {
    const auto key = counting_key<SessionKey>();
    const Endpoint client{IpAddress::v4(0x0a000001), 7400};
    const std::set<std::uint64_t> macs{
        cookie_mac(key, client, 1, 1),
        cookie_mac(SessionKey{}, client, 1, 1),
        cookie_mac(key, {IpAddress::v4(0x0a000002), 7400}, 1, 1),
        cookie_mac(key, {IpAddress::v4(0x0a000001), 7401}, 1, 1),
        cookie_mac(key, client, 2, 1),
        cookie_mac(key, client, 1, 2),
    };
    EXPECT_EQ(macs.size(), 6U);
}

TEST_F(TicketTest, DrawsRandomValues) {
    std::set<std::uint64_t> values;
    for (int i = 0; i < 1000; ++i) {
        values.insert(random_u64());
    }
    EXPECT_EQ(values.size(), 1000U);
    EXPECT_FALSE(values.contains(0));
    TicketKey key;
    fill_random(key.bytes);
    EXPECT_NE(key.bytes, TicketKey{}.bytes);
}

}  // namespace
}  // namespace penstock
