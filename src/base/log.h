#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace penstock {

/// One line on standard error: `LEVEL message`. Control characters are escaped, lines longer than
/// kLogLineBytesMax are cut, so that no peer can forge a line. Thread: any.
void log_info(std::string_view message);
void log_warning(std::string_view message);
void log_error(std::string_view message);

inline constexpr std::size_t kLogLineBytesMax = 1000;

/// The text as a log line shows it, uncut: control characters and non-ASCII bytes as \xNN.
std::string printable(std::string_view text);

}  // namespace penstock
