#pragma once

#include "simulator/node.h"

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

namespace penstock::simulator {

enum class Side : std::uint8_t { client, presence };
enum class Plane : std::uint8_t { control, data };

/// Both networks. A call is an ordered, reliable pipe each way, as gRPC's streams are: what is lost
/// is lost because the call breaks, and then it is all that follows. A cut link holds messages up
/// until it is mended or the call's keepalive has missed its answer. The ends of a broken call
/// learn of it at different times.
class Network {
  public:
    explicit Network(Surroundings& around) : around_(around) {}

    /// In the order of their ids.
    void add(Node& node);

    // Calls; of nodes.
    CallId call(Node& client, NodeId presence);
    void send(CallId call, Side from, Message message);
    /// Ends it behind what was sent.
    void end(CallId call, Side from);

    void send_datagram(const Datagram& datagram);

    // Faults.
    void lose_process(Node& node);
    void set_cut(Plane plane, NodeId from, NodeId to, bool is_cut);
    /// Of everything a node sends and receives over the control network.
    void set_delay(NodeId node, nanoseconds most) { delays_[node] = most; }
    static constexpr milliseconds kDelayMost{2};  // without that fault
    /// Breaks one of the calls that stand; nothing if there is none.
    void break_some_call();
    /// Whoever has not learnt yet that its call broke does so within a second.
    void tell_all();

    [[nodiscard]] bool is_cut(Plane plane, NodeId from, NodeId to) const {
        return cuts_[static_cast<std::size_t>(plane)][from * nodes_.size() + to] > 0;
    }
    [[nodiscard]] const Node& caller(CallId id) const { return *calls_[id - 1].ends[0]; }
    [[nodiscard]] Node& node(NodeId id) const { return *nodes_[id]; }
    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }

  private:
    struct Connected {};
    struct Ended {};
    struct Item {
        MonotonicTime due;
        std::variant<Connected, Message, Ended> what;
    };
    struct Call {
        std::array<Node*, 2> ends{};
        std::array<std::uint64_t, 2> lives{};  // of the processes that have it; 0: none yet
        std::array<bool, 2> is_open{true, false};
        std::array<std::deque<Item>, 2> towards;  // by the side that receives
        bool is_broken = false;
    };

    void put(CallId id, Side to, std::variant<Connected, Message, Ended> what);
    void pump(CallId id, Side to);
    void deliver(CallId id, Side to, Item item);
    void break_off(CallId id);
    void tell(CallId id, Side side);
    [[nodiscard]] bool is_passable(const Call& call, Side to) const;
    nanoseconds control_delay(const Call& call);
    Call& at(CallId id) { return calls_[id - 1]; }

    Surroundings& around_;
    std::vector<Node*> nodes_;
    std::deque<Call> calls_;
    std::array<std::vector<int>, 2> cuts_;  // how many faults cut it; by plane, then from and to
    std::vector<nanoseconds> delays_;
};

[[nodiscard]] constexpr Side other(Side side) noexcept {
    return side == Side::client ? Side::presence : Side::client;
}

}  // namespace penstock::simulator
