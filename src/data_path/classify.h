#pragma once

#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/drop_reasons.h"
#include "data_path/stream.h"
#include "data_path/stream_ring.h"
#include "data_path/worker_config.h"

#include <array>
#include <optional>
#include <span>

namespace penstock {

/// Finds out what each frame is, and gives everything that is not content of our own streams to
/// whom it concerns: the owner of its stream, control (session messages, Linux's packets) or
/// drop(). Thread: the worker's own, but for the constructor.
class Classify {
  public:
    Classify(const WorkerConfig& config, WorkerCounters& counters) noexcept;

    /// frames: received at the port of that index, by this worker or one that handed them over.
    /// Owns:    takes all frames; those returned are the caller's again, trimmed to their payload;
    ///          those given on have mbuf->port set to `port`.
    /// Returns: content of streams this worker owns, valid until the next call.
    /// Source:  RFC 791 (header), RFC 768 (UDP), RFC 1122 section 3.2.1.3 (addresses) and 3.3.6
    ///          (link broadcast).
    [[nodiscard]] ContentBurst by_stream(Burst frames, std::uint8_t port) noexcept;

    void open(Stream& stream) noexcept;
    void close(const Stream& stream) noexcept;

  private:
    enum class Kind : std::uint8_t { content, session_message, exception, hand_over, drop };
    struct Verdict {
        Kind kind = Kind::drop;
        DropReason reason{};       // of Kind::drop
        Stream* stream = nullptr;  // of content and hand_over; of a drop if it had one
        std::uint16_t payload_at = 0;
        std::uint16_t payload_bytes = 0;
        std::uint16_t payload_sum = 0;
    };
    /// Frames on their way to one ring.
    struct Outgoing {
        rte_ring* ring = nullptr;
        DropReason full{};  // why they die if the ring takes no more
        Counter* given = nullptr;
        std::size_t count = 0;
        std::array<rte_mbuf*, kRxBurstPackets> frames{};
    };
    struct PortIdentity {
        std::uint64_t mac;      // its six bytes as a frame begins with them, then zeros
        std::uint32_t address;  // network order
        bool is_mixed;          // its last burst was of many streams: the next will be, too
    };
    struct PlainHeaders;
    class LastContent;

    /// Judges in one go what nearly all frames are: content of a stream of our own, from its
    /// publisher, with nothing unusual about it; the same verdict as examine_frame()'s.
    /// `last`:  what plain content came before it in this burst; nullptr if that would not help.
    /// Returns: whether it is, with `content` filled and the frame trimmed. If not, the frame is
    /// untouched and has yet to be examined.
    [[nodiscard]] bool take_plain_content(rte_mbuf& frame,
                                          const PortIdentity& port,
                                          LastContent* last,
                                          Content& content) const noexcept;
    [[nodiscard]] bool read_plain_headers(const std::uint8_t* frame,
                                          std::uint32_t frame_bytes,
                                          const PortIdentity& port,
                                          PlainHeaders& headers) const noexcept;
    [[nodiscard]] Stream* plain_stream_of(const std::uint8_t* frame,
                                          const PortIdentity& port) const noexcept;
    void prefetch_streams(Burst frames) const noexcept;
    /// Returns: how many of the frames are in content_ now; the others are gone.
    [[nodiscard]] std::size_t take(Burst frames, std::uint8_t port, LastContent* last) noexcept;
    /// Whether it is content, with `content` filled and the frame trimmed; if not, it is gone.
    [[nodiscard]] bool examine(rte_mbuf* frame, std::uint8_t port, Content& content) noexcept;
    void give_or_drop(rte_mbuf* frame, const Verdict& verdict) noexcept;
    [[nodiscard]] Verdict examine_frame(const rte_mbuf& frame,
                                        const PortIdentity& port) const noexcept;
    [[nodiscard]] Verdict examine_ipv4(const rte_mbuf& frame,
                                       std::span<const std::uint8_t> packet,
                                       const PortIdentity& port) const noexcept;
    [[nodiscard]] Verdict examine_udp(const rte_mbuf& frame,
                                      std::span<const std::uint8_t> packet) const noexcept;
    [[nodiscard]] static Verdict examine_payload(std::span<const std::uint8_t> packet,
                                                 std::span<const std::uint8_t> payload,
                                                 Stream& stream) noexcept;
    [[nodiscard]] bool source_is_valid(std::uint32_t source) const noexcept;
    /// Of a UDP port in the table of streams; beyond its end if it is none of ours.
    [[nodiscard]] std::size_t index_of(std::uint32_t udp_port) const noexcept {
        return std::uint32_t{udp_port - config_.stream_port_first};
    }
    [[nodiscard]] bool is_stream_port(std::uint16_t udp_port) const noexcept {
        return index_of(udp_port) < config_.streams.size();
    }

    void give(Outgoing& outgoing, rte_mbuf* frame) noexcept;
    void give_to_owner(const Stream& stream, rte_mbuf* frame) noexcept;
    void flush(Outgoing& outgoing) noexcept;

    const WorkerConfig& config_;
    WorkerCounters& counters_;
    std::array<PortIdentity, kPortsMax> ports_{};
    Outgoing session_messages_;
    Outgoing exceptions_;
    Outgoing hand_over_;  // to one worker at a time
    std::array<Content, kRxBurstPackets> content_{};
};

}  // namespace penstock
