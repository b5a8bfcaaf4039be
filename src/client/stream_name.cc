#include "client/stream_name.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock {

Result<void> check_stream_name(std::string_view name) {
    if (name.empty() || name.size() > kStreamNameBytesMax) {
        return Error{
            ErrorCode::invalid_argument,
            fmt::format(
                "a stream name of {} bytes; give 1 to {}", name.size(), kStreamNameBytesMax)};
    }
    const bool is_printable =
        std::all_of(name.begin(), name.end(), [](char byte) { return byte >= ' ' && byte <= '~'; });
    if (!is_printable) {
        return Error{ErrorCode::invalid_argument,
                     "a stream name with a byte that is not printable ASCII; give one of letters, "
                     "digits and signs, like 'camera-1'"};
    }
    return {};
}

}  // namespace penstock
