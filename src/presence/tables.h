#pragma once

#include "base/clock.h"

#include <penstock/ids.h>

#include <cstddef>
#include <functional>
#include <string_view>

namespace penstock::presence {

/// One call of a peer, from its opening to its end: numbered by the edge (SessionIds); not used
/// again for as long as anybody could remember it.
using SessionId = Id<struct SessionIdTag>;

inline constexpr MonotonicTime kNever = MonotonicTime::max();

/// Ids are numbered in turn, random, or hashes of names: good as they are.
struct IdHash {
    template <typename Tag>
    std::size_t operator()(Id<Tag> id) const noexcept {
        return id.value;
    }
};

struct NameHash {
    // NOLINTNEXTLINE(readability-identifier-naming): the library's name for it
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept {
        return std::hash<std::string_view>()(name);
    }
};

}  // namespace penstock::presence
