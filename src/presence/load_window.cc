#include "presence/load_window.h"

#include "presence/state.h"

#include <algorithm>
#include <chrono>

namespace penstock::presence {
namespace {

constexpr std::chrono::seconds kWindow{10};

void begin_window(DataServer& server, MonotonicTime now) {
    LoadWindow& window = server.window;
    window.begun_at = now;
    window.sum = 0;
    window.reports = 0;
    window.packets_at_begin.clear();
    for (const control::StreamLoad& load : server.stream_loads) {
        window.packets_at_begin.emplace_back(load.stream, load.packets_in + load.copies);
    }
}

/// What a stream that was not there at the beginning has done since is its own beginning.
void end_window(DataServer& server) {
    LoadWindow& window = server.window;
    window.utilisation = window.sum / static_cast<double>(window.reports);
    window.shares.clear();
    auto before = window.packets_at_begin.begin();
    double all = 0;
    for (const control::StreamLoad& load : server.stream_loads) {
        before = std::find_if(before, window.packets_at_begin.end(), [&](const auto& entry) {
            return !(entry.first < load.stream);
        });
        const bool was_there =
            before != window.packets_at_begin.end() && before->first == load.stream;
        const std::uint64_t packets = load.packets_in + load.copies;
        const std::uint64_t first = was_there ? before->second : 0;
        const double done = packets > first ? static_cast<double>(packets - first) : 0;
        window.shares.emplace_back(load.stream, done);
        all += done;
    }
    for (auto& [stream, share] : window.shares) {
        share *= all > 0 ? *window.utilisation / all : 0;
    }
}

}  // namespace

void take_window(DataServer& server, MonotonicTime now) {
    LoadWindow& window = server.window;
    window.sum += server.load->utilisation;
    ++window.reports;
    if (!window.begun_at.has_value()) {
        begin_window(server, now);
    } else if (now - *window.begun_at >= kWindow) {
        end_window(server);
        begin_window(server, now);
    }
}

}  // namespace penstock::presence
