#pragma once

#include "presence/least_busy.h"
#include "presence/reserve.h"
#include "presence/tables.h"
#include "presence/timers.h"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace penstock::presence {

struct DataServer;
struct Settings;
struct State;
struct Stream;

/// A data server's place among those that may be given a stream: first those not handed out
/// recently, then by projected utilisation, then by name.
struct Rank {
    bool is_recent = false;
    double projected = 0;
    std::string server;

    auto operator<=>(const Rank&) const = default;
};

/// The eligible data servers in order, so that a placement looks at the first few only. What makes
/// one eligible changes with a message, after which rank() is called, or with time alone, for which
/// there is a timer.
struct Placement {
    std::set<Rank> ranks;
    // Those of them that are recent, by the time of their hand-out. At most half of all are, for if
    // nearly all were, the next stream would have to go to the busiest; of up to four all may be.
    std::set<std::pair<MonotonicTime, SessionId>> recent;
    Measured measured;                      // of all data servers
    TimerQueue<SessionId> changes_by_time;  // of `rank_change`; looked at before every choice only
};

/// The lower of two limits, of which 0 is none.
[[nodiscard]] std::size_t lower(std::size_t one, std::size_t other) noexcept;

/// What one stream takes of the bytes of a full set, at most.
[[nodiscard]] std::size_t set_bytes_of(const std::string& name) noexcept;

/// Puts the data server where it belongs now. To be called after whatever changed it.
void rank(State& state, DataServer& server, MonotonicTime now);
/// Time has passed since: puts those elsewhere whose place time has changed.
void rank_due(State& state, MonotonicTime now);
/// Takes it out: it is away.
void unrank(State& state, DataServer& server);

/// Chooses the data server for `stream`: what least_busy() says of all of them.
[[nodiscard]] Decision place(State& state, const Stream& stream, MonotonicTime now);

/// Whether the data server could be given the stream now.
[[nodiscard]] bool can_take(const State& state,
                            const DataServer& server,
                            const Stream& stream,
                            MonotonicTime now);

/// The data server as least_busy() wants it, seen for `stream` (nullptr: for any).
[[nodiscard]] ServerLoad load_of(const State& state,
                                 const DataServer& server,
                                 const Stream* stream,
                                 MonotonicTime now);
/// "" or why the data server cannot serve one more consumer of a stream of `rate` bits a second.
[[nodiscard]] std::string why_full(const State& state,
                                   const DataServer& server,
                                   std::uint64_t rate);
[[nodiscard]] PlacementRules placement_rules(const Settings& settings);

}  // namespace penstock::presence
