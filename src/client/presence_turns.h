#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace penstock {

/// Whom to call next, of several presence servers of which one leads. One that follows names the
/// leader, and goes on doing so until the lease of one that died or was paused has ended, so what
/// is named is called at once, but not if it was silent just now: the others know sooner who leads
/// next. Pure; for one thread.
class PresenceTurns {
  public:
    /// `addresses`: at least one.
    explicit PresenceTurns(const std::vector<std::string>& addresses);

    /// Whom to call now: whom the last one named, else the next in turn, without those that were
    /// silent as long as there are others.
    const std::string& next(MonotonicTime now);
    /// Somebody named the one that next() returned last.
    [[nodiscard]] bool was_named() const noexcept { return was_named_; }
    /// How long a connection to it, with all handshakes, may take: 500 ms, so that one that accepts
    /// and is silent holds nobody up for long. After its second silence in a row 1 s, then 2 s, for
    /// one that is only slow.
    [[nodiscard]] std::chrono::milliseconds connection_within() const noexcept;

    // What came of the call.

    /// It said something.
    void on_answer() noexcept;
    /// It said nothing in time: it is left out for 2 s, 4 s if that goes on.
    void on_silence(MonotonicTime now) noexcept;
    /// It says that `leader` leads, whom next() then returns, if that is one of ours, another one,
    /// and was not silent just now. Once: two that name each other are no better than one that is
    /// away.
    void on_leader(const std::string& leader, MonotonicTime now);
    /// Whether next() is to be called without a pause.
    [[nodiscard]] bool is_at_once() const noexcept { return named_.has_value(); }

  private:
    struct Presence {
        std::string address;
        unsigned silences = 0;  // in a row
        MonotonicTime left_out_until = MonotonicTime::min();
    };

    [[nodiscard]] std::size_t in_turn(MonotonicTime now) noexcept;

    std::vector<Presence> all_;
    std::size_t turn_ = 0;
    std::size_t called_ = 0;  // what next() returned last
    bool was_named_ = false;
    std::optional<std::size_t> named_;
};

}  // namespace penstock
