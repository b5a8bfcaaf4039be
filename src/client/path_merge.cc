#include "client/path_merge.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

namespace penstock {
namespace {

constexpr std::size_t kAgreeing = 3;  // datagrams in a row, after some that were lost or swapped
constexpr std::size_t kRareWithin = 1024;  // datagrams; what comes twice in them repeats

std::uint64_t hash_of(std::span<const std::byte> payload) {
    return std::hash<std::string_view>()(
        std::string_view(reinterpret_cast<const char*>(payload.data()), payload.size()));
}

std::size_t bytes_of_held(const PathMerge::Held& held) noexcept {
    return held.payload.size() + sizeof(PathMerge::Held) + sizeof(PathMark);
}

}  // namespace

bool PathMerge::take_old(std::span<const std::byte> payload, MonotonicTime now) {
    if (state_ != State::searching) {
        return false;
    }
    last_old_at_ = now;
    old_.push_back({hash_of(payload), now});
    while (old_.size() > kRememberedMax || now - old_.front().at > 2 * kOverlap) {
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
    held_bytes_ += bytes_of_held(held);
    held_.push_back(std::move(held));
    new_.push_back({hash_of(payload), now});
    look(now);
}

void PathMerge::look(MonotonicTime now) {
    if (state_ == State::searching) {
        const bool is_due = held_bytes_ >= kHeldBytesMax || now >= deadline();
        if (is_due && new_.empty()) {
            end();
        } else if (is_due) {
            decide();
        }
    }
    if (state_ == State::following) {
        follow(now >= deadline());
    }
}

void PathMerge::stay() {
    held_.clear();
    new_.clear();
    end();
}

void PathMerge::restart(MonotonicTime now) {
    if (state_ == State::searching && !new_.empty()) {
        decide();
    }
    if (state_ == State::following) {
        follow(true);
    }
    old_.clear();
    state_ = State::searching;
    old_at_ = 0;
    misses_ = 0;
    opened_at_.reset();
    first_new_at_.reset();
    held_bytes_ = 0;
    last_old_at_ = now;
}

const PathMerge::Held* PathMerge::next() {
    if (ready_.empty()) {
        return nullptr;
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
        return *began + 2 * kOverlap;
    }
    const MonotonicTime silent_at = std::max(last_old_at_, *began) + kOldSilence;
    return first_new_at_ ? std::min(*began + kOverlap, silent_at) : silent_at;
}

void PathMerge::decide() {
    const std::optional<PathPlace> place = find_place(old_, new_);
    place ? align(*place) : align_without_place();
}

void PathMerge::align(const PathPlace& place) {
    // What the new path has not brought yet though it is past it may still come, swapped. Of what
    // is older than its first datagram nothing will.
    const std::size_t near = place.old_index - std::min(place.old_index, kNear);
    for (std::size_t i = 0; i <= place.old_index; ++i) {
        const auto is_equal = [&](const PathMark& mark) { return mark.hash == old_[i].hash; };
        const auto end = new_.begin() + static_cast<std::ptrdiff_t>(place.new_index) + 1;
        const std::size_t last = std::min(place.new_index + 1, 2 * kNear);
        old_[i].is_met = i < near || i + place.new_index < place.old_index ||
                         std::any_of(end - static_cast<std::ptrdiff_t>(last), end, is_equal);
    }
    for (std::size_t j = 0; j <= place.new_index; ++j) {
        const bool is_lost = j >= place.known_from && !new_.front().is_met;
        is_lost ? hand_on_front() : drop_front();
    }
    old_at_ = place.old_index + 1;
    state_ = State::following;
}

/// No datagram is known from both paths: what is not remembered is handed on.
void PathMerge::align_without_place() {
    while (!held_.empty()) {
        new_.front().is_met ? drop_front() : hand_on_front();
    }
    end();
}

/// Goes on while it is clear what the new path brings. `is_last`: nothing more is waited for.
void PathMerge::follow(bool is_last) {
    while (!held_.empty() && old_at_ < old_.size() && misses_ < kMissesMax) {
        if (old_[old_at_].hash == new_.front().hash) {
            old_[old_at_++].is_met = true;
            misses_ = 0;
            drop_front();
            continue;
        }
        const std::optional<Step> step = find_step(is_last);
        if (!step) {
            return;
        }
        go(*step);
    }
    if (is_last || misses_ >= kMissesMax) {
        old_at_ = old_.size();  // the rest of it was lost on the new path
    }
    if (old_at_ == old_.size()) {
        follow_beyond_end(is_last);
    }
}

/// All that was handed on came on the new path, too, but perhaps some that were swapped.
void PathMerge::follow_beyond_end(bool is_last) {
    while (!held_.empty() && has_unmet() && misses_ < kNear) {
        meets_passed(old_at_) ? drop_front() : hand_on_front();
        ++misses_;
    }
    if (is_last || misses_ >= kNear || !has_unmet()) {
        end();
    }
}

void PathMerge::go(const Step& step) {
    const std::size_t step_begin = old_at_;
    old_at_ += step.of_old;
    for (std::size_t i = 0; i < step.of_new; ++i) {
        if (meets_passed(step_begin)) {
            drop_front();
        } else {
            ++misses_;
            hand_on_front();  // it was lost on the old path
        }
    }
}

/// The shortest way to where both paths agree again. nullopt: what comes next will tell.
std::optional<PathMerge::Step> PathMerge::find_step(bool is_last) const {
    const std::size_t of_old_most = std::min(kNear, old_.size() - old_at_);
    for (std::size_t length = 1; length <= 2 * kNear; ++length) {
        const std::size_t least = length > kNear ? length - kNear : 0;
        for (std::size_t of_old = least; of_old <= std::min(length, of_old_most); ++of_old) {
            const Step step{of_old, length - of_old};
            const std::optional<bool> agrees = agrees_after(step, is_last);
            if (!agrees || *agrees) {
                return agrees ? std::optional(step) : std::nullopt;
            }
        }
    }
    return long_step();
}

/// nullopt: too little of the new path has come to say. Where what was handed on ends, as much of
/// both paths is taken as one piece, in whatever order it came.
std::optional<bool> PathMerge::agrees_after(const Step& step, bool is_last) const {
    const std::size_t old_begin = old_at_ + step.of_old;
    const std::size_t count = std::min(kAgreeing, old_.size() - old_begin);
    if (count == 0 && step.of_new != step.of_old) {
        return false;
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (step.of_new + i < new_.size() &&
            old_[old_begin + i].hash != new_[step.of_new + i].hash) {
            return false;
        }
    }
    if (step.of_new + count <= new_.size()) {
        return true;
    }
    return is_last ? std::optional(false) : std::nullopt;
}

/// Over a long row that was lost on the new path; or else over one datagram lost on the old one.
PathMerge::Step PathMerge::long_step() const {
    const auto agrees = [this](std::size_t old_begin) {
        for (std::size_t i = 0; i < kRunTold; ++i) {
            if (old_[old_begin + i].hash != new_[i].hash) {
                return false;
            }
        }
        return true;
    };
    for (std::size_t i = old_at_ + kNear; new_.size() >= kRunTold && i + kRunTold <= old_.size();
         ++i) {
        if (agrees(i)) {
            return {i - old_at_, 0};
        }
    }
    return {0, 1};
}

/// Whether the new path's next is one that it has been missing since shortly. Those of this step
/// lie between places where both paths agree; of those before only one that does not repeat is
/// taken for the same.
bool PathMerge::meets_passed(std::size_t step_begin) {
    const auto near = [this](std::size_t count) { return old_at_ > count ? old_at_ - count : 0; };
    const std::uint64_t hash = new_.front().hash;
    std::size_t equal = 0;
    for (std::size_t i = near(kRareWithin); i < old_at_; ++i) {
        equal += old_[i].hash == hash ? 1 : 0;
    }
    for (std::size_t i = std::min(near(kNear), step_begin); i < old_at_ && equal > 0; ++i) {
        PathMark& mark = old_[i];
        if (mark.hash == hash && !mark.is_met && (equal == 1 || i >= step_begin)) {
            mark.is_met = true;
            return true;
        }
    }
    return false;
}

bool PathMerge::has_unmet() const {
    const std::size_t begin = old_at_ > kNear ? old_at_ - kNear : 0;
    return std::any_of(old_.begin() + static_cast<std::ptrdiff_t>(begin),
                       old_.end(),
                       [](const PathMark& mark) { return !mark.is_met; });
}

void PathMerge::end() {
    while (!held_.empty()) {
        hand_on_front();
    }
    state_ = State::over;
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
