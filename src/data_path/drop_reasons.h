#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

/// Every way a packet can die here: name, and the sentence that explains it to an operator
/// (data_server/drop_reason_texts.h).
// clang-format off
#define PENSTOCK_DROP_REASONS(X)                                                                  \
    X(frame_too_short,     "frame ends before its Ethernet or IP header does")                    \
    X(frame_segmented,     "frame came in several mbufs; lower the MTU or raise the data room")   \
    X(not_our_mac,         "frame is addressed to another MAC address")                            \
    X(vlan_stripped,       "frame of a VLAN whose tag the NIC took off")                           \
    X(ip_header_invalid,   "IP version, header length or total length contradicts the frame")    \
    X(ip_checksum_wrong,   "IPv4 header checksum is wrong")                                       \
    X(ip_options,          "IPv4 options in a packet for a stream port")                          \
    X(ip_fragment,         "IP fragment of a packet for us; streams must fit the MTU")            \
    X(udp_length_invalid,  "UDP length contradicts the IP length")                                \
    X(udp_checksum_wrong,  "the NIC found the UDP checksum wrong")                                \
    X(source_invalid,      "source is unspecified, loopback, multicast, broadcast or our own")    \
    X(link_broadcast,      "unicast packet in a broadcast or multicast frame")                    \
    X(unknown_stream,      "no stream is open at this destination port")                          \
    X(not_publisher,       "neither a session message nor from the stream's proven publisher")    \
    X(session_ring_full,   "session messages arrive faster than they are checked")                \
    X(exception_ring_full, "packets for Linux arrive faster than the TAP takes them")             \
    X(hand_over_full,      "the worker that owns the stream does not keep up")                    \
    X(fanout_overrun,      "evicted from the ring before every consumer had its copy")            \
    X(helper_overrun,      "evicted from the ring before a helper worker had taken it")            \
    X(history_overrun,     "evicted from the ring before a joining consumer had it")              \
    X(no_copy_mbuf,        "the pool of outgoing packets is empty")                               \
    X(tx_queue_full,       "NIC transmit queue full after one attempt")                           \
    X(port_unknown,        "control asked to send on a port that does not exist")
// clang-format on

enum class DropReason : std::uint8_t {
#define PENSTOCK_DROP_REASON_NAME(name, sentence) name,
    PENSTOCK_DROP_REASONS(PENSTOCK_DROP_REASON_NAME)
#undef PENSTOCK_DROP_REASON_NAME
};

inline constexpr std::size_t kDropReasonCount = 0
#define PENSTOCK_DROP_REASON_ONE(name, sentence) +1
    PENSTOCK_DROP_REASONS(PENSTOCK_DROP_REASON_ONE)
#undef PENSTOCK_DROP_REASON_ONE
    ;

}  // namespace penstock
