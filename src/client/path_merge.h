#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace penstock {

/// Goes over from one path of a stream to another so that each datagram is handed on once. Content
/// carries no numbers of ours: the paths are aligned by what the datagrams hold. The old path's are
/// handed on and remembered, the new path's are held, until a run of them is found in both and in
/// one way only: datagrams that repeat are waited out until one comes that tells. From there on the
/// old path is over and the new one goes on behind what was handed on.
///
/// If nothing tells for kOverlapMax, or the old path has fallen silent, the likeliest place is
/// taken: the longest run, then the one whose datagrams came closest together.
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
    /// The old path will bring nothing more.
    void end_old() noexcept { old_has_ended_ = true; }
    /// The old path is the new one, too: what is held is forgotten. Only while is_searching().
    void stay();
    /// The new path is the old one from now on; what was decided, or has to be now, is handed on.
    void restart(MonotonicTime now);
    /// Goes as far as it can; to be called after datagrams and at deadline().
    void look(MonotonicTime now);

    /// The next datagram to be handed on, after those of the old path that were. Its memory stays
    /// until release().
    [[nodiscard]] std::optional<Held*> next();
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

    static constexpr std::size_t kRememberedMax = 4096;
    static constexpr std::size_t kHeldMax = 4096;
    static constexpr std::size_t kRunTold = 8;  // datagrams in a row that tell, at least
    static constexpr std::size_t kRunMax = 64;  // a longer run tells no more
    static constexpr std::size_t kMissesMax = 32;
    static constexpr std::chrono::milliseconds kOverlapMax{1000};
    static constexpr std::chrono::milliseconds kOldSilence{100};

  private:
    enum class State {
        searching,  // the old path is handed on
        following,  // aligned: the new path has yet to come to the end of what was handed on
        over,
    };
    struct Mark {
        std::uint64_t hash = 0;
        MonotonicTime at;
    };
    struct Match {
        std::size_t run = 0;
        std::size_t old_index = 0;
        std::size_t new_index = 0;
        MonotonicTime::duration apart{0};
    };

    [[nodiscard]] Match match_at(std::size_t old_index, std::size_t new_index) const;
    /// The best two ways in which the newest datagrams of one path are found in the other. Unless
    /// `of_all`, it looks no further once two are too good for either to stand out.
    [[nodiscard]] std::pair<Match, Match> best_matches(bool of_all) const;
    [[nodiscard]] bool must_end(MonotonicTime now) const;
    void align(const Match& match);
    void align_without_match();
    void follow();
    void hand_on_front();
    void drop_front();

    State state_ = State::searching;
    bool old_has_ended_ = false;
    std::deque<Mark> old_;    // what was handed on, newest last
    std::deque<Mark> new_;    // of held_
    std::deque<Held> held_;   // of the new path, undecided
    std::size_t old_at_ = 0;  // while following: what the new path has come to
    std::size_t misses_ = 0;  // while following: not found in what was handed on
    std::deque<Held> ready_;
    std::deque<Held> handed_on_;
    std::optional<MonotonicTime> opened_at_;
    std::optional<MonotonicTime> first_new_at_;
    MonotonicTime last_old_at_;
};

}  // namespace penstock
