#pragma once

#include <string_view>

namespace penstock {

/// One line on standard error: `LEVEL message`. Control characters are escaped, lines longer than
/// kLogLineBytesMax are cut, so that no peer can forge a line. Thread: any.
void log_info(std::string_view message);
void log_warning(std::string_view message);
void log_error(std::string_view message);

/// The same text as a log line would show: control characters and non-ASCII bytes as \xNN.
inline constexpr std::size_t kLogLineBytesMax = 1000;

}  // namespace penstock
