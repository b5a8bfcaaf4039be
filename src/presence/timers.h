#pragma once

#include "base/clock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
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

/// Where the deadline is in an entry of a table.
[[nodiscard]] inline Deadline& deadline_of(Deadline& deadline) noexcept { return deadline; }
template <typename Entry>
[[nodiscard]] Deadline& deadline_of(Entry& entry) noexcept {
    return entry.deadline;
}

/// The deadlines of a table's entries, one each, earliest first. Deadlines move later far more
/// often than they are met, so a key keeps its place in the queue while its deadline moves later,
/// and is put where it belongs when that place has come up. All calls are to be given the same
/// table, which maps Key to a Deadline or to what has one as its member `deadline`.
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
        return queue_.empty() ? Deadline::kNever : queue_.begin()->second.front().first;
    }
    /// Takes out all deadlines that have come. Returns: their keys, earliest first.
    template <typename Table>
    std::vector<Key> take_due(Table& table, MonotonicTime now) {
        Span due;
        while (next() <= now) {
            // All are looked up one after the other, with nothing in between that depends on what
            // is found: their entries come from memory at the same time.
            for (const auto& [at, key] : take_front(now)) {
                const auto found = table.find(key);
                Deadline* deadline = found == table.end() ? nullptr : &deadline_of(found->second);
                if (deadline == nullptr || deadline->queued_at != at) {
                    continue;  // forgotten since, or queued earlier
                }
                deadline->queued_at = Deadline::kNever;
                if (deadline->due <= now) {
                    due.emplace_back(std::exchange(deadline->due, Deadline::kNever), key);
                } else {
                    set(table, key, *deadline, deadline->due);
                }
            }
        }
        settle(table);
        std::ranges::sort(due);
        std::vector<Key> keys(due.size());
        std::ranges::transform(due, keys.begin(), &Queued::second);
        return keys;
    }

  private:
    using Queued = std::pair<MonotonicTime, Key>;
    using Span = std::vector<Queued>;  // a heap, the earliest in front
    struct Later {
        bool operator()(const Queued& left, const Queued& right) const { return right < left; }
    };

    /// Deadlines of about a millisecond lie together.
    static std::int64_t span_of(MonotonicTime at) { return at.time_since_epoch().count() >> 20U; }

    [[nodiscard]] bool is_front(Key key) const {
        return !queue_.empty() && queue_.begin()->second.front().second == key;
    }

    /// Has a deadline in front that holds.
    template <typename Table>
    void settle(Table& table) {
        while (!queue_.empty()) {
            const auto [at, key] = queue_.begin()->second.front();
            const auto found = table.find(key);
            Deadline* deadline = found == table.end() ? nullptr : &deadline_of(found->second);
            const bool is_old = deadline == nullptr || deadline->queued_at != at;
            if (!is_old && deadline->due == at) {
                return;
            }
            pop();
            if (is_old) {
                continue;  // forgotten since, or queued earlier
            }
            deadline->queued_at = deadline->due;
            if (deadline->due != Deadline::kNever) {
                push(table, {deadline->due, key});
            }
        }
    }

    void pop() {
        const auto first = queue_.begin();
        std::ranges::pop_heap(first->second, Later());
        first->second.pop_back();
        --queued_;
        if (first->second.empty()) {
            queue_.erase(first);
        }
    }

    /// Takes out what has come of the earliest span, in no order.
    Span take_front(MonotonicTime now) {
        const auto first = queue_.begin();
        Span& span = first->second;
        const auto taken_from = std::partition(
            span.begin(), span.end(), [now](const Queued& queued) { return queued.first > now; });
        Span taken(taken_from, span.end());
        span.erase(taken_from, span.end());
        queued_ -= taken.size();
        if (span.empty()) {
            queue_.erase(first);
        } else {
            std::ranges::make_heap(span, Later());
        }
        return taken;
    }

    template <typename Table>
    void push(Table& table, Queued queued) {
        // What was forgotten or queued earlier stays behind; it may not outweigh what is there.
        constexpr std::size_t kQueuedMin = 64;
        if (queued_ > kQueuedMin + 4 * table.size()) {
            drop_old(table);
        }
        Span& span = queue_[span_of(queued.first)];
        span.push_back(queued);
        std::ranges::push_heap(span, Later());
        ++queued_;
    }

    template <typename Table>
    void drop_old(Table& table) {
        queued_ = 0;
        for (auto span = queue_.begin(); span != queue_.end();) {
            std::erase_if(span->second, [&table](const Queued& old) {
                const auto found = table.find(old.second);
                return found == table.end() || deadline_of(found->second).queued_at != old.first;
            });
            std::ranges::make_heap(span->second, Later());
            queued_ += span->second.size();
            span = span->second.empty() ? queue_.erase(span) : std::next(span);
        }
    }

    std::map<std::int64_t, Span> queue_;
    std::size_t queued_ = 0;  // in all spans
};

/// At most one deadline per key, in a table of its own.
template <typename Key, typename Hash>
class Timers {
  public:
    /// Replaces the key's deadline; kNever: it has none for now.
    void set(Key key, MonotonicTime at) { queue_.set(by_key_, key, by_key_[key], at); }
    /// Forgets the key.
    void clear(Key key) {
        if (by_key_.erase(key) > 0) {
            queue_.forget(by_key_, key);
        }
    }
    /// kNever if there is none.
    [[nodiscard]] MonotonicTime next() const { return queue_.next(); }
    /// Takes out all deadlines that have come. Returns: their keys, earliest first.
    std::vector<Key> take_due(MonotonicTime now) { return queue_.take_due(by_key_, now); }

  private:
    std::unordered_map<Key, Deadline, Hash> by_key_;
    TimerQueue<Key> queue_;
};

}  // namespace penstock::presence
