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
    /// Content leaves for there.
    [[nodiscard]] bool feeds(const Endpoint& endpoint) const {
        return is_running() && (path_.feeds(endpoint) || other_.feeds(endpoint));
    }
    /// ... from this address.
    [[nodiscard]] bool feeds(const Endpoint& endpoint, const Endpoint& from) const;
    [[nodiscard]] bool is_sending() const {
        return is_running() && (path_.may_send || other_.may_send);
    }
    [[nodiscard]] PeerId peer() const noexcept { return peer_; }

  protected:
    void on_start() override;
    void on_crash() override;
    Message hello() override;
    Message heartbeat() override;
    void on_presence(Message& message) override;

  private:
    /// A data server that content goes to, and the socket for it.
    struct Path {
        std::optional<JoinClient> join;
        bool may_send = false;
        std::uint16_t port = 0;

        [[nodiscard]] bool feeds(const Endpoint& endpoint) const {
            return may_send && join->target().server == endpoint;
        }
    };

    void on_desired(const control::PublisherDesired& desired);
    void apply(const DesiredPublishing& desired);
    void apply_other(const std::optional<PublishPlace>& place);
    void join(Path& path, const PublishPlace& place);
    void leave(Path& path);
    /// Returns: whether the data server has just accepted us.
    bool receive(Path& path, const Datagram& datagram);
    void accepted();
    void send_due();
    void send_messages(Path& path);
    void set_alarm();
    void report();
    void transmit(const Path& path, std::span<const std::byte> bytes);
    [[nodiscard]] Endpoint address_of_path(const Path& path) const;

    PublisherWish wish_;
    StreamId stream_id_;
    // Of one life of the process.
    PeerId peer_;
    VersionGate gate_;
    Path path_;   // where it is to be
    Path other_;  // where it is to be, too, while the stream moves
    DesiredPublishing desired_;
    bool is_transmitting_ = false;  // as it tells presence
    bool is_report_due_ = false;
    std::string trouble_;
    std::uint16_t newest_port_ = 0;
    std::uint64_t alarm_ = 0;
};

}  // namespace penstock::simulator
