#include "client/path_merge.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

namespace penstock {
namespace {

std::uint64_t hash_of(std::span<const std::byte> payload) {
    return std::hash<std::string_view>()(
        std::string_view(reinterpret_cast<const char*>(payload.data()), payload.size()));
}

}  // namespace

bool PathMerge::take_old(std::span<const std::byte> payload, MonotonicTime now) {
    if (state_ != State::searching) {
        return false;
    }
    last_old_at_ = now;
    old_.push_back({hash_of(payload), now});
    if (old_.size() > kRememberedMax) {
        old_.pop_front();
    }
    look(now);
    return true;
}

void PathMerge::take_new(std::span<const std::byte> payload,
                         std::chrono::nanoseconds received_at,
                         MonotonicTime now) {
    Held held{{payload.begin(), payload.end()}, received_at};
    if (state_ == State::over) {
        ready_.push_back(std::move(held));
        return;
    }
    first_new_at_ = first_new_at_.value_or(now);
    held_.push_back(std::move(held));
    new_.push_back({hash_of(payload), now});
    look(now);
}

void PathMerge::look(MonotonicTime now) {
    if (state_ == State::searching && new_.empty()) {
        if (now >= deadline()) {
            state_ = State::over;
        }
    } else if (state_ == State::searching) {
        const bool is_last_look = must_end(now);
        const auto [best, second] = best_matches(is_last_look);
        // Datagrams that repeat match in several ways; one way has to stand out.
        if (best.run >= kRunTold && 2 * second.run <= best.run) {
            align(best);
        } else if (is_last_look) {
            best.run > 0 ? align(best) : align_without_match();
        }
    }
    if (state_ == State::following) {
        follow();
        if (state_ == State::following && now >= *first_new_at_ + 2 * kOverlapMax) {
            old_at_ = old_.size() - 1;  // the rest of it was lost on the new path
            follow();
        }
    }
}

void PathMerge::stay() {
    held_.clear();
    new_.clear();
    state_ = State::over;
}

void PathMerge::restart(MonotonicTime now) {
    end_old();
    look(now);
    while (!held_.empty()) {
        hand_on_front();
    }
    old_.clear();
    state_ = State::searching;
    old_has_ended_ = false;
    old_at_ = 0;
    misses_ = 0;
    opened_at_.reset();
    first_new_at_.reset();
    last_old_at_ = now;
}

std::optional<PathMerge::Held*> PathMerge::next() {
    if (ready_.empty()) {
        return std::nullopt;
    }
    handed_on_.push_back(std::move(ready_.front()));
    ready_.pop_front();
    return &handed_on_.back();
}

MonotonicTime PathMerge::deadline() const noexcept {
    const std::optional<MonotonicTime> began = first_new_at_ ? first_new_at_ : opened_at_;
    if (state_ == State::over || !began) {
        return MonotonicTime::max();
    }
    if (state_ == State::following) {
        return *began + 2 * kOverlapMax;
    }
    const MonotonicTime silent_at = std::max(last_old_at_, *began) + kOldSilence;
    return first_new_at_ ? std::min(*began + kOverlapMax, silent_at) : silent_at;
}

bool PathMerge::must_end(MonotonicTime now) const {
    return old_has_ended_ || held_.size() >= kHeldMax || now >= deadline();
}

PathMerge::Match PathMerge::match_at(std::size_t old_index, std::size_t new_index) const {
    Match match;
    match.old_index = old_index;
    match.new_index = new_index;
    const std::size_t most = std::min({old_index + 1, new_index + 1, kRunMax});
    while (match.run < most &&
           old_[old_index - match.run].hash == new_[new_index - match.run].hash) {
        ++match.run;
    }
    const auto apart = old_[old_index].at - new_[new_index].at;
    match.apart = apart < apart.zero() ? -apart : apart;
    return match;
}

std::pair<PathMerge::Match, PathMerge::Match> PathMerge::best_matches(bool of_all) const {
    Match best;
    Match second;
    const auto offer = [&](std::size_t old_index, std::size_t new_index) {
        Match match = match_at(old_index, new_index);
        if (match.run > best.run || (match.run == best.run && match.apart <= best.apart)) {
            std::swap(match, best);
        }
        if (match.run > second.run) {
            second = match;
        }
        return of_all || 2 * second.run <= kRunMax;  // else none can stand out any more
    };
    if (old_.empty()) {
        return {best, second};
    }
    // The new path is behind or level: its newest is somewhere in the old one; or it is ahead.
    for (std::size_t i = 0; i < old_.size(); ++i) {
        if (old_[i].hash == new_.back().hash && !offer(i, new_.size() - 1)) {
            return {best, second};
        }
    }
    for (std::size_t j = 0; j + 1 < new_.size(); ++j) {
        if (new_[j].hash == old_.back().hash && !offer(old_.size() - 1, j)) {
            return {best, second};
        }
    }
    return {best, second};
}

void PathMerge::align(const Match& match) {
    for (std::size_t i = 0; i <= match.new_index; ++i) {
        drop_front();
    }
    old_at_ = match.old_index;
    state_ = State::following;
}

/// No datagram is known from both paths: what is not remembered is handed on.
void PathMerge::align_without_match() {
    const auto is_remembered = [this](const Mark& mark) {
        return std::ranges::any_of(old_, [&](const Mark& old) { return old.hash == mark.hash; });
    };
    while (!held_.empty()) {
        is_remembered(new_.front()) ? drop_front() : hand_on_front();
    }
    state_ = State::over;
}

void PathMerge::follow() {
    while (!held_.empty() && old_at_ + 1 < old_.size() && misses_ < kMissesMax) {
        // Those between were lost on the new path.
        const auto found =
            std::find_if(old_.begin() + static_cast<std::ptrdiff_t>(old_at_) + 1,
                         old_.end(),
                         [&](const Mark& mark) { return mark.hash == new_.front().hash; });
        if (found == old_.end()) {
            ++misses_;  // lost on the old path, or beyond the end of it
            hand_on_front();
        } else {
            old_at_ = static_cast<std::size_t>(found - old_.begin());
            drop_front();
        }
    }
    if (old_at_ + 1 >= old_.size() || misses_ >= kMissesMax) {
        while (!held_.empty()) {
            hand_on_front();
        }
        state_ = State::over;
    }
}

void PathMerge::hand_on_front() {
    ready_.push_back(std::move(held_.front()));
    drop_front();
}

void PathMerge::drop_front() {
    held_.pop_front();
    new_.pop_front();
}

}  // namespace penstock
