#pragma once

#include "base/clock.h"
#include "base/net_address.h"
#include "wire/session_messages.h"

#include <penstock/consumer.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>

namespace penstock {

/// Where to join and with what permission: from presence.
struct JoinTarget {
    Endpoint server;  // the stream's own port of a data server
    Ticket ticket{};
    SessionKey key;
    HistoryRequest history;
};

enum class JoinState {
    idle,      // no target
    joining,   // the address is being proven
    accepted,  // the flow is installed
    ended,     // the data server said ENDED or MOVED, or was silent for the length of the lease
};

/// What a received datagram was.
enum class Arrival { content, session_message, stranger };

/// The client's side of the handshake on the data network (wire/session_messages.h), for publishers
/// and consumers: bytes in, bytes out, next deadline. Pure: no socket, no clock; the caller sends
/// what poll() gives and calls it again at next_deadline().
/// Thread: one at a time.
class JoinClient {
  public:
    /// After this long without anything from the data server a KEEPALIVE is sent at once, to tell a
    /// dead data server from a silent stream. kNeverProbe: only the regular ones.
    static constexpr std::chrono::milliseconds kProbeAfter{1000};
    static constexpr std::chrono::milliseconds kNeverProbe{
        std::numeric_limits<std::int32_t>::max()};
    static constexpr std::chrono::milliseconds kJoinRetryFirst{100};
    static constexpr std::chrono::milliseconds kJoinRetryMost{1000};
    /// Data servers take a cookie for 4 s: an older one is not worth sending.
    static constexpr std::chrono::milliseconds kCookieLifetime{3000};
    static constexpr std::chrono::milliseconds kKeepaliveRetry{250};
    static constexpr int kKeepaliveTries = 3;  // unanswered ones, before we call it silence
    static constexpr std::chrono::milliseconds kSilentRetry{1000};
    static constexpr std::chrono::milliseconds kUnansweredJoin{1500};
    static constexpr std::chrono::milliseconds kRenewalInterval{1000};

    /// `seed`: of the jitter only; nothing secret comes of it.
    JoinClient(std::chrono::milliseconds probe_after, std::uint64_t seed);

    /// Begins to join. `client_nonce`: random_u64(). What was before is forgotten: take
    /// leave_message() first if the data server should know.
    void start(const JoinTarget& target, std::uint64_t client_nonce, MonotonicTime now);
    /// A newer permission for the place where the flow already is: the flow is kept and proven by a
    /// KEEPALIVE at once, so that a presence restart costs no packet.
    void confirm(MonotonicTime now);
    void stop() noexcept { state_ = JoinState::idle; }

    /// Takes a received datagram. A session message is one that comes from the data server, has a
    /// known form, and proves itself by tag (before the flow exists: by client nonce too); all else
    /// from there is content, whatever it looks like.
    Arrival on_datagram(const Endpoint& from,
                        std::span<const std::byte> payload,
                        MonotonicTime now);
    /// Content came from the data server: it is alive. on_datagram() does this by itself.
    void on_content(MonotonicTime now) noexcept { last_heard_ = now; }

    /// The next message to send to target().server now, empty if none is due. Valid until the next
    /// call; to be called until it gives nothing.
    std::span<const std::byte> poll(MonotonicTime now);
    /// When poll() or take_renewal() will have something to say; max() if never.
    [[nodiscard]] MonotonicTime next_deadline() const noexcept;
    /// LEAVE for the accepted flow, which is thereby over; empty if there is none.
    std::span<const std::byte> leave_message();

    /// Whether presence is to be asked for a new assignment now: the flow ended, nobody answers the
    /// JOIN, or the data server fell silent. True at most once per kRenewalInterval.
    bool take_renewal(MonotonicTime now);
    /// Neither content nor answer for so long that the data server must be given up.
    [[nodiscard]] bool is_silent(MonotonicTime now) const noexcept;

    [[nodiscard]] JoinState state() const noexcept { return state_; }
    [[nodiscard]] const JoinTarget& target() const noexcept { return target_; }
    [[nodiscard]] FlowId flow_id() const noexcept { return flow_id_; }
    /// Largest datagram the data server relays; of an accepted flow.
    [[nodiscard]] std::size_t payload_bytes_max() const noexcept { return payload_bytes_max_; }
    /// One line on what is wrong now; "" if nothing is.
    [[nodiscard]] std::string trouble(MonotonicTime now) const;

  private:
    bool on_challenge(const ChallengeMessage& message, MonotonicTime now);
    bool on_accept(const AcceptMessage& message, MonotonicTime now);
    bool on_keepalive_ack(const KeepaliveAckMessage& message, MonotonicTime now);
    bool on_path_challenge(const PathChallengeMessage& message);
    bool on_end(const EndedMessage& message, MessageType type, MonotonicTime now);
    bool on_message(MessageType type, std::span<const std::byte> payload, MonotonicTime now);

    std::span<const std::byte> make_join(MonotonicTime now);
    std::span<const std::byte> make_keepalive(MonotonicTime now);
    std::span<const std::byte> make_path_response();
    template <typename Message>
    std::span<const std::byte> sealed(Message message);
    [[nodiscard]] bool wants_renewal(MonotonicTime now) const noexcept;
    [[nodiscard]] MonotonicTime keepalive_at() const noexcept;
    std::chrono::nanoseconds jittered(std::chrono::nanoseconds mean);

    std::chrono::milliseconds probe_after_;
    std::minstd_rand random_;

    JoinState state_ = JoinState::idle;
    JoinTarget target_;
    std::uint64_t client_nonce_ = 0;
    std::optional<Cookie> cookie_;
    MonotonicTime cookie_at_{};
    MonotonicTime started_at_{};
    MonotonicTime join_at_{};  // next JOIN
    std::chrono::milliseconds join_retry_ = kJoinRetryFirst;

    FlowId flow_id_;
    std::uint64_t server_nonce_ = 0;
    std::uint64_t sequence_ = 0;  // of our last message on this flow
    std::chrono::milliseconds keepalive_{0};
    std::chrono::milliseconds lease_{0};
    std::size_t payload_bytes_max_ = 0;
    MonotonicTime keepalive_at_{};  // next KEEPALIVE by the clock
    int unanswered_ = 0;            // KEEPALIVEs since the last answer
    MonotonicTime last_heard_{};
    std::optional<PathChallengeMessage> path_challenge_;
    std::string end_;  // why the flow ended

    MonotonicTime renewal_at_{};  // not before
    std::array<std::byte, kMessageBytesMax> message_{};
};

}  // namespace penstock
