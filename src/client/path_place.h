#pragma once

#include "base/clock.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace penstock {

/// What is kept of a datagram that came on a path.
struct PathMark {
    std::uint64_t hash = 0;
    MonotonicTime at;
    bool is_met = false;  // on the other path, too
};
using PathMarks = std::deque<PathMark>;  // newest last

/// A datagram that came on both paths.
struct PathPlace {
    std::size_t old_index = 0;
    std::size_t new_index = 0;
    /// From here to new_index, what the old path does not know was lost there.
    std::size_t known_from = 0;
};

/// The newest datagram that is known to have come on both paths. Datagrams that came once on each
/// tell, as long as they come in the same order: the longest such row counts, whatever was lost or
/// swapped between them. If there are none, content goes round in a circle shorter than what is
/// remembered: of the places where kRunTold datagrams agree the one is taken at which they came
/// closest together in time, which is right as long as the paths are less than half a round apart.
/// Marks those of `new_marks` that came on the old path as met.
/// Returns: nullopt if the newest of the one path are not to be found on the other.
std::optional<PathPlace> find_place(const PathMarks& old_marks, PathMarks& new_marks);

inline constexpr std::size_t kRunTold = 8;  // datagrams in a row that tell where we are

}  // namespace penstock
