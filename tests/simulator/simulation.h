#pragma once

#include "simulator/checker.h"
#include "simulator/data_server_model.h"
#include "simulator/presence_model.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace penstock::simulator {

/// Each seed draws its own numbers up to these.
struct Size {
    std::size_t servers_max = 4;
    std::size_t streams_max = 3;
    std::size_t consumers_max = 6;
};

struct Flaws {
    PresenceFlaw presence;
    DataServerFlaw data_server;
};

struct Plan {
    Size size;
    Flaws flaws;
    bool only_presence_fails = false;  // then no consumer may miss content while it lasts
    std::size_t trace_lines = 0;       // of the newest, kept for the outcome
};

struct Outcome {
    std::uint64_t seed = 0;
    std::optional<Violation> violation;
    nanoseconds recovered_after{0};  // end of the faults until every wanting consumer receives
    nanoseconds drained_after{0};    // a drain among healthy peers; 0: there was none
    nanoseconds stopped_after{0};    // last consumer gone until no publisher sends
    std::string cast;                // one line: who took part
    std::deque<std::string> trace;
};

/// I2, after the faults: how long until every wanting consumer receives. Most runs need less than
/// 3 s; the bound is what timeouts of the protocol can add up to one after another: a publisher
/// finds out that its session is dead and dials again (3 s of silence, 2 s of pause), or the one
/// that does not come back is given up for another that then asks again (kRivalClaimPeriod, 1 s); a
/// STOP and a set that nobody acknowledges (kStopPatience, kSetPatience).
inline constexpr nanoseconds kReceiveWithin = presence::kPeerSilence + seconds(2) +
                                              presence::kRivalClaimPeriod + seconds(1) +
                                              presence::kStopPatience + presence::kSetPatience;
/// Until no publisher sends and nothing is open: a LEAVE was lost and the flow's lease has to end,
/// or a stream was adopted whose publisher never comes back; then close-after, STOP, the set.
inline constexpr nanoseconds kStopWithin =
    presence::kClaimPeriod + seconds(5) + presence::kStopPatience + presence::kSetPatience;

/// Until a drained data server is empty among healthy peers: a move that did not come about and
/// another one after a pause, consumers who do not leave, a publisher who does not acknowledge.
inline constexpr nanoseconds kDrainWithin = presence::kMovePatience + presence::kMovePause +
                                            presence::kMovePatience + presence::kLeavePatience +
                                            presence::kStopPatience;

/// One run: peers and presence servers drawn from the seed, faults, an end to them, a drain that no
/// consumer may notice, an end to all consumers. Stops at the first broken invariant.
Outcome simulate(std::uint64_t seed, const Plan& plan);

}  // namespace penstock::simulator
