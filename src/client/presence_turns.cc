#include "client/presence_turns.h"

#include <algorithm>

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectionFirst{500};
constexpr milliseconds kConnectionMost{2'000};
constexpr milliseconds kLeftOutFirst{2'000};
constexpr milliseconds kLeftOutMost{4'000};

/// `first`, doubled with every silence after the first one.
milliseconds doubled(milliseconds first, milliseconds most, unsigned silences) noexcept {
    constexpr unsigned kDoublingsMost = 10;
    const unsigned doublings = std::min(silences > 0 ? silences - 1 : 0, kDoublingsMost);
    return std::min(first * (1U << doublings), most);
}

}  // namespace

PresenceTurns::PresenceTurns(const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) {
        all_.push_back({.address = address});
    }
}

const std::string& PresenceTurns::next(MonotonicTime now) {
    was_named_ = named_.has_value();
    called_ = was_named_ ? *named_ : in_turn(now);
    named_.reset();
    return all_[called_].address;
}

std::size_t PresenceTurns::in_turn(MonotonicTime now) noexcept {
    for (std::size_t step = 0; step < all_.size(); ++step) {
        const std::size_t place = (turn_ + step) % all_.size();
        if (all_[place].left_out_until <= now) {
            turn_ = place + 1;
            return place;
        }
    }
    return turn_++ % all_.size();
}

milliseconds PresenceTurns::connection_within() const noexcept {
    return doubled(kConnectionFirst, kConnectionMost, all_[called_].silences);
}

void PresenceTurns::on_answer() noexcept {
    all_[called_].silences = 0;
    all_[called_].left_out_until = MonotonicTime::min();
}

void PresenceTurns::on_silence(MonotonicTime now) noexcept {
    Presence& silent = all_[called_];
    ++silent.silences;
    silent.left_out_until = now + doubled(kLeftOutFirst, kLeftOutMost, silent.silences);
}

void PresenceTurns::on_leader(const std::string& leader, MonotonicTime now) {
    const auto found = std::ranges::find(all_, leader, &Presence::address);
    if (found == all_.end() || was_named_ || found->left_out_until > now) {
        return;
    }
    const auto place = static_cast<std::size_t>(found - all_.begin());
    if (place != called_) {
        named_ = place;
    }
}

}  // namespace penstock
