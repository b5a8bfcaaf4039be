#include "simulator/faults.h"

#include <algorithm>
#include <utility>

namespace penstock::simulator {
namespace {

constexpr milliseconds kShortest{20};
constexpr milliseconds kLongest{6'000};
constexpr milliseconds kReportInterval{100};
constexpr milliseconds kSplitLeast{2'500};  // a lease, and until another one leads
constexpr milliseconds kSplitBreaks{300};
constexpr std::size_t kStreamsMax = 1'000;
constexpr milliseconds kDeadlineMost{3'000};
constexpr milliseconds kNoDeadline = std::chrono::hours(1);

}  // namespace

void Faults::plan(std::size_t count) {
    plan(count, {&Faults::crash,        &Faults::crash,          &Faults::crash_presence,
                 &Faults::pause,        &Faults::cut_control,    &Faults::cut_control,
                 &Faults::cut_data,     &Faults::isolate,        &Faults::break_calls,
                 &Faults::break_calls,  &Faults::slow_down,      &Faults::slow_reports,
                 &Faults::lose_store,   &Faults::lose_datagrams, &Faults::split,
                 &Faults::split,        &Faults::fill_server,    &Faults::load_server,
                 &Faults::move_user,    &Faults::move_user,      &Faults::lose_link,
                 &Faults::stick_worker, &Faults::cordon,         &Faults::drain,
                 &Faults::drain_slowly});
}

void Faults::plan_for_presence(std::size_t count) {
    plan(count,
         {&Faults::restart_presence, &Faults::lose_store, &Faults::cordon, &Faults::drain_slowly});
}

void Faults::plan(std::size_t count, std::initializer_list<Begin> kinds) {
    for (std::size_t i = 0; i < count; ++i) {
        const Begin begin = *(kinds.begin() + around_.random.below(kinds.size()));
        const MonotonicTime at =
            around_.now() + around_.random.between(nanoseconds(0), end_ - around_.now());
        // As many short ones as long ones, by order of magnitude.
        nanoseconds longest = kLongest;
        longest /= 1U << around_.random.below(6);
        const MonotonicTime until = std::min(end_, at + around_.random.between(kShortest, longest));
        around_.timeline.at(at, [this, begin, until] {
            if (Timeline::Job end = (this->*begin)()) {
                around_.timeline.at(until, std::move(end));
            }
        });
    }
}

Node& Faults::some_node() { return *cast_.all[around_.random.below(cast_.all.size())]; }

Timeline::Job Faults::crash(Node& node, bool is_host) {
    node.crash(is_host);
    return [&node] { node.start(); };
}

Timeline::Job Faults::pause(Node& node) {
    node.pause();
    return [&node] { node.resume(); };
}

Timeline::Job Faults::crash() {
    const bool is_server = around_.random.chance(0.5);
    Node& node = is_server ? pick(cast_.servers) : some_node();
    return crash(node, around_.random.chance(0.3));
}

Timeline::Job Faults::crash_presence() {
    return crash(pick(cast_.presences), around_.random.chance(0.1));
}

Timeline::Job Faults::restart_presence() { return crash(pick(cast_.presences), false); }

Timeline::Job Faults::pause() { return pause(some_node()); }

Timeline::Job Faults::cut(const std::vector<Plane>& planes,
                          NodeId node,
                          const std::vector<NodeId>& others) {
    const auto ways = around_.random.below(3);
    const auto set = [this, planes, node, others, ways](bool is_cut) {
        for (const Plane plane : planes) {
            for (const NodeId other : others) {
                if (ways != 0) {
                    around_.network->set_cut(plane, node, other, is_cut);
                }
                if (ways != 1) {
                    around_.network->set_cut(plane, other, node, is_cut);
                }
            }
        }
    };
    around_.trace.say(around_.now(),
                      "     {} is cut off from {} {}",
                      around_.network->node(node).name(),
                      others.size() == 1 ? around_.network->node(others.front()).name() : "others",
                      ways == 0   ? "inwards"
                      : ways == 1 ? "outwards"
                                  : "both ways");
    set(true);
    return [set] { set(false); };
}

Timeline::Job Faults::cut_control() {
    const Node& node = some_node();
    std::vector<NodeId> others;
    for (const auto& presence : cast_.presences) {
        if (presence->id() != node.id() &&
            (cast_.presences.size() == 1 || around_.random.chance(0.7))) {
            others.push_back(presence->id());
        }
    }
    return cut({Plane::control}, node.id(), others);
}

Timeline::Job Faults::cut_data() {
    const Node& server = pick(cast_.servers);
    std::vector<NodeId> others;
    for (const Node* node : cast_.all) {
        if ((node->kind() == NodeKind::publisher || node->kind() == NodeKind::consumer) &&
            around_.random.chance(0.6)) {
            others.push_back(node->id());
        }
    }
    return cut({Plane::data}, server.id(), others);
}

Timeline::Job Faults::isolate() {
    const Node& node = some_node();
    std::vector<NodeId> others;
    for (const Node* other : cast_.all) {
        if (other != &node) {
            others.push_back(other->id());
        }
    }
    return cut({Plane::control, Plane::data}, node.id(), others);
}

Timeline::Job Faults::break_calls() {
    for (auto left = 1 + around_.random.below(3); left > 0; --left) {
        around_.network->break_some_call();
    }
    return nullptr;
}

Timeline::Job Faults::slow_down() {
    const NodeId node = some_node().id();
    around_.network->set_delay(node, around_.random.between(milliseconds(50), seconds(2)));
    return [this, node] { around_.network->set_delay(node, Network::kDelayMost); };
}

Timeline::Job Faults::slow_reports() {
    DataServerModel& server = pick(cast_.servers);
    server.set_report_interval(around_.random.between(milliseconds(200), milliseconds(1'500)));
    return [&server] { server.set_report_interval(kReportInterval); };
}

Timeline::Job Faults::lose_datagrams() {
    around_.datagram_loss = 0.1 + 0.5 * around_.random.unit();
    return [this] { around_.datagram_loss = 0; };
}

Timeline::Job Faults::lose_store() {
    PresenceModel& presence = leader();
    presence.cut_store(false);
    return [&presence] { presence.mend_store(); };
}

/// The leader goes on beyond its lease, another one leads, and peers change from one to the other.
Timeline::Job Faults::split() {
    PresenceModel& presence = leader();
    presence.cut_store(true);
    const MonotonicTime until =
        std::min(end_, around_.now() + around_.random.between(kSplitLeast, kLongest));
    for (MonotonicTime at = around_.now() + kSplitLeast; at < until; at += kSplitBreaks) {
        around_.timeline.at(at, [this] { break_calls(); });
    }
    around_.timeline.at(until, [&presence] { presence.mend_store(); });
    return nullptr;
}

PresenceModel& Faults::leader() {
    const auto found =
        std::ranges::find_if(cast_.presences, [](const auto& one) { return one->leads(); });
    return found == cast_.presences.end() ? pick(cast_.presences) : **found;
}

Timeline::Job Faults::fill_server() {
    DataServerModel& server = pick(cast_.servers);
    server.set_streams_max(around_.random.below(2));
    return [&server] { server.set_streams_max(kStreamsMax); };
}

Timeline::Job Faults::load_server() {
    DataServerModel& server = pick(cast_.servers);
    server.set_utilisation(1.1 * around_.random.unit());
    return [&server] { server.set_utilisation(0.2); };
}

/// The data link of a server is cut, and it sees that it is, or another one is on the way.
Timeline::Job Faults::lose_link() {
    DataServerModel& server = pick(cast_.servers);
    const bool sees_it = around_.random.chance(0.7);
    const auto set = [this, &server, sees_it](bool is_cut) {
        server.set_link(!is_cut || !sees_it);
        for (const Node* node : cast_.all) {
            if (node->kind() == NodeKind::publisher || node->kind() == NodeKind::consumer) {
                around_.network->set_cut(Plane::data, server.id(), node->id(), is_cut);
                around_.network->set_cut(Plane::data, node->id(), server.id(), is_cut);
            }
        }
    };
    around_.trace.say(around_.now(), "     the data link of {} is cut", server.name());
    set(true);
    return [set] { set(false); };
}

/// It says so; nothing else shows in here, where no content flows.
Timeline::Job Faults::stick_worker() {
    DataServerModel& server = pick(cast_.servers);
    server.set_stuck(true);
    return [&server] { server.set_stuck(false); };
}

Timeline::Job Faults::command(control::ServerDuty duty, milliseconds deadline) {
    const std::string server = pick(cast_.servers).name();
    cast_.operators->want(server, duty, deadline);
    return [this, server] { cast_.operators->want(server, control::ServerDuty::none, {}); };
}

Timeline::Job Faults::cordon() { return command(control::ServerDuty::cordoned, {}); }

Timeline::Job Faults::drain() {
    const auto deadline = std::chrono::duration_cast<milliseconds>(
        around_.random.between(milliseconds(0), kDeadlineMost));
    return command(control::ServerDuty::draining, deadline);
}

Timeline::Job Faults::drain_slowly() { return command(control::ServerDuty::draining, kNoDeadline); }

Timeline::Job Faults::move_user() {
    if (around_.random.chance(0.3)) {
        return crash(pick(cast_.publishers), false);
    }
    ConsumerModel& consumer = pick(cast_.consumers);
    consumer.quit();
    return [&consumer] {
        consumer.crash(false);
        consumer.start();
    };
}

}  // namespace penstock::simulator
