#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace penstock {

/// Everything that can become of a session message: name, and the sentence for an operator. Those
/// behind `malformed` are refusals; of these, only stale_cookie and stale_echo are answered.
// clang-format off
#define PENSTOCK_SESSION_EVENTS(X)                                                                 \
    X(challenged,      "a JOIN with a good ticket was sent a cookie")                              \
    X(accepted,        "a client proved its address and joined")                                   \
    X(accepted_again,  "a repeated JOIN of a client that had joined; its ACCEPT was lost")         \
    X(replaced,        "a client joined anew and its older session ended")                         \
    X(renewed,         "a KEEPALIVE extended its lease")                                           \
    X(path_challenged, "a KEEPALIVE came from a new address, which was asked for proof")           \
    X(moved,           "a client proved a new address and its flow went there")                    \
    X(left,            "a client left")                                                            \
    X(lease_over,      "a silent client's flow ended")                                             \
    X(malformed,       "not a session message")                                                    \
    X(unpadded,        "a JOIN shorter than 256 bytes")                                            \
    X(wrong_direction, "a message that only data servers send")                                    \
    X(source_invalid,  "source is unspecified, loopback, multicast, broadcast or has port 0")      \
    X(own_address,     "source is one of our own data addresses")                                  \
    X(rate_limited,    "messages come faster than they may")                                       \
    X(unknown_stream,  "no stream is open at this port any more")                                  \
    X(bad_ticket,      "ticket was not made by our presence server")                               \
    X(expired_ticket,  "ticket is out of date")                                                    \
    X(wrong_stream,    "ticket or flow is for another stream")                                     \
    X(wrong_role,      "ticket permits neither publishing nor consuming")                          \
    X(wrong_publisher, "ticket is for a publisher that presence has since replaced")               \
    X(publisher_address, "a consumer at the publisher's address would feed the stream to itself")  \
    X(bad_cookie,      "cookie was not made for this address and ticket")                          \
    X(stale_cookie,    "cookie is too old; a fresh one was sent")                                  \
    X(limit_reached,   "as many flows as permitted are installed")                                 \
    X(not_installed,   "no memory for the flow, or its worker does not keep up")                   \
    X(unknown_flow,    "no such flow: it ended, or never was")                                     \
    X(wrong_port,      "came in by another NIC port than its flow")                                \
    X(bad_tag,         "tag is wrong")                                                             \
    X(old_sequence,    "repeated, or overtaken by a newer message")                                \
    X(stale_echo,      "echoed nonce is too old to prove that the client still receives")          \
    X(bad_path_nonce,  "answer to a path challenge that was not made")                             \
    X(moved_too_often, "a flow changes its address at most once a second")
// clang-format on

enum class SessionEvent : std::uint8_t {
#define PENSTOCK_SESSION_EVENT_NAME(name, sentence) name,
    PENSTOCK_SESSION_EVENTS(PENSTOCK_SESSION_EVENT_NAME)
#undef PENSTOCK_SESSION_EVENT_NAME
};

struct SessionEventText {
    std::string_view name;
    std::string_view sentence;
};

inline constexpr std::array kSessionEventTexts{
#define PENSTOCK_SESSION_EVENT_TEXT(name, sentence) SessionEventText{#name, sentence},
    PENSTOCK_SESSION_EVENTS(PENSTOCK_SESSION_EVENT_TEXT)
#undef PENSTOCK_SESSION_EVENT_TEXT
};

/// How often each event happened. Thread: control.
class SessionCounters {
  public:
    void count(SessionEvent event) noexcept { ++counts_[static_cast<std::size_t>(event)]; }
    [[nodiscard]] std::uint64_t operator[](SessionEvent event) const noexcept {
        return counts_[static_cast<std::size_t>(event)];
    }
    [[nodiscard]] const auto& all() const noexcept { return counts_; }

  private:
    std::array<std::uint64_t, kSessionEventTexts.size()> counts_{};
};

}  // namespace penstock
