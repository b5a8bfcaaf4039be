#pragma once

#include "data_path/stream.h"

#include <cstdint>

namespace penstock {

/// Where a walk over all flows of a stream stands.
struct FlowWalk {
    std::uint8_t port = 0;
    std::uint32_t position = 0;
};

/// The streams one worker owns: brings the counters of their flows up to date a few at a time, and
/// takes closed streams apart a few packets at a time, so that neither delays a packet.
/// Thread: the worker's own.
class OwnedStreams {
  public:
    void add(Stream& stream) noexcept;

    /// Publishes the counters of the next streams and of the next flows, each round and round.
    void publish_some() noexcept;

    /// Takes `stream` out and begins to empty it; no other may be closing.
    void begin_close(Stream& stream) noexcept;
    /// Empties the closing stream a little further. Returns: whether it is empty now.
    bool close_some() noexcept;
    [[nodiscard]] bool is_closing() const noexcept { return closing_ != nullptr; }

  private:
    Stream* first_ = nullptr;
    Stream* publishing_ = nullptr;        // the stream published next
    Stream* publishing_flows_ = nullptr;  // the one whose flows are
    FlowWalk publish_at_;
    Stream* closing_ = nullptr;
    FlowWalk close_at_;
};

}  // namespace penstock
