#pragma once

#include "client/desired_state.h"
#include "client/join_client.h"
#include "simulator/caller.h"

#include <optional>
#include <string>

namespace penstock::simulator {

struct PublisherWish {
    std::string stream;
    control::StartPolicy start = control::StartPolicy::publish;
    std::uint32_t close_after_ms = 0;
};

/// A publisher: what client/publisher.cc does around the same VersionGate and JoinClient. Its
/// program always has content to send.
class PublisherModel final : public Caller {
  public:
    PublisherModel(Surroundings& around, NodeId id, std::string name, PublisherWish wish);

    void on_datagram(const Datagram& datagram) override;

    [[nodiscard]] const PublisherWish& wish() const noexcept { return wish_; }
    [[nodiscard]] StreamId stream_id() const noexcept { return stream_id_; }
    /// Content leaves for there, from address().
    [[nodiscard]] bool feeds(const Endpoint& endpoint) const {
        return is_running() && may_send_ && join_->target().server == endpoint;
    }
    [[nodiscard]] bool is_sending() const { return is_running() && may_send_; }
    [[nodiscard]] Endpoint address() const;
    [[nodiscard]] PeerId peer() const noexcept { return peer_; }

  protected:
    void on_start() override;
    void on_crash() override;
    Message hello() override;
    Message heartbeat() override;
    void on_presence(Message& message) override;

  private:
    void on_desired(const control::PublisherDesired& desired);
    void apply(const DesiredPublishing& desired);
    void leave();
    void send_due();
    void report();
    void transmit(std::span<const std::byte> bytes);

    PublisherWish wish_;
    StreamId stream_id_;
    // Of one life of the process.
    PeerId peer_;
    VersionGate gate_;
    std::optional<JoinClient> join_;
    DesiredPublishing desired_;
    bool may_send_ = false;
    bool was_stopped_ = false;
    bool is_report_due_ = false;
    std::string trouble_;
    std::uint16_t port_ = 0;
    std::uint64_t alarm_ = 0;
};

}  // namespace penstock::simulator
