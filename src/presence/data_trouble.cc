#include "presence/data_trouble.h"

#include "presence/move_stream.h"
#include "presence/open_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

constexpr std::size_t kComplaintsLeast = 2;

LoggedEvent about_part(const DataServer& server, EventKind kind, const std::string& detail) {
    LoggedEvent event;
    event.kind = kind;
    event.data_server = server.name;
    event.detail = detail;
    return event;
}

void begin(Turn& turn,
           const DataServer& server,
           Part& part,
           std::string trouble,
           std::chrono::nanoseconds least) {
    part.over_at = turn.now + least;
    if (part.trouble != trouble) {
        part.trouble = std::move(trouble);
        turn.log(about_part(server, EventKind::data_down, part.trouble));
    }
}

void end_if_over(Turn& turn, const DataServer& server, Part& part) {
    if (!part.trouble.empty() && turn.now >= part.over_at) {
        turn.log(about_part(server, EventKind::data_up, "no more: " + part.trouble));
        part.trouble.clear();
    }
}

std::string name_of(const control::Port& port) {
    return fmt::format("port {} ({})", port.name, to_string(port.address));
}

/// Peers of its streams are not believed for some time, here and at the next data server.
void disbelieve(Turn& turn, const DataServer& server, const IpAddress& address) {
    for (const StreamId id : server.streams) {
        Stream& stream = *find(turn.state, id);
        if (stream.endpoint.ip == address) {
            stream.believed_from = turn.now + kDisbelief;
        }
    }
}

void watch_port(Turn& turn, DataServer& server, std::size_t index) {
    const control::Port& port = server.hello.ports[index];
    const control::PortLoad& load = server.load->ports[index];
    Part& part = server.ports[index];
    if (std::chrono::milliseconds(load.silent_ms) < kPortSilence) {
        part.complaints.clear();
    }
    if (load.link == control::LinkState::down) {
        begin(turn, server, part, name_of(port) + " has no link", kPartSteady);
    } else if (part.complaints.size() >= kComplaintsLeast) {
        begin(turn,
              server,
              part,
              name_of(port) + " receives nothing, and peers of its streams get no answer",
              kDeafPortRest);
        part.complaints.clear();
        disbelieve(turn, server, port.address);
    } else {
        end_if_over(turn, server, part);
    }
}

void watch_workers(Turn& turn, DataServer& server) {
    const std::vector<std::uint32_t>& stuck = server.load->stuck_workers;
    if (stuck.empty()) {
        end_if_over(turn, server, server.workers);
    } else {
        begin(turn,
              server,
              server.workers,
              fmt::format("worker {} does not move", fmt::join(stuck, ", ")),
              kPartSteady);
    }
}

bool is_at_trouble(const DataServer& server, const Stream& stream) {
    if (!server.workers.trouble.empty()) {
        return true;
    }
    for (std::size_t i = 0; i < server.ports.size(); ++i) {
        if (server.hello.ports[i].address == stream.endpoint.ip) {
            return !server.ports[i].trouble.empty();
        }
    }
    return false;
}

/// Somebody wants the stream, and there is whom to direct elsewhere.
bool may_leave(const DataServer& server, const Stream& stream) {
    return stream.step == StreamStep::started && stream.publisher_session &&
           !stream.requests.empty() && is_at_trouble(server, stream);
}

}  // namespace

void watch_parts(Turn& turn, DataServer& server) {
    const std::size_t known = std::min(server.ports.size(), server.load->ports.size());
    for (std::size_t port = 0; port < known; ++port) {
        watch_port(turn, server, port);
    }
    watch_workers(turn, server);
}

void leave_trouble(Turn& turn, DataServer& server) {
    if (troubles_of(server).empty() || is_settling(turn.state, turn.now) ||
        is_recovering(turn.state, turn.now)) {
        return;
    }
    const std::string trigger = "trouble of data server " + server.name;
    const std::vector<StreamId> moving(server.moving.begin(), server.moving.end());
    for (const StreamId id : moving) {
        Stream& stream = *find(turn.state, id);
        if (stream.move->server == server.name && !why_unusable(server).empty()) {
            lose_other(turn, stream, why_unusable(server));
            advance(turn, stream);
        }
    }
    const std::vector<StreamId> here(server.streams.begin(), server.streams.end());
    for (const StreamId id : here) {
        Stream& stream = *find(turn.state, id);
        if (!may_leave(server, stream)) {
            continue;
        }
        if (is_in_two_places(stream) && go_on_at_other(turn, stream)) {
            close_at(turn, server, id);
            advance(turn, stream);
            continue;
        }
        leave_at_once(turn, stream, trigger);
        if (stream.server == server.name) {
            return;  // nobody can take it; the next report tries again
        }
    }
}

void take_complaint(Turn& turn, Stream& stream, PeerId peer) {
    DataServer* server = stream.at;
    if (server == nullptr || !server->load.has_value() || stream.step != StreamStep::started ||
        turn.now < stream.believed_from) {
        return;
    }
    const std::size_t known = std::min(server->ports.size(), server->load->ports.size());
    for (std::size_t i = 0; i < known; ++i) {
        if (server->hello.ports[i].address != stream.endpoint.ip ||
            std::chrono::milliseconds(server->load->ports[i].silent_ms) < kPortSilence) {
            continue;
        }
        std::set<PeerId>& complaints = server->ports[i].complaints;
        if (complaints.insert(peer).second && !complaints.contains(stream.publisher) &&
            stream.publisher_session) {
            // It sends more than it listens: told again where to transmit, it asks for an answer.
            direct_publisher(turn, stream, control::DesiredState::start);
        }
    }
}

std::string why_unusable(const DataServer& server) {
    if (!server.workers.trouble.empty()) {
        return server.workers.trouble;
    }
    const bool is_usable =
        std::ranges::any_of(server.ports, [](const Part& port) { return port.trouble.empty(); });
    return is_usable || server.ports.empty() ? "" : server.ports.front().trouble;
}

std::string troubles_of(const DataServer& server) {
    std::string all = server.workers.trouble;
    for (const Part& port : server.ports) {
        if (!port.trouble.empty()) {
            all += (all.empty() ? "" : "; ") + port.trouble;
        }
    }
    return all;
}

}  // namespace penstock::presence
