#pragma once

#include "data_path/stream.h"

#include <cstdint>

namespace penstock {

/// Where a walk over all flows of a stream stands.
struct FlowWalk {
    std::uint8_t port = 0;
    std::uint32_t position = 0;
};

/// The streams one worker owns: brings the counters of their flows up to date a few at a time,
/// takes closed streams apart a few packets at a time, and gives up history a little at a time when
/// the packet pool is short, so that none of it delays a packet.
/// Thread: the worker's own.
class OwnedStreams {
  public:
    void add(Stream& stream) noexcept;

    /// Publishes the counters of the next streams and of the next flows, each round and round.
    void publish_some() noexcept;

    /// Before the first evict_history() of those that belong together: who is oldest now?
    void begin_eviction() noexcept;
    /// Evicts history, oldest first over all streams: goes round them, and whoever it comes to
    /// gives what is older than seven eighths of the oldest history it met in the round before.
    /// What live consumers have yet to get stays, and what shares have not been given. Returns:
    /// packets evicted, at most `packets`; few or none while it goes round many streams.
    PacketCount evict_history(PacketCount packets, Ticks now) noexcept;

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
    Stream* evicting_ = nullptr;  // the stream looked at next; nullptr: the round is over
    Ticks age_met_ = 0;           // of the oldest history in this round
    Ticks age_evicted_ = 0;       // history of this age goes, and what is older
    Stream* closing_ = nullptr;
    FlowWalk close_at_;
};

}  // namespace penstock
