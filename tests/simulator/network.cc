#include "simulator/network.h"

#include <algorithm>
#include <utility>

namespace penstock::simulator {
namespace {

using std::chrono::microseconds;

constexpr microseconds kDelayLeast{50};
constexpr seconds kResendMost{1};      // TCP's, after a cut
constexpr seconds kKeepaliveLeast{5};  // of HTTP/2, and 3 s more for its answer
constexpr seconds kKeepaliveMost{8};
constexpr seconds kNoticeMost{4};  // of a broken call

std::size_t index(Side side) noexcept { return static_cast<std::size_t>(side); }

}  // namespace

void Network::add(Node& node) {
    nodes_.push_back(&node);
    delays_.emplace_back(kDelayMost);
    for (auto& plane : cuts_) {
        plane.assign(nodes_.size() * nodes_.size(), 0);
    }
}

bool Network::is_passable(const Call& call, Side to) const {
    return !is_cut(Plane::control, call.ends[index(other(to))]->id(), call.ends[index(to)]->id());
}

nanoseconds Network::control_delay(const Call& call) {
    const nanoseconds most = std::max(delays_[call.ends[0]->id()], delays_[call.ends[1]->id()]);
    return around_.random.between(kDelayLeast, most);
}

CallId Network::call(Node& client, NodeId presence) {
    Call& made = calls_.emplace_back();
    made.ends = {&client, nodes_[presence]};
    made.lives[index(Side::client)] = client.life();
    const CallId id = calls_.size();
    put(id, Side::presence, Connected{});
    return id;
}

void Network::send(CallId id, Side from, Message message) {
    if (at(id).is_open[index(from)]) {
        put(id, other(from), std::move(message));
    }
}

void Network::end(CallId id, Side from) {
    Call& call = at(id);
    if (std::exchange(call.is_open[index(from)], false)) {
        put(id, other(from), Ended{});
    }
}

void Network::put(CallId id, Side to, std::variant<Connected, Message, Ended> what) {
    Call& call = at(id);
    if (call.is_broken) {
        return;
    }
    auto& queue = call.towards[index(to)];
    MonotonicTime due = around_.now() + control_delay(call);
    if (!queue.empty()) {
        due = std::max(due, queue.back().due);
    }
    queue.push_back({due, std::move(what)});
    around_.timeline.at(due, [this, id, to] { pump(id, to); });
}

void Network::pump(CallId id, Side to) {
    Call& call = at(id);
    auto& queue = call.towards[index(to)];
    while (!queue.empty() && queue.front().due <= around_.now() && is_passable(call, to)) {
        Item item = std::move(queue.front());
        queue.pop_front();
        deliver(id, to, std::move(item));
    }
}

void Network::deliver(CallId id, Side to, Item item) {
    Call& call = at(id);
    Node& node = *call.ends[index(to)];
    if (!node.is_host_on()) {
        return;
    }
    const bool is_call = to == Side::presence && std::holds_alternative<Connected>(item.what);
    if (is_call && node.is_alive()) {
        call.lives[index(to)] = node.life();
        call.is_open[index(to)] = true;
        put(id, Side::client, Connected{});
    }
    if (!node.is_alive() || call.lives[index(to)] != node.life()) {
        if (!std::holds_alternative<Ended>(item.what)) {
            put(id, other(to), Ended{});  // the kernel's answer for a socket that is no more
        }
        return;
    }
    node.take([this, &node, id, to, is_call, what = std::move(item.what)]() mutable {
        if (is_call) {
            node.on_called(id);
        } else if (std::holds_alternative<Ended>(what)) {
            tell(id, to);
        } else if (std::holds_alternative<Connected>(what)) {
            node.on_connected(id);
        } else {
            node.on_message(id, std::get<Message>(what));
        }
    });
}

/// This side learns that the call is over.
void Network::tell(CallId id, Side side) {
    Call& call = at(id);
    Node& node = *call.ends[index(side)];
    if (call.lives[index(side)] != node.life()) {
        return;
    }
    call.is_open[index(side)] = false;
    call.towards[index(side)].clear();
    node.on_ended(id);
}

void Network::send_datagram(const Datagram& datagram) {
    const auto travel = around_.random.between(kDelayLeast, kDelayMost);
    if (around_.random.chance(around_.datagram_loss) ||
        is_cut(Plane::data, datagram.from, datagram.to)) {
        return;
    }
    around_.timeline.at(around_.now() + travel, [this, datagram] {
        Node& to = *nodes_[datagram.to];
        if (to.is_alive()) {
            to.take([&to, datagram] { to.on_datagram(datagram); });
        }
    });
}

void Network::lose_process(Node& node) {
    for (CallId id = 1; id <= calls_.size(); ++id) {
        Call& call = at(id);
        for (const Side side : {Side::client, Side::presence}) {
            if (call.ends[index(side)] != &node || call.lives[index(side)] == 0) {
                continue;
            }
            call.towards[index(side)].clear();
            if (!call.is_open[index(side)]) {
                continue;
            }
            if (node.is_host_on()) {
                end(id, side);
            } else {
                around_.timeline.at(
                    around_.now() + around_.random.between(kKeepaliveLeast, kKeepaliveMost),
                    [this, id] { break_off(id); });
            }
            call.is_open[index(side)] = false;
        }
    }
}

void Network::set_cut(Plane plane, NodeId from, NodeId to, bool is_cut) {
    int& cut = cuts_[static_cast<std::size_t>(plane)][from * nodes_.size() + to];
    cut += is_cut ? 1 : -1;
    if (plane == Plane::data) {
        return;
    }
    for (CallId id = 1; id <= calls_.size(); ++id) {
        Call& call = at(id);
        for (const Side side : {Side::client, Side::presence}) {
            if (call.ends[index(side)]->id() != to || call.ends[index(other(side))]->id() != from ||
                call.is_broken) {
                continue;
            }
            if (is_cut && cut == 1) {
                const auto patience = around_.random.between(kKeepaliveLeast, kKeepaliveMost);
                around_.timeline.at(around_.now() + patience, [this, id, side] {
                    if (!is_passable(at(id), side)) {
                        break_off(id);
                    }
                });
            } else if (cut == 0 && !call.towards[index(side)].empty()) {
                const MonotonicTime again =
                    around_.now() + around_.random.between(kDelayLeast, kResendMost);
                for (Item& item : call.towards[index(side)]) {
                    item.due = std::max(item.due, again);
                }
                around_.timeline.at(again, [this, id, side] { pump(id, side); });
            }
        }
    }
}

void Network::break_some_call() {
    std::vector<CallId> standing;
    for (CallId id = 1; id <= calls_.size(); ++id) {
        const Call& call = at(id);
        if (!call.is_broken && call.is_open[0] && call.is_open[1]) {
            standing.push_back(id);
        }
    }
    if (!standing.empty()) {
        break_off(standing[around_.random.below(standing.size())]);
    }
}

/// Each way, what is on its way is delivered up to some message.
void Network::break_off(CallId id) {
    Call& call = at(id);
    if (call.is_broken) {
        return;
    }
    call.is_broken = true;
    around_.trace.say(around_.now(), "     call {} of {} breaks", id, call.ends[0]->name());
    for (const Side side : {Side::client, Side::presence}) {
        auto& queue = call.towards[index(side)];
        queue.resize(queue.size() - around_.random.below(queue.size() + 1));
        const auto most = around_.random.chance(0.5) ? milliseconds(10) : nanoseconds(kNoticeMost);
        around_.timeline.at(
            around_.now() + around_.random.between(kDelayLeast, most), [this, id, side] {
                if (at(id).is_open[index(side)]) {
                    at(id).ends[index(side)]->take([this, id, side] { tell(id, side); });
                }
            });
    }
}

void Network::tell_all() {
    for (CallId id = 1; id <= calls_.size(); ++id) {
        const Call& call = at(id);
        for (const Side side : {Side::client, Side::presence}) {
            if (!call.is_broken || !call.is_open[index(side)]) {
                continue;
            }
            around_.timeline.at(
                around_.now() + around_.random.between(kDelayLeast, seconds(1)), [this, id, side] {
                    if (at(id).is_open[index(side)]) {
                        at(id).ends[index(side)]->take([this, id, side] { tell(id, side); });
                    }
                });
        }
    }
}

}  // namespace penstock::simulator
