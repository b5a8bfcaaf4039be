#include "simulator/caller.h"

#include "simulator/network.h"

#include <algorithm>
#include <utility>

namespace penstock::simulator {
namespace {

constexpr seconds kHeartbeatInterval{1};
constexpr seconds kSilenceMost{3};
constexpr milliseconds kPauseMost{2'000};

}  // namespace

Caller::Caller(Surroundings& around, NodeKind kind, NodeId id, std::string name, Habits habits)
    : Node(around, kind, id, std::move(name)), habits_(habits) {}

void Caller::on_start() {
    call_ = 0;
    is_connected_ = was_answered_ = is_retired_ = false;
    failures_ = 0;
    next_address_ = around_.random.below(around_.presences);
    after(around_.random.between(nanoseconds(0), milliseconds(50)), [this] { dial(); });
}

void Caller::on_crash() { call_ = 0; }

void Caller::dial() {
    if (is_retired_ || call_ != 0) {
        return;
    }
    call_ = around_.network->call(*this, next_address_);
    next_address_ = (next_address_ + 1) % around_.presences;
    is_connected_ = was_answered_ = false;
    heard_at_ = now();
    look_at_clock(call_);
}

/// Gives presence up if it was silent for too long, and says that we live.
void Caller::look_at_clock(CallId call) {
    if (call != call_) {
        return;
    }
    const nanoseconds patience = was_answered_ ? kSilenceMost : habits_.first_answer_within;
    const bool is_judged = habits_.has_heartbeats || !was_answered_;
    if (is_judged && now() >= heard_at_ + patience) {
        say("hears nothing from presence");
        hang_up();
        return;
    }
    if (habits_.has_heartbeats && is_connected_) {
        send(heartbeat());
    }
    if (is_judged) {
        const nanoseconds left = heard_at_ + patience - now();
        after(std::min<nanoseconds>(left, kHeartbeatInterval),
              [this, call] { look_at_clock(call); });
    }
}

void Caller::on_connected(CallId call) {
    if (call == call_) {
        is_connected_ = true;
        send(hello());
    }
}

void Caller::on_message(CallId call, Message& message) {
    if (call != call_) {
        return;
    }
    heard_at_ = now();
    was_answered_ = true;
    on_presence(message);
}

void Caller::on_ended(CallId call) {
    if (call == call_) {
        call_ = 0;
        dial_later(nanoseconds(0));
    }
}

void Caller::hang_up(nanoseconds pause_least) {
    if (call_ != 0) {
        around_.network->end(std::exchange(call_, 0), Side::client);
        dial_later(pause_least);
    }
}

void Caller::retire() {
    is_retired_ = true;
    if (call_ != 0) {
        around_.network->end(std::exchange(call_, 0), Side::client);
        is_connected_ = false;
    }
}

void Caller::dial_later(nanoseconds pause_least) {
    const bool is_turned_away = std::exchange(is_connected_, false);
    on_detached();
    // A presence server that takes the call and ends it at once says who leads.
    failures_ = was_answered_ || is_turned_away ? 1 : failures_ + 1;
    const nanoseconds full =
        std::min<nanoseconds>(milliseconds(100) * (1U << std::min(failures_ - 1, 5U)), kPauseMost);
    const nanoseconds pause = std::max(around_.random.between(full / 2, full), pause_least);
    after(pause, [this] { dial(); });
}

void Caller::send(Message message) {
    if (is_connected_) {
        around_.network->send(call_, Side::client, std::move(message));
    }
}

}  // namespace penstock::simulator
