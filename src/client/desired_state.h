#pragma once

#include "base/net_address.h"
#include "wire/ticket.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace penstock {

/// A stream's port of a data server, and the permission to join there.
struct PublishPlace {
    std::string data_server;  // its name
    Endpoint endpoint;
    Ticket ticket{};
    SessionKey key;
};

/// What presence wants of a publisher: PublisherDesired of rpc/presence.proto.
struct DesiredPublishing {
    enum class State { wait, start, stop };

    std::uint64_t epoch = 0;
    std::uint64_t version = 0;
    State state = State::wait;
    std::string data_server;  // its name, with start
    Endpoint endpoint;
    Ticket ticket{};
    SessionKey key;
    std::optional<PublishPlace> also;  // with start, while the stream moves: to both
};

/// What a publisher tells presence: PublisherReport.
struct PublishingReport {
    std::uint64_t version = 0;
    DesiredPublishing::State state = DesiredPublishing::State::wait;
    bool transmitting = false;  // the data server has accepted us
    std::string trouble;        // one line; "" if none
};

/// Where a consumer is to be: Assignment.
struct DesiredConsuming {
    enum class State { wait, ready, gone };

    std::uint64_t epoch = 0;
    std::uint64_t version = 0;
    State state = State::wait;
    std::string reason;
    std::chrono::milliseconds retry_after{0};  // with wait and gone
    std::string data_server;
    Endpoint endpoint;
    Ticket ticket{};
    SessionKey key;
};

/// Lets each desired state through once, newest only: rule 1 of the control network.
class VersionGate {
  public:
    /// Whether (epoch, version) is above everything admitted before; then it is remembered.
    [[nodiscard]] bool admit(std::uint64_t epoch, std::uint64_t version) noexcept {
        if (epoch < epoch_ || (epoch == epoch_ && version <= version_)) {
            return false;
        }
        epoch_ = epoch;
        version_ = version;
        return true;
    }

  private:
    std::uint64_t epoch_ = 0;
    std::uint64_t version_ = 0;
};

}  // namespace penstock
