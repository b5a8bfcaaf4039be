#include "rpc/presence_turns.h"

#include <algorithm>

namespace penstock::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectionFirst{500};
constexpr milliseconds kConnectionMost{2'000};
constexpr milliseconds kLeftOut{3'000};  // presence::Election::kLease

}  // namespace

PresenceTurns::PresenceTurns(const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) {
        if (std::ranges::find(all_, address, &Presence::address) == all_.end()) {
            all_.push_back({.address = address});
        }
    }
}

const std::string& PresenceTurns::next(MonotonicTime now) {
    was_named_ = named_.has_value();
    called_ = was_named_ ? *named_ : in_turn(now);
    named_.reset();
    return all_[called_].address;
}

std::size_t PresenceTurns::in_turn(MonotonicTime now) noexcept {
    const std::size_t first = turn_ % all_.size();
    std::size_t place = first;
    while (all_[place].left_out_until > now) {
        place = (place + 1) % all_.size();
        if (place == first) {
            break;  // there are no others
        }
    }
    turn_ = place + 1;
    return place;
}

milliseconds PresenceTurns::connection_within() const noexcept {
    if (!has_others()) {
        return kConnectionMost;
    }
    constexpr unsigned kDoublingsMost = 2;
    const unsigned doublings = std::min(all_[called_].silences, kDoublingsMost);
    return std::min(kConnectionFirst * (1U << doublings), kConnectionMost);
}

void PresenceTurns::on_welcome() noexcept {
    was_named_ = false;
    for (Presence& presence : all_) {
        presence.silences = 0;
        presence.left_out_until = MonotonicTime::min();
    }
}

void PresenceTurns::on_refusal(const std::string& leader, MonotonicTime now) {
    all_[called_].silences = 0;
    all_[called_].left_out_until = MonotonicTime::min();
    const auto found = std::ranges::find(all_, leader, &Presence::address);
    if (found == all_.end() || was_named_ || found->left_out_until > now) {
        return;
    }
    const auto place = static_cast<std::size_t>(found - all_.begin());
    if (place != called_) {
        named_ = place;
    }
}

void PresenceTurns::on_silence(MonotonicTime now) noexcept {
    ++all_[called_].silences;
    all_[called_].left_out_until = now + kLeftOut;
}

}  // namespace penstock::control
