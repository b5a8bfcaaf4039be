#pragma once

#include "base/clock.h"

#include <map>
#include <optional>
#include <set>
#include <utility>

namespace penstock::presence {

/// At most one deadline per key.
template <typename Key>
class Timers {
  public:
    /// Replaces the key's deadline; kNever clears it.
    void set(Key key, MonotonicTime at) {
        clear(key);
        if (at != kNever) {
            by_key_.emplace(key, at);
            by_time_.emplace(at, key);
        }
    }
    void clear(Key key) {
        if (const auto found = by_key_.find(key); found != by_key_.end()) {
            by_time_.erase({found->second, key});
            by_key_.erase(found);
        }
    }
    /// kNever if there is none.
    [[nodiscard]] MonotonicTime next() const {
        return by_time_.empty() ? kNever : by_time_.begin()->first;
    }
    /// Takes out the earliest key whose deadline has come.
    std::optional<Key> take_due(MonotonicTime now) {
        if (next() > now || by_time_.empty()) {
            return std::nullopt;
        }
        const Key key = by_time_.begin()->second;
        clear(key);
        return key;
    }

    static constexpr MonotonicTime kNever = MonotonicTime::max();

  private:
    std::map<Key, MonotonicTime> by_key_;
    std::set<std::pair<MonotonicTime, Key>> by_time_;
};

}  // namespace penstock::presence
