#include "base/log.h"

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <unistd.h>

namespace penstock {
namespace {

void write_line(std::string_view level, std::string_view message) {
    const std::string line =
        fmt::format("{}{}\n", level, printable(message.substr(0, kLogLineBytesMax)));
    // One write: lines of several threads do not mix. A closed standard error is not our trouble.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

std::string printable(std::string_view text) {
    std::string shown;
    shown.reserve(text.size());
    for (const char c : text) {
        if (c >= ' ' && c < '\x7f') {
            shown.push_back(c);
        } else {
            fmt::format_to(std::back_inserter(shown), "\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    return shown;
}

void log_info(std::string_view message) { write_line("info: ", message); }
void log_warning(std::string_view message) { write_line("warning: ", message); }
void log_error(std::string_view message) { write_line("error: ", message); }

}  // namespace penstock
