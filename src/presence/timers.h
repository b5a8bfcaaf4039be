#pragma once

#include "base/clock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace penstock::presence {

/// At most one deadline per key. Deadlines move later far more often than they are met, so a key
/// keeps its place in the queue while its deadline moves later, and is put where it belongs when
/// that place has come up.
template <typename Key, typename Hash>
class Timers {
  public:
    /// Replaces the key's deadline; kNever: it has none for now.
    void set(Key key, MonotonicTime at) {
        Deadline& deadline = by_key_[key];
        deadline.due = at;
        if (at < deadline.queued_at) {
            deadline.queued_at = at;
            push({at, key});
        } else if (is_front(key)) {
            settle();
        }
    }
    /// Forgets the key.
    void clear(Key key) {
        if (by_key_.erase(key) > 0 && is_front(key)) {
            settle();
        }
    }
    /// kNever if there is none.
    [[nodiscard]] MonotonicTime next() const {
        return queue_.empty() ? kNever : queue_.begin()->second.front().first;
    }
    /// Takes out the earliest deadline that has come. Returns: its key.
    std::optional<Key> take_due(MonotonicTime now) {
        if (queue_.empty() || next() > now) {
            return std::nullopt;
        }
        const Key key = queue_.begin()->second.front().second;
        set(key, kNever);
        return key;
    }

    static constexpr MonotonicTime kNever = MonotonicTime::max();

  private:
    struct Deadline {
        MonotonicTime due = kNever;
        MonotonicTime queued_at = kNever;  // <= due; kNever: not in the queue
    };
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
    void settle() {
        while (!queue_.empty()) {
            const auto [at, key] = queue_.begin()->second.front();
            const auto found = by_key_.find(key);
            const bool is_old = found == by_key_.end() || found->second.queued_at != at;
            if (!is_old && found->second.due == at) {
                return;
            }
            pop();
            if (is_old) {
                continue;  // forgotten since, or queued earlier
            }
            found->second.queued_at = found->second.due;
            if (found->second.due != kNever) {
                push({found->second.due, key});
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

    void push(Queued queued) {
        // What was forgotten or queued earlier stays behind; it may not outweigh what is there.
        constexpr std::size_t kQueuedMin = 64;
        if (queued_ > kQueuedMin + 4 * by_key_.size()) {
            drop_old();
        }
        Span& span = queue_[span_of(queued.first)];
        span.push_back(queued);
        std::ranges::push_heap(span, Later());
        ++queued_;
    }

    void drop_old() {
        queued_ = 0;
        for (auto span = queue_.begin(); span != queue_.end();) {
            std::erase_if(span->second, [this](const Queued& old) {
                const auto found = by_key_.find(old.second);
                return found == by_key_.end() || found->second.queued_at != old.first;
            });
            std::ranges::make_heap(span->second, Later());
            queued_ += span->second.size();
            span = span->second.empty() ? queue_.erase(span) : std::next(span);
        }
    }

    std::unordered_map<Key, Deadline, Hash> by_key_;
    std::map<std::int64_t, Span> queue_;
    std::size_t queued_ = 0;  // in all spans
};

}  // namespace penstock::presence
