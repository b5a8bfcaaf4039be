#pragma once

#include <penstock/result.h>

#include <cstddef>
#include <string_view>

namespace penstock {

inline constexpr std::size_t kStreamNameBytesMax = 255;

/// Errors: invalid_argument unless the name is 1..kStreamNameBytesMax bytes of printable ASCII.
Result<void> check_stream_name(std::string_view name);

}  // namespace penstock
