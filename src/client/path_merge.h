#pragma once

#include "base/clock.h"
#include "client/path_place.h"

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace penstock {

/// Goes over from one path of a stream to another so that each datagram is handed on once. Content
/// carries no numbers of ours: the paths are aligned by what the datagrams hold.
///
/// For kOverlap the old path's datagrams are handed on and remembered, the new path's are held: a
/// path may be as much ahead, and what it holds must have had the time to come on the old one, too,
/// before it can be told from content that repeats. Then find_place() says where the new path is.
/// What it brought up to there and the old one did not is handed on, late; from there it is
/// followed through what the old one brought beyond, which has been handed on already. At the end
/// of that the old path is over.
///
/// Paths may be kOverlap apart, lose datagrams, and swap some that are less than kNear apart.
/// Where repeating content leaves open which of two datagrams came, one is rather handed on twice
/// than not at all. The overlap ends earlier if the old path brings nothing for kOldSilence or when
/// kHeldBytesMax are held; what paths may be apart shrinks with it.
/// Pure: no clock, no I/O. Thread: one at a time.
class PathMerge {
  public:
    struct Held {
        std::vector<std::byte> payload;
        std::chrono::nanoseconds received_at{0};  // as Datagram::received_at
    };

    /// A datagram of the old path. Returns: whether it is to be handed on.
    [[nodiscard]] bool take_old(std::span<const std::byte> payload, MonotonicTime now);
    /// A datagram of the new path, to be handed on later or never.
    void take_new(std::span<const std::byte> payload,
                  std::chrono::nanoseconds received_at,
                  MonotonicTime now);
    /// Content may come on the new path from now on. If it does not and the old path, too, brings
    /// nothing, it is over.
    void open_new(MonotonicTime now) noexcept { opened_at_ = now; }
    /// The old path is the new one, too: what is held is forgotten. Only while is_searching().
    void stay();
    /// The new path is the old one from now on; what was decided, or has to be now, is handed on.
    void restart(MonotonicTime now);
    /// Goes as far as it can; to be called after datagrams and at deadline().
    void look(MonotonicTime now);

    /// The next datagram to be handed on, after those of the old path that were. Its memory stays
    /// until release(). nullptr: there is none now.
    [[nodiscard]] const Held* next();
    /// What next() has given may go.
    void release() noexcept { handed_on_.clear(); }

    /// The old path's datagrams are those that are handed on.
    [[nodiscard]] bool is_searching() const noexcept { return state_ == State::searching; }
    /// The old path is not needed any more.
    [[nodiscard]] bool is_over() const noexcept { return state_ == State::over; }
    /// next() has something.
    [[nodiscard]] bool has_next() const noexcept { return !ready_.empty(); }
    /// And nothing is held: the new path's datagrams may be handed on directly.
    [[nodiscard]] bool is_done() const noexcept {
        return is_over() && ready_.empty() && handed_on_.empty();
    }
    /// When look() has something to do though nothing came.
    [[nodiscard]] MonotonicTime deadline() const noexcept;

    static constexpr std::chrono::milliseconds kOverlap{1000};
    static constexpr std::chrono::milliseconds kOldSilence{100};
    static constexpr std::size_t kRememberedMax = std::size_t{1} << 18U;  // 24 bytes each
    static constexpr std::size_t kHeldBytesMax = std::size_t{64} << 20U;  // with what holds them
    static constexpr std::size_t kNear = 32;        // datagrams; paths agree again within them
    static constexpr std::size_t kMissesMax = 256;  // in a row: it is not the same content

  private:
    enum class State {
        searching,  // the old path is handed on
        following,  // aligned: the new path has yet to come to the end of what was handed on
        over,
    };
    /// To where the paths agree again.
    struct Step {
        std::size_t of_old = 0;
        std::size_t of_new = 0;
    };

    void decide();
    void align(const PathPlace& place);
    void align_without_place();
    void follow(bool is_last);
    void follow_beyond_end(bool is_last);
    void go(const Step& step);
    [[nodiscard]] std::optional<Step> find_step(bool is_last) const;
    [[nodiscard]] std::optional<bool> agrees_after(const Step& step, bool is_last) const;
    [[nodiscard]] Step long_step() const;
    [[nodiscard]] bool meets_passed(std::size_t step_begin);
    [[nodiscard]] bool has_unmet() const;
    void end();
    void hand_on_front();
    void drop_front();

    State state_ = State::searching;
    PathMarks old_;               // what was handed on
    PathMarks new_;               // of held_
    std::deque<Held> held_;       // of the new path, undecided
    std::size_t held_bytes_ = 0;  // taken while searching
    std::size_t old_at_ = 0;      // while following: what the new path should bring next
    std::size_t misses_ = 0;      // while following: not found in what was handed on, in a row
    std::deque<Held> ready_;
    std::deque<Held> handed_on_;
    std::optional<MonotonicTime> opened_at_;
    std::optional<MonotonicTime> first_new_at_;
    MonotonicTime last_old_at_;
};

}  // namespace penstock
