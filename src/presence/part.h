#pragma once

#include "base/clock.h"

#include <penstock/ids.h>

#include <chrono>
#include <set>
#include <string>

namespace penstock::presence {

inline constexpr std::chrono::seconds kPortSilence{1};    // then a port may be deaf
inline constexpr std::chrono::seconds kDeafPortRest{10};  // before it is tried again
inline constexpr std::chrono::seconds kPartSteady{2};     // without trouble, to be used again
inline constexpr std::chrono::seconds kDisbelief{60};     // of peers that have complained

/// A port of a data server, or all its workers: what keeps it from relaying.
struct Part {
    std::string trouble;          // "": nothing
    MonotonicTime over_at;        // not before
    std::set<PeerId> complaints;  // of a port: since it was silent
};

}  // namespace penstock::presence
