#include "simulator/node.h"

#include "simulator/network.h"

#include <utility>

namespace penstock::simulator {
namespace {

constexpr std::uint32_t kDataNetwork = 0x0a5b0000U;  // 10.91.0.0/16

}  // namespace

IpAddress address_of(NodeId node) {
    return IpAddress::v4(kDataNetwork + static_cast<std::uint32_t>(node));
}

NodeId node_at(const IpAddress& address) { return address.v4() - kDataNetwork; }

Node::Node(Surroundings& around, NodeKind kind, NodeId id, std::string name)
    : around_(around), kind_(kind), id_(id), name_(std::move(name)) {}

void Node::start() {
    if (is_alive_) {
        return;
    }
    is_alive_ = true;
    is_host_on_ = true;
    ++life_;
    say("starts");
    on_start();
}

void Node::crash(bool is_host) {
    if (!is_alive_) {
        return;
    }
    say("{}", is_host ? "loses power" : "crashes");
    is_alive_ = false;
    is_paused_ = false;
    is_host_on_ = !is_host;
    ++life_;
    put_off_.clear();
    on_crash();
    around_.network->lose_process(*this);
}

void Node::pause() {
    if (is_alive_ && !is_paused_) {
        say("is paused");
        is_paused_ = true;
    }
}

void Node::resume() {
    if (!is_paused_) {
        return;
    }
    say("goes on");
    is_paused_ = false;
    for (const Timeline::Job& job : std::exchange(put_off_, {})) {
        take(job);
    }
}

void Node::take(Timeline::Job job) {
    if (is_paused_) {
        put_off_.push_back(std::move(job));
    } else if (is_alive_) {
        job();
    }
}

void Node::after(nanoseconds delay, Timeline::Job job) {
    around_.timeline.at(now() + delay, [this, life = life_, job = std::move(job)] {
        if (life == life_) {
            take(job);
        }
    });
}

}  // namespace penstock::simulator
