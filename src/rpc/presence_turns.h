#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace penstock::control {

/// Whom to call next, of several presence servers of which one leads. Those that follow name the
/// leader, and if it died or was paused they go on doing so until its lease of 3 s has ended: who
/// is named is called at once, but not if it was found silent less than 3 s ago. Pure: the caller
/// says what came of each call. For one thread.
class PresenceTurns {
  public:
    /// `addresses`: at least one; those that are there twice count once.
    explicit PresenceTurns(const std::vector<std::string>& addresses);

    /// Whom to call now: whom the last one named, else the next in turn, without those that were
    /// silent as long as there are others.
    const std::string& next(MonotonicTime now);
    /// There are others than the one that next() returned last.
    [[nodiscard]] bool has_others() const noexcept { return all_.size() > 1; }
    /// Somebody else named the one that next() returned last.
    [[nodiscard]] bool was_named() const noexcept { return was_named_; }
    /// How long a connection to it, with all handshakes, may take: 500 ms, so that one that accepts
    /// and is silent holds nobody up for long; after each silence of its twice as long, up to 2 s,
    /// as it may only be slow. 2 s if there are no others.
    [[nodiscard]] std::chrono::milliseconds connection_within() const noexcept;

    // What came of the call: one of the three, or nothing that says anything.

    /// It serves us. What was before counts no more, of all of them.
    void on_welcome() noexcept;
    /// It says that `leader` leads ("": nobody), whom next() then returns if that is another one of
    /// ours and was not silent just now. Once in a row: two that name each other are no better than
    /// one that is away.
    void on_refusal(const std::string& leader, MonotonicTime now);
    /// It said nothing in time.
    void on_silence(MonotonicTime now) noexcept;

    /// Somebody is named, and to be called without a pause.
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

}  // namespace penstock::control
