#pragma once

#include "client/desired_state.h"
#include "client/join_client.h"
#include "simulator/caller.h"

#include <optional>
#include <string>

namespace penstock::simulator {

/// A consumer: what client/consumer.cc does around the same VersionGate and JoinClient. Its program
/// starts anew some time after it was told that the stream is not there.
class ConsumerModel final : public Caller {
  public:
    /// `wait`: for an absent stream; max(): for ever.
    ConsumerModel(
        Surroundings& around, NodeId id, std::string name, std::string stream, milliseconds wait);

    void on_datagram(const Datagram& datagram) override;

    /// The user ends the program: the data server and presence are told.
    void quit();

    [[nodiscard]] const std::string& stream() const noexcept { return stream_; }
    [[nodiscard]] StreamId stream_id() const noexcept { return stream_id_; }
    [[nodiscard]] PeerId peer() const noexcept { return peer_; }
    [[nodiscard]] Endpoint address() const;
    /// Where it has a flow whose copies it takes for content; nullptr: nowhere.
    [[nodiscard]] const Endpoint* place() const;
    [[nodiscard]] const Endpoint* place_before() const;
    [[nodiscard]] bool is_wanting() const noexcept { return is_alive() && !has_quit_; }
    /// By presence, the last time it said anything.
    [[nodiscard]] bool is_turned_away() const noexcept { return is_turned_away_; }

  protected:
    void on_start() override;
    void on_crash() override;
    Message hello() override;
    Message heartbeat() override;
    void on_presence(Message& message) override;

  private:
    void on_assignment(const control::Assignment& assignment);
    void apply(const control::Assignment& assignment);
    bool goes_back(const Endpoint& endpoint);
    void go_on_moving();
    void give_flow_up();
    void leave_previous();
    void leave(JoinClient& join);
    void note_content();
    void send_due();
    void send_due_of(JoinClient& join);
    void set_alarm();
    void transmit(const JoinClient& join, std::span<const std::byte> bytes);
    [[nodiscard]] JoinClient new_join() const;

    std::string stream_;
    StreamId stream_id_;
    milliseconds wait_;
    // Of one life of the process.
    PeerId peer_;
    VersionGate gate_;
    std::uint64_t version_ = 0;
    std::optional<JoinClient> join_;
    std::optional<JoinClient> previous_;
    bool is_told_to_wait_ = false;
    bool is_turned_away_ = false;
    bool had_flow_ = false;
    bool has_quit_ = false;
    std::optional<MonotonicTime> wait_until_;
    std::uint64_t alarm_ = 0;
};

}  // namespace penstock::simulator
