#include "presence/reserve.h"

#include "presence/state.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace penstock::presence {
namespace {

constexpr double kMillion = 1e6;
constexpr double kSettingWeight = 8;  // measured streams that weigh as much as Settings::reserve

/// The first report with content of a stream may have seen it for a part of its interval only.
void drop_shown(DataServer& server, MonotonicTime now) {
    std::erase_if(server.reservations, [&](Reservation& reservation) {
        const auto load = std::ranges::lower_bound(
            server.stream_loads, reservation.stream, {}, &control::StreamLoad::stream);
        const bool is_shown = load != server.stream_loads.end() &&
                              load->stream == reservation.stream && load->packets_in > 0;
        const bool was_shown = std::exchange(reservation.is_shown, is_shown);
        return was_shown || now >= reservation.made_at + kReservationKept;
    });
}

/// What the data server's newest report says of its streams; nothing if it has none.
Measured measured_at(const DataServer& server) {
    const std::size_t unseen = server.reservations.size();
    if (!server.load.has_value() || server.streams.size() <= unseen) {
        return {};
    }
    return {static_cast<std::uint64_t>(std::lround(server.load->utilisation * kMillion)),
            server.streams.size() - unseen};
}

void replace_measured(State& state, DataServer& server, const Measured& measured) {
    Measured& all = state.placement.measured;
    all.millionths += measured.millionths - server.measured.millionths;
    all.streams += measured.streams - server.measured.streams;
    server.measured = measured;
}

double average_share(const State& state) {
    const Measured& measured = state.placement.measured;
    const double sum = static_cast<double>(measured.millionths) / kMillion;
    return (sum + kSettingWeight * state.settings.reserve) /
           (static_cast<double>(measured.streams) + kSettingWeight);
}

std::uint64_t smallest_link(const DataServer& server) {
    std::uint64_t smallest = 0;
    for (const control::Port& port : server.hello.ports) {
        if (port.link_bits_per_second != 0 &&
            (smallest == 0 || port.link_bits_per_second < smallest)) {
            smallest = port.link_bits_per_second;
        }
    }
    return smallest;
}

}  // namespace

double expected_share(const State& state, const DataServer& server, const Stream& stream) {
    const double average = average_share(state);
    const std::uint64_t link = smallest_link(server);
    if (link == 0) {
        return average;
    }
    const double declared =
        static_cast<double>(stream.watchers.bits_per_second) / static_cast<double>(link);
    return std::max(average, declared);
}

double reserved_of(const DataServer& server) {
    return std::accumulate(
        server.reservations.begin(),
        server.reservations.end(),
        0.0,
        [](double sum, const Reservation& reservation) { return sum + reservation.share; });
}

void drop_reservation(DataServer& server, StreamId stream) {
    std::erase_if(server.reservations,
                  [stream](const auto& entry) { return entry.stream == stream; });
}

void take_measured(State& state, DataServer& server, MonotonicTime now) {
    drop_shown(server, now);
    replace_measured(state, server, measured_at(server));
}

void forget_measured(State& state, DataServer& server) {
    server.reservations.clear();
    replace_measured(state, server, {});
}

}  // namespace penstock::presence
