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
    std::size_t trace_lines = 0;  // of the newest, kept for the outcome
};

struct Outcome {
    std::uint64_t seed = 0;
    std::optional<Violation> violation;
    nanoseconds recovered_after{0};  // end of the faults until every wanting consumer receives
    nanoseconds stopped_after{0};    // last consumer gone until no publisher sends
    std::string cast;                // one line: who took part
    std::deque<std::string> trace;
};

// After the faults, until every wanting consumer receives, at most. What can follow one another:
// the silence of a peer and its next call; presence's own settling; a STOP that is not
// acknowledged; a set that is not acknowledged; a refusal; a lease of presence; a JOIN that was
// not answered.
inline constexpr seconds kReceiveWithin{25};
inline constexpr seconds kStopWithin{30};

/// One run: peers and presence servers drawn from the seed, faults, an end to them, an end to all
/// consumers. Stops at the first broken invariant.
Outcome simulate(std::uint64_t seed, const Plan& plan);

}  // namespace penstock::simulator
