#include "data_server/stream_memory.h"

#include "base/check.h"
#include "data_path/shares.h"

#include <fmt/format.h>
#include <rte_malloc.h>

#include <algorithm>
#include <bit>
#include <new>
#include <type_traits>
#include <utility>

namespace penstock {
namespace {

constexpr std::uint32_t kFirstDirectoryChunks = 8;
/// Of a UDP datagram over IPv4 (RFC 791, RFC 768).
constexpr std::uint64_t kPayloadBytesMax = 65'535 - 20 - 8;

/// Zeroed, aligned to a cache line, on `socket`; nullptr if there is none left.
template <typename T>
T* allocate(std::size_t count, int socket) noexcept {
    return static_cast<T*>(
        rte_zmalloc_socket("penstock", count * sizeof(T), kCacheLineBytes, socket));
}

Error out_of_memory(std::string_view what) {
    return Error{ErrorCode::exhausted,
                 fmt::format("no memory left for {}: start the data server with more --memory, or "
                             "give it fewer streams and consumers",
                             what)};
}

}  // namespace

template <typename T>
StreamMemory::Slabs<T>::~Slabs() {
    for (T* slab : slabs_) {
        rte_free(slab);
    }
}

template <typename T>
T* StreamMemory::Slabs<T>::take() {
    if (free_.empty()) {
        T* slab = allocate<T>(kPieces * size_, socket_);
        if (slab == nullptr) {
            return nullptr;
        }
        slabs_.push_back(slab);
        for (std::size_t i = kPieces; i > 0; --i) {
            free_.push_back(&slab[(i - 1) * size_]);
        }
    }
    static_assert(std::is_trivially_destructible_v<T>);
    T* piece = free_.back();
    free_.pop_back();
    std::uninitialized_value_construct_n(piece, size_);
    return piece;
}

StreamMemory::StreamMemory(std::uint32_t ring_packets, std::size_t ports, int socket) noexcept
    : ring_packets_left_(ring_packets),
      not_for_shares_(ring_packets / 2),
      ports_(static_cast<std::uint8_t>(ports)),
      socket_(socket),
      groups_(socket, ports) {
    PENSTOCK_CHECK(ports >= 1 && ports <= kPortsMax);
}

StreamMemory::~StreamMemory() {
    // Streams first: those whose last commands were never applied still use what is retired.
    while (!streams_.empty()) {
        free_stream(*streams_.begin()->first);
    }
    for (std::deque<Retired>& retired : retired_) {
        for (const Retired& piece : retired) {
            rte_free(piece.memory);
        }
    }
}

Result<Stream*> StreamMemory::make_stream(const StreamSpec& spec) {
    const bool keeps_history = spec.ring_packets > 0;
    const std::uint32_t packets = keeps_history ? spec.ring_packets : kUnkeptPackets;
    const std::uint32_t granted = keeps_history ? packets : kUnkeptPacketsGranted;
    const std::uint32_t kept = spec.fed_by ? not_for_shares_ : 0;
    const std::uint32_t left = ring_packets_left_ - std::min(kept, ring_packets_left_);
    if (granted > left) {
        return Error{
            ErrorCode::exhausted,
            fmt::format("a ring of {} packets is too much: {} packets of history are left; {}",
                        granted,
                        left,
                        keeps_history ? "lower --ring-packets or give more --memory"
                                      : "give more --memory or open fewer streams")};
    }
    const std::uint32_t slots = std::bit_ceil(packets);
    auto* ring = allocate<Slot>(slots, socket_);
    FlowGroup* groups = ring == nullptr ? nullptr : groups_.take();
    Stream* stream = groups == nullptr ? nullptr : stream_pieces_.take();
    if (stream == nullptr) {
        if (groups != nullptr) {
            groups_.give_back(groups);
        }
        rte_free(ring);
        return out_of_memory("another stream");
    }
    stream->groups = groups;
    stream->port_count = ports_;
    stream->udp_port = spec.udp_port;
    stream->owner = spec.owner;
    stream->fed_by = spec.fed_by.value_or(spec.owner);
    stream->feed.helper = spec.owner;
    stream->keeps_history = keeps_history;
    // What a share is given has room there, however large: its owner counts packets only.
    constexpr std::uint64_t kWindowBytes = std::uint64_t{kShareWindowPackets} * kPayloadBytesMax;
    const std::uint64_t bytes =
        spec.fed_by ? std::max(spec.ring_bytes, kWindowBytes) : spec.ring_bytes;
    stream->ring = StreamRing{{ring, slots}, packets, bytes};
    ring_packets_left_ -= granted;
    StreamRoom& room = streams_[stream];
    room.slots = ring;
    room.ring_packets = granted;
    return stream;
}

Result<std::optional<GrowFlows>> StreamMemory::reserve_flow(Stream& stream,
                                                            std::uint8_t port,
                                                            std::uint64_t command) {
    PENSTOCK_CHECK(port < stream.port_count);
    FlowRoom& room = streams_.at(&stream).ports[port];
    GrowFlows grow{.stream = &stream,
                   .port = port,
                   .chunk = {},
                   .directory = nullptr,
                   .directory_chunks = room.directory_chunks};
    if (room.flows < room.places()) {
        ++room.flows;
        return std::optional<GrowFlows>{};
    }
    const bool grown = room.places() == 0 ? begin(room, grow)
                                          : add_chunk(room, grow, retired_[stream.owner], command);
    if (!grown) {
        return out_of_memory("another consumer");
    }
    ++room.flows;
    return std::optional<GrowFlows>{grow};
}

bool StreamMemory::begin(FlowRoom& room, GrowFlows& grow) {
    room.few = few_flows_.take();
    if (room.few == nullptr) {
        return false;
    }
    grow.chunk = FlowChunk::of(*room.few);
    return true;
}

bool StreamMemory::add_chunk(FlowRoom& room,
                             GrowFlows& grow,
                             std::deque<Retired>& retired,
                             std::uint64_t command) {
    // The first is named by the group itself.
    const bool directory_full = !room.chunks.empty() && room.chunks.size() >= room.directory_chunks;
    if (directory_full) {
        grow.directory_chunks = std::max(2 * room.directory_chunks, kFirstDirectoryChunks);
        grow.directory = allocate<FlowChunk>(grow.directory_chunks, socket_);
        if (grow.directory == nullptr) {
            return false;
        }
    }
    ManyFlows* chunk = chunks_.take();
    if (chunk == nullptr) {
        rte_free(grow.directory);
        return false;
    }
    grow.chunk = FlowChunk::of(*chunk);
    room.chunks.push_back(chunk);
    if (room.few != nullptr) {
        retired.push_back({.command = command, .few = std::exchange(room.few, nullptr)});
    }
    if (directory_full) {
        if (room.directory != nullptr) {
            retired.push_back({.command = command, .memory = room.directory});
        }
        room.directory = grow.directory;
        room.directory_chunks = grow.directory_chunks;
    }
    return true;
}

Result<FlowRecord*> StreamMemory::make_flow() {
    FlowRecord* flow = flows_.take();
    return flow == nullptr ? Result<FlowRecord*>{out_of_memory("another consumer")} : flow;
}

void StreamMemory::retire_flow(Stream& stream,
                               std::uint8_t port,
                               FlowRecord* flow,
                               std::uint64_t command) {
    --streams_.at(&stream).ports[port].flows;
    retired_[stream.owner].push_back({.command = command, .flow = flow});
}

void StreamMemory::retire_stream(Stream& stream, std::uint64_t command) {
    retired_[stream.owner].push_back({.command = command, .stream = &stream});
}

void StreamMemory::reclaim(std::uint8_t worker, std::uint64_t applied) {
    std::deque<Retired>& retired = retired_[worker];
    while (!retired.empty() && retired.front().command <= applied) {
        free(retired.front());
        retired.pop_front();
    }
}

void StreamMemory::free(const Retired& retired) {
    if (retired.stream != nullptr) {
        free_stream(*retired.stream);
    }
    if (retired.flow != nullptr) {
        flows_.give_back(retired.flow);
    }
    if (retired.few != nullptr) {
        few_flows_.give_back(retired.few);
    }
    rte_free(retired.memory);
}

std::size_t StreamMemory::retired() const noexcept {
    std::size_t pieces = 0;
    for (const std::deque<Retired>& retired : retired_) {
        pieces += retired.size();
    }
    return pieces;
}

void StreamMemory::free_stream(Stream& stream) {
    const StreamRoom room = std::move(streams_.extract(&stream).mapped());
    for (std::uint8_t port = 0; port < stream.port_count; ++port) {
        const FlowGroup& group = stream.groups[port];
        for (std::uint32_t i = 0; i < group.live() + group.catching_up(); ++i) {
            flows_.give_back(&group.record_at(i));
        }
        if (FewFlows* few = room.ports[port].few; few != nullptr) {
            few_flows_.give_back(few);
        }
        for (ManyFlows* chunk : room.ports[port].chunks) {
            chunks_.give_back(chunk);
        }
        rte_free(room.ports[port].directory);
    }
    // At the end of the process a stream may still be open, its packets in the ring.
    stream.ring.release(stream.ring.packets());
    rte_free(room.slots);
    ring_packets_left_ += room.ring_packets;
    groups_.give_back(stream.groups);
    stream_pieces_.give_back(&stream);
}

}  // namespace penstock
