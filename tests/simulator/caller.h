#pragma once

#include "simulator/node.h"

#include <optional>

namespace penstock::simulator {

/// A process that keeps a session with presence up: dials the addresses in turn, with the pauses
/// and limits of data_server/presence_session.cc and client/presence_client.cc.
class Caller : public Node {
  public:
    struct Habits {
        bool has_heartbeats = false;  // both ways; a silent presence is given up
        nanoseconds first_answer_within{0};
    };

    Caller(Surroundings& around, NodeKind kind, NodeId id, std::string name, Habits habits);

    void on_connected(CallId call) override;
    void on_message(CallId call, Message& message) override;
    void on_ended(CallId call) override;

  protected:
    virtual Message hello() = 0;
    virtual Message heartbeat() { return {}; }
    /// The first and all other messages of the present session.
    virtual void on_presence(Message& message) = 0;
    virtual void on_detached() {}

    void on_start() override;
    void on_crash() override;
    void send(Message message);
    /// Ends the session; the next follows after a pause, of at least so long.
    void hang_up(nanoseconds pause_least = nanoseconds(0));
    /// Dials no more in this life.
    void retire();
    [[nodiscard]] bool is_connected() const noexcept { return is_connected_; }

  private:
    void dial();
    void dial_later(nanoseconds pause_least);
    void look_at_clock(CallId call);

    Habits habits_;
    CallId call_ = 0;  // 0: none
    bool is_connected_ = false;
    bool was_answered_ = false;
    bool is_retired_ = false;
    std::size_t next_address_ = 0;
    unsigned failures_ = 0;
    MonotonicTime heard_at_;
};

}  // namespace penstock::simulator
