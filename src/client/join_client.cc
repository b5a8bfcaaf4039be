#include "client/join_client.h"

#include "base/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace penstock {
namespace {

using std::chrono::milliseconds;

// What a data server may ask of us: outside of it a slip of its configuration would make us flood
// it or lose our flow.
constexpr milliseconds kKeepaliveLeast{100};
constexpr milliseconds kKeepaliveMost{60'000};

const char* end_words(EndReason reason) noexcept {
    switch (reason) {
        case EndReason::stream_closed:
            return "the stream was closed there";
        case EndReason::lease_over:
            return "our lease was over";
        case EndReason::replaced:
            return "we joined anew";
        case EndReason::shutdown:
            return "it goes away";
    }
    return "for a reason unknown to this version";
}

}  // namespace

JoinClient::JoinClient(milliseconds probe_after, std::uint64_t seed)
    : probe_after_(probe_after), random_(static_cast<std::minstd_rand::result_type>(seed)) {}

void JoinClient::start(const JoinTarget& target, std::uint64_t client_nonce, MonotonicTime now) {
    target_ = target;
    client_nonce_ = client_nonce;
    cookie_.reset();
    path_challenge_.reset();
    flow_id_ = {};
    unanswered_ = 0;
    end_.clear();
    state_ = JoinState::joining;
    started_at_ = now;
    join_at_ = now;
    join_retry_ = kJoinRetryFirst;
    renewal_at_ = now + kUnansweredJoin;
}

void JoinClient::confirm(MonotonicTime now) {
    PENSTOCK_CHECK(state_ == JoinState::accepted);
    keepalive_at_ = now;
}

Arrival JoinClient::on_datagram(const Endpoint& from,
                                std::span<const std::byte> payload,
                                MonotonicTime now) {
    if (state_ == JoinState::idle || from != target_.server) {
        return Arrival::stranger;
    }
    const std::optional<MessageType> type = message_type(payload);
    const bool is_message = type && on_message(*type, payload, now);
    last_heard_ = now;
    return is_message ? Arrival::session_message : Arrival::content;
}

bool JoinClient::on_message(MessageType type,
                            std::span<const std::byte> payload,
                            MonotonicTime now) {
    switch (type) {
        case MessageType::challenge:
            return on_challenge(read_message<ChallengeMessage>(payload), now);
        case MessageType::accept:
            return on_accept(read_message<AcceptMessage>(payload), now);
        case MessageType::keepalive_ack:
            return on_keepalive_ack(read_message<KeepaliveAckMessage>(payload), now);
        case MessageType::path_challenge:
            return on_path_challenge(read_message<PathChallengeMessage>(payload));
        case MessageType::ended:
        case MessageType::moved:
            return on_end(read_message<EndedMessage>(payload), type, now);
        case MessageType::join:
        case MessageType::keepalive:
        case MessageType::path_response:
        case MessageType::leave:
            return false;  // only clients send these
    }
    return false;
}

bool JoinClient::on_challenge(const ChallengeMessage& message, MonotonicTime now) {
    if (message.client_nonce != client_nonce_) {
        return false;
    }
    // The same cookie twice is a repeated or duplicated CHALLENGE: the retry clock answers it.
    const bool is_new = !cookie_ || cookie_->mac != message.cookie.mac;
    if (state_ == JoinState::joining && is_new) {
        cookie_ = message.cookie;
        cookie_at_ = now;
        join_at_ = now;
        join_retry_ = kJoinRetryFirst;
    }
    return true;
}

bool JoinClient::on_accept(const AcceptMessage& message, MonotonicTime now) {
    if (message.client_nonce != client_nonce_ || !tag_is_valid(message, target_.key)) {
        return false;
    }
    const bool is_known = state_ == JoinState::accepted && flow_id_.value == message.flow_id;
    if (state_ == JoinState::ended || is_known) {
        return true;  // a duplicate; of the nonces the newest acknowledged one stays
    }
    state_ = JoinState::accepted;
    flow_id_ = {message.flow_id};
    server_nonce_ = message.server_nonce;
    sequence_ = 0;
    keepalive_ = std::clamp(
        milliseconds{std::uint32_t{message.keepalive_ms}}, kKeepaliveLeast, kKeepaliveMost);
    lease_ = std::max(milliseconds{std::uint32_t{message.lease_ms}}, keepalive_);
    payload_bytes_max_ = message.payload_bytes_max;
    keepalive_at_ = now + jittered(keepalive_);
    unanswered_ = 0;
    renewal_at_ = now;
    return true;
}

bool JoinClient::on_keepalive_ack(const KeepaliveAckMessage& message, MonotonicTime now) {
    if (state_ != JoinState::accepted || message.flow_id != flow_id_.value ||
        !tag_is_valid(message, target_.key)) {
        return false;
    }
    // An ack that was overtaken by a newer one carries an older nonce.
    if (message.sequence == sequence_) {
        server_nonce_ = message.server_nonce;
    }
    unanswered_ = 0;
    keepalive_at_ = now + jittered(keepalive_);
    return true;
}

bool JoinClient::on_path_challenge(const PathChallengeMessage& message) {
    if (state_ != JoinState::accepted || message.flow_id != flow_id_.value ||
        !tag_is_valid(message, target_.key)) {
        return false;
    }
    path_challenge_ = message;
    return true;
}

bool JoinClient::on_end(const EndedMessage& message, MessageType type, MonotonicTime now) {
    if (state_ != JoinState::accepted || message.flow_id != flow_id_.value ||
        !tag_is_valid(message, target_.key)) {
        return false;
    }
    state_ = JoinState::ended;
    const auto reason = static_cast<EndReason>(std::uint32_t{message.reason});
    end_ = type == MessageType::moved ? "moved elsewhere" : end_words(reason);
    renewal_at_ = now;
    return true;
}

std::span<const std::byte> JoinClient::poll(MonotonicTime now) {
    if (state_ == JoinState::joining && now >= join_at_) {
        return make_join(now);
    }
    if (state_ == JoinState::accepted) {
        if (path_challenge_) {
            return make_path_response();
        }
        if (is_silent(now) && now - last_heard_ >= lease_) {
            // Whatever happened there, the data server cannot have kept the flow any longer.
            state_ = JoinState::ended;
            end_ = "it was silent for the length of the lease";
            renewal_at_ = now;
            return {};
        }
        if (now >= keepalive_at()) {
            return make_keepalive(now);
        }
    }
    return {};
}

std::span<const std::byte> JoinClient::make_join(MonotonicTime now) {
    if (cookie_ && now - cookie_at_ > kCookieLifetime) {
        cookie_.reset();
    }
    JoinMessage join{};
    join.header = make_header<JoinMessage>(MessageType::join);
    join.client_nonce = client_nonce_;
    join.ticket = target_.ticket;
    join.cookie = cookie_.value_or(Cookie{});
    join.history_packets = target_.history.packets;
    const auto history_ms = std::clamp<std::int64_t>(
        target_.history.duration.count(), 0, std::numeric_limits<std::uint32_t>::max());
    join.history_ms = static_cast<std::uint32_t>(history_ms);
    join_at_ = now + jittered(join_retry_);
    join_retry_ = std::min(join_retry_ * 2, kJoinRetryMost);
    return sealed(join);
}

std::span<const std::byte> JoinClient::make_keepalive(MonotonicTime now) {
    ++unanswered_;
    // A lost KEEPALIVE or answer is made good quickly; a data server that answers none of them is
    // asked on once a second, so that its return is seen.
    const milliseconds retry = unanswered_ <= kKeepaliveTries ? kKeepaliveRetry : kSilentRetry;
    keepalive_at_ = now + std::min(keepalive_, retry);
    KeepaliveMessage message{};
    message.header = make_header<KeepaliveMessage>(MessageType::keepalive);
    message.flow_id = flow_id_.value;
    message.sequence = ++sequence_;
    message.server_nonce = server_nonce_;
    return sealed(message);
}

std::span<const std::byte> JoinClient::make_path_response() {
    PathResponseMessage message{};
    message.header = make_header<PathResponseMessage>(MessageType::path_response);
    message.flow_id = flow_id_.value;
    message.sequence = path_challenge_->sequence;
    message.path_nonce = path_challenge_->path_nonce;
    path_challenge_.reset();
    return sealed(message);
}

std::span<const std::byte> JoinClient::leave_message() {
    if (state_ != JoinState::accepted) {
        return {};
    }
    state_ = JoinState::idle;
    LeaveMessage message{};
    message.header = make_header<LeaveMessage>(MessageType::leave);
    message.flow_id = flow_id_.value;
    message.sequence = ++sequence_;
    return sealed(message);
}

template <typename Message>
std::span<const std::byte> JoinClient::sealed(Message message) {
    seal(message, target_.key);
    std::memcpy(message_.data(), &message, sizeof(message));
    return std::span(message_).first(sizeof(message));
}

MonotonicTime JoinClient::keepalive_at() const noexcept {
    if (unanswered_ > 0) {
        return keepalive_at_;
    }
    return std::min(keepalive_at_, last_heard_ + probe_after_);
}

MonotonicTime JoinClient::next_deadline() const noexcept {
    switch (state_) {
        case JoinState::idle:
            return MonotonicTime::max();
        case JoinState::joining:
            return std::min(join_at_, renewal_at_);
        case JoinState::accepted:
            return path_challenge_ ? MonotonicTime::min() : keepalive_at();
        case JoinState::ended:
            return renewal_at_;
    }
    return MonotonicTime::max();
}

bool JoinClient::is_silent(MonotonicTime now) const noexcept {
    return state_ == JoinState::accepted && unanswered_ > kKeepaliveTries &&
           now - last_heard_ >= kProbeAfter;
}

bool JoinClient::wants_renewal(MonotonicTime now) const noexcept {
    return state_ == JoinState::ended ||
           (state_ == JoinState::joining && now - started_at_ >= kUnansweredJoin) || is_silent(now);
}

bool JoinClient::take_renewal(MonotonicTime now) {
    if (!wants_renewal(now) || now < renewal_at_) {
        return false;
    }
    renewal_at_ = now + kRenewalInterval;
    return true;
}

std::string JoinClient::trouble(MonotonicTime now) const {
    if (state_ == JoinState::ended) {
        return fmt::format("data server {} ended the flow: {}", to_string(target_.server), end_);
    }
    if (wants_renewal(now)) {
        return fmt::format("data server {} does not answer; check that UDP passes both ways",
                           to_string(target_.server));
    }
    return {};
}

std::chrono::nanoseconds JoinClient::jittered(std::chrono::nanoseconds mean) {
    // +-20 %, so that clients that began together do not stay together.
    std::uniform_real_distribution<double> factor(0.8, 1.2);
    return std::chrono::nanoseconds{
        static_cast<std::int64_t>(static_cast<double>(mean.count()) * factor(random_))};
}

}  // namespace penstock
