#pragma once

#include "rpc/messages.h"
#include "simulator/random.h"
#include "simulator/timeline.h"
#include "simulator/trace.h"
#include "wire/session_messages.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace penstock::simulator {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

class Network;
class Checker;
class OperatorModel;

/// A host, one process on it: an index into the network's tables.
using NodeId = std::size_t;
/// One call of a peer at a presence server; counted from 1.
using CallId = std::uint64_t;

/// Of a node on the data network, and back.
[[nodiscard]] IpAddress address_of(NodeId node);
[[nodiscard]] NodeId node_at(const IpAddress& address);

/// What goes over a call, in either direction.
using Message = std::variant<control::DataServerMessage,
                             control::DataServerReply,
                             control::PublisherMessage,
                             control::PublisherReply,
                             control::ConsumerMessage,
                             control::ConsumerReply>;

/// A datagram of the data network: a session message. Content is not sent one by one: who gets
/// it follows from where publisher and flows are (Checker).
struct Datagram {
    NodeId from = 0;
    NodeId to = 0;
    Endpoint source;
    Endpoint destination;
    std::array<std::byte, kMessageBytesMax> bytes{};
    std::size_t size = 0;

    [[nodiscard]] std::span<const std::byte> payload() const { return {bytes.data(), size}; }
};

enum class NodeKind : std::uint8_t { presence, data_server, publisher, consumer };

/// What all parts of one run share.
struct Surroundings {
    Timeline timeline;
    Random random;
    Trace trace;
    Network* network = nullptr;
    Checker* checker = nullptr;
    OperatorModel* operators = nullptr;
    std::size_t presences = 1;  // they are the nodes 0..presences - 1
    double datagram_loss = 0;

    [[nodiscard]] MonotonicTime now() const noexcept { return timeline.now(); }
};

/// A process that starts, crashes, is paused and started again. Whatever reaches it while it is
/// paused happens when it goes on; what it had planned dies with it.
class Node {
  public:
    Node(Surroundings& around, NodeKind kind, NodeId id, std::string name);
    virtual ~Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    void start();
    /// `is_host`: the host with it, so that nobody is told.
    void crash(bool is_host);
    void pause();
    void resume();
    /// Does it now, or when the process goes on, or never if it ends before.
    void take(Timeline::Job job);

    // What happens to it; by take().
    virtual void on_called(CallId) {}  // a presence server: somebody calls
    virtual void on_connected(CallId) {}
    virtual void on_message(CallId call, Message& message) = 0;
    virtual void on_ended(CallId call) = 0;
    virtual void on_datagram(const Datagram&) {}

    [[nodiscard]] NodeKind kind() const noexcept { return kind_; }
    [[nodiscard]] NodeId id() const noexcept { return id_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] bool is_alive() const noexcept { return is_alive_; }
    [[nodiscard]] bool is_running() const noexcept { return is_alive_ && !is_paused_; }
    [[nodiscard]] bool is_host_on() const noexcept { return is_host_on_; }
    /// Which start of the process this is.
    [[nodiscard]] std::uint64_t life() const noexcept { return life_; }

  protected:
    virtual void on_start() = 0;
    virtual void on_crash() = 0;

    /// In this life of the process, and not while it is paused.
    void after(nanoseconds delay, Timeline::Job job);
    [[nodiscard]] MonotonicTime now() const noexcept { return around_.now(); }
    template <typename... Values>
    void say(fmt::format_string<Values...> text, Values&&... values) {
        if (around_.trace.is_on()) {
            around_.trace.say(
                now(), "{:4} {}", name_, fmt::format(text, std::forward<Values>(values)...));
        }
    }

    Surroundings& around_;

  private:
    NodeKind kind_;
    NodeId id_;
    std::string name_;
    std::uint64_t life_ = 0;
    bool is_alive_ = false;
    bool is_paused_ = false;
    bool is_host_on_ = true;
    std::vector<Timeline::Job> put_off_;
};

}  // namespace penstock::simulator
