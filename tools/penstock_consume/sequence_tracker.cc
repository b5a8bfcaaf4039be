#include "penstock_consume/sequence_tracker.h"

#include <algorithm>

namespace penstock {

void SequenceTracker::begin(std::uint64_t number) noexcept {
    if (!has_any_) {
        first_ = number;
    }
    has_any_ = has_begun_ = true;
    highest_ = counted_from_ = number;
    jumped_to_.reset();
    seen_.fill(false);
    seen(number) = true;
}

void SequenceTracker::take(std::uint64_t number) noexcept {
    if (!has_begun_) {
        begin(number);
        return;
    }
    const std::uint64_t mask = bits_ == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits_) - 1;
    const std::uint64_t ahead = (number - highest_) & mask;
    const std::uint64_t behind = (highest_ - number) & mask;
    const bool is_ahead = ahead != 0 && ahead <= mask / 2;
    const bool is_jump =
        (is_ahead && bits_ < 64 && ahead > kJumpMost) || (!is_ahead && behind >= kWindow);
    if (is_jump) {
        if (jumped_to_ == number) {
            begin(number);
        } else {
            jumped_to_ = (number + 1) & mask;
        }
        return;
    }
    jumped_to_.reset();
    if (is_ahead) {
        take_ahead(ahead);
    } else {
        take_behind(behind);
    }
}

void SequenceTracker::take_ahead(std::uint64_t ahead) noexcept {
    lost_ += ahead - 1;
    for (std::uint64_t step = 1; step < std::min(ahead, kWindow); ++step) {
        seen(highest_ + ahead - step) = false;
    }
    highest_ += ahead;
    seen(highest_) = true;
}

void SequenceTracker::take_behind(std::uint64_t behind) noexcept {
    const std::uint64_t number = highest_ - behind;
    if (seen(number)) {
        ++duplicates_;
        return;
    }
    seen(number) = true;
    ++reordered_;
    // What is older than the first number of this run was never counted as lost.
    if (behind <= highest_ - counted_from_ && lost_ > 0) {
        --lost_;
    }
}

std::optional<std::uint64_t> SequenceTracker::first() const noexcept {
    return has_any_ ? std::optional(first_) : std::nullopt;
}

std::optional<std::uint64_t> SequenceTracker::last() const noexcept {
    return has_any_ ? std::optional(highest_) : std::nullopt;
}

}  // namespace penstock
