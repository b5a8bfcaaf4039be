#pragma once

#include "base/clock.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace penstock::presence {

/// When something falls due. Kept with whatever falls due, so that both are found at once.
struct Deadline {
    static constexpr MonotonicTime kNever = MonotonicTime::max();

    MonotonicTime due = kNever;
    MonotonicTime queued_at = kNever;  // <= due; kNever: not in the queue
};

/// The deadline of an entry of a table; nullptr: there is no such entry.
template <typename Key, typename Entry, typename Hash>
[[nodiscard]] Deadline* find_deadline(std::unordered_map<Key, Entry, Hash>& table, Key key) {
    const auto found = table.find(key);
    return found == table.end() ? nullptr : &found->second.deadline;
}

/// The deadlines of a table's entries, one each. Deadlines move later far more often than they are
/// met, so a key keeps its place in the queue while its deadline moves later, and is put where it
/// belongs when that place has come up. All calls are to be given the same table, of which
/// find_deadline() knows the entries, for instance a map of Key to what has a member `deadline`.
template <typename Key>
class TimerQueue {
  public:
    /// Replaces the deadline of an entry of `table`; kNever: it has none for now.
    template <typename Table>
    void set(Table& table, Key key, Deadline& deadline, MonotonicTime at) {
        deadline.due = at;
        if (at < deadline.queued_at) {
            deadline.queued_at = at;
            push(table, {at, key});
        } else if (is_front(key)) {
            settle(table);
        }
    }
    /// To be called after the key was taken out of `table`.
    template <typename Table>
    void forget(Table& table, Key key) {
        if (is_front(key)) {
            settle(table);
        }
    }
    /// kNever if there is none.
    [[nodiscard]] MonotonicTime next() const {
        const Span* const first = front();
        return first == nullptr ? Deadline::kNever : first->front().at;
    }
    /// Takes out all deadlines that have come. Returns: their keys, in no order.
    template <typename Table>
    std::vector<Key> take_due(Table& table, MonotonicTime now) {
        std::vector<Key> due;
        while (next() <= now) {
            // All are looked up one after the other, with nothing in between that depends on what
            // is found: their entries come from memory at the same time.
            for (const auto& [at, key] : take_front(now)) {
                Deadline* const deadline = find_deadline(table, key);
                if (deadline == nullptr || deadline->queued_at != at) {
                    continue;  // forgotten since, or queued earlier
                }
                deadline->queued_at = Deadline::kNever;
                if (deadline->due <= now) {
                    deadline->due = Deadline::kNever;
                    due.push_back(key);
                } else {
                    set(table, key, *deadline, deadline->due);
                }
            }
        }
        begin_at(span_of(now));
        settle(table);
        return due;
    }

  private:
    struct Queued {
        MonotonicTime at;
        Key key;
    };
    struct Later {
        bool operator()(const Queued& left, const Queued& right) const noexcept {
            return left.at > right.at;
        }
    };
    // What a span keeps the memory for while it is empty: more is of a crowd, which will have gone
    // through all spans before it comes again.
    static constexpr std::size_t kSpanKept = 256;

    /// Deadlines of about a millisecond: a heap, the earliest in front.
    struct Span {
        std::vector<Queued> queued;

        [[nodiscard]] const Queued& front() const { return queued.front(); }
        void push(const Queued& more) {
            queued.push_back(more);
            std::ranges::push_heap(queued, Later());
        }
        void pop() {
            std::ranges::pop_heap(queued, Later());
            queued.pop_back();
            trim();
        }
        /// Returns: what has come by then, in no order.
        std::vector<Queued> take(MonotonicTime now) {
            const auto from = std::partition(
                queued.begin(), queued.end(), [now](const Queued& one) { return one.at > now; });
            std::vector<Queued> taken(from, queued.end());
            queued.erase(from, queued.end());
            std::ranges::make_heap(queued, Later());
            trim();
            return taken;
        }
        void trim() {
            if (queued.empty() && queued.capacity() > kSpanKept) {
                queued = std::vector<Queued>();  // {} would keep the memory
            }
        }
    };

    // Spans that come next are in a ring, which finds them without a search: four seconds, longer
    // than what most wait for.
    static constexpr std::size_t kRingSpans = 4096;
    static constexpr std::size_t kWordBits = 64;

    static std::int64_t span_of(MonotonicTime at) { return at.time_since_epoch().count() >> 20U; }
    static std::size_t place_of(std::int64_t span) {
        return static_cast<std::size_t>(span) % kRingSpans;
    }

    /// The earliest span that has any; nullptr: none has.
    [[nodiscard]] const Span* front() const {
        if (in_ring_ > 0) {
            const std::size_t first = place_of(begin_);
            std::size_t word = first / kWordBits;
            std::uint64_t used = used_[word] >> first % kWordBits << first % kWordBits;
            while (used == 0) {
                word = (word + 1) % used_.size();
                used = used_[word];
            }
            return &ring_[word * kWordBits + static_cast<std::size_t>(std::countr_zero(used))];
        }
        return later_.empty() ? nullptr : &later_.begin()->second;
    }
    [[nodiscard]] bool is_front(Key key) const {
        const Span* const first = front();
        return first != nullptr && first->front().key == key;
    }

    /// The ring begins here from now on: everything before has been taken out.
    void begin_at(std::int64_t span) {
        begin_ = std::max(begin_, span);
        while (!later_.empty() && is_in_ring(later_.begin()->first)) {
            const auto first = later_.extract(later_.begin());
            for (const Queued& queued : first.mapped().queued) {
                put(queued);
            }
        }
    }
    [[nodiscard]] bool is_in_ring(std::int64_t span) const {
        return span < begin_ + static_cast<std::int64_t>(kRingSpans);
    }

    void put(const Queued& queued) {
        const std::int64_t span = std::max(span_of(queued.at), begin_);
        if (!is_in_ring(span)) {
            later_[span].push(queued);
            return;
        }
        ring_.resize(kRingSpans);
        const std::size_t place = place_of(span);
        used_[place / kWordBits] |= std::uint64_t{1} << place % kWordBits;
        ring_[place].push(queued);
        ++in_ring_;
    }

    /// Has a deadline in front that holds.
    template <typename Table>
    void settle(Table& table) {
        while (const Span* const first = front()) {
            const auto [at, key] = first->front();
            Deadline* const deadline = find_deadline(table, key);
            const bool is_old = deadline == nullptr || deadline->queued_at != at;
            if (!is_old && deadline->due == at) {
                return;
            }
            change_front([](Span& span) { span.pop(); });
            if (is_old) {
                continue;  // forgotten since, or queued earlier
            }
            deadline->queued_at = deadline->due;
            if (deadline->due != Deadline::kNever) {
                push(table, {deadline->due, key});
            }
        }
    }

    /// Takes out what has come of the earliest span, in no order.
    std::vector<Queued> take_front(MonotonicTime now) {
        std::vector<Queued> taken;
        change_front([now, &taken](Span& span) { taken = span.take(now); });
        return taken;
    }

    template <typename Change>
    void change_front(Change change) {
        Span& span = const_cast<Span&>(*front());
        const std::size_t before = span.queued.size();
        change(span);
        const std::size_t taken = before - span.queued.size();
        queued_ -= taken;
        if (in_ring_ == 0) {
            if (span.queued.empty()) {
                later_.erase(later_.begin());
            }
            return;
        }
        in_ring_ -= taken;
        if (span.queued.empty()) {
            const auto place = static_cast<std::size_t>(&span - ring_.data());
            used_[place / kWordBits] &= ~(std::uint64_t{1} << place % kWordBits);
        }
    }

    template <typename Table>
    void push(Table& table, const Queued& queued) {
        // What was forgotten or queued earlier stays behind; it may not outweigh what is there.
        constexpr std::size_t kQueuedMin = 64;
        if (queued_ > kQueuedMin + 4 * table.size() && queued_ > 2 * kept_) {
            drop_old(table);
        }
        put(queued);
        ++queued_;
    }

    template <typename Table>
    void drop_old(Table& table) {
        TimerQueue kept;
        kept.begin_ = begin_;
        const auto keep = [&](const Span& span) {
            for (const Queued& old : span.queued) {
                const Deadline* const deadline = find_deadline(table, old.key);
                if (deadline != nullptr && deadline->queued_at == old.at) {
                    kept.put(old);
                    ++kept.queued_;
                }
            }
        };
        std::ranges::for_each(ring_, keep);
        for (const auto& [number, span] : later_) {
            keep(span);
        }
        kept.kept_ = kept.queued_;
        *this = std::move(kept);
    }

    std::int64_t begin_ = 0;  // the first span of the ring: of the last take_due()
    std::vector<Span> ring_;  // by place_of(span)
    std::array<std::uint64_t, kRingSpans / kWordBits> used_{};  // a bit for each that has any
    std::size_t in_ring_ = 0;                                   // queued
    std::map<std::int64_t, Span> later_;
    std::size_t queued_ = 0;  // in all spans
    std::size_t kept_ = 0;    // of those, by the last drop_old(): some deadlines are there twice
};

}  // namespace penstock::presence
