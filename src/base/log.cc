#include "base/log.h"

#include <unistd.h>

#include <fmt/format.h>

#include <iterator>
#include <string>

namespace penstock {
namespace {

void write_line(std::string_view level, std::string_view message) {
    std::string line(level);
    for (const char c : message.substr(0, kLogLineBytesMax)) {
        if (c >= ' ' && c != '\x7f') {
            line.push_back(c);
        } else {
            fmt::format_to(
                std::back_inserter(line), "\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    line.push_back('\n');
    // One write: lines of several threads do not mix. A closed standard error is not our trouble.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void log_info(std::string_view message) { write_line("info: ", message); }
void log_warning(std::string_view message) { write_line("warning: ", message); }
void log_error(std::string_view message) { write_line("error: ", message); }

}  // namespace penstock
