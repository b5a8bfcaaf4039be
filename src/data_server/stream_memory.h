#pragma once

#include "base/net_address.h"
#include "data_path/mailbox.h"
#include "data_path/stream.h"

#include <penstock/result.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

namespace penstock {

struct StreamSpec {
    std::uint16_t udp_port = 0;
    std::uint8_t owner = 0;                             // worker index; of a share, its helper
    std::optional<std::uint8_t> fed_by = std::nullopt;  // makes a share: who owns the stream
    std::uint32_t ring_packets = 4096;                  // 0: no history, see kUnkeptPackets
    std::uint64_t ring_bytes = 64U << 20U;
};

/// Places in the ring of a stream that keeps no history, for packets whose fan-out is under way;
/// and how many of them count against the budget: nearly always they are empty, and what
/// plan_pools() never grants is there for bursts. (Should many streams fill their rings at once,
/// all would miss packets: the pool is one.)
inline constexpr std::uint32_t kUnkeptPackets = 512;
inline constexpr std::uint32_t kUnkeptPacketsGranted = 16;

/// All memory of streams and flows that workers use: made here, handed over by pointer in a
/// command, and freed, or a record used again, only when the worker has said
/// (WorkerCounters::applied_commands) that it has applied the command that takes it away. Knows how
/// much room each stream's flow tables have.
/// Thread: control.
class StreamMemory {
  public:
    /// `ring_packets`: PoolPlan::ring_packets, the most that all rings together may hold.
    /// `ports`: of the data server, 1..kPortsMax. `socket`: NUMA node.
    StreamMemory(std::uint32_t ring_packets, std::size_t ports, int socket) noexcept;
    ~StreamMemory();  // frees everything: workers must have stopped
    StreamMemory(const StreamMemory&) = delete;
    StreamMemory& operator=(const StreamMemory&) = delete;

    /// For OpenStream, or OpenShare: half of the history budget is for streams alone, so that no
    /// stream stays closed for the sake of another's shares.
    /// Errors: exhausted, if memory or the history budget is used up.
    Result<Stream*> make_stream(const StreamSpec& spec);
    /// Room for one more flow of `stream` on `port`, reserved from now on until retire_flow().
    /// `command`: the number that the next command sent to the owner will have, counted from 1.
    /// Returns: GrowFlows to be sent as that command, before the AddFlow; nullopt: there is room.
    /// Errors:  exhausted.
    Result<std::optional<GrowFlows>> reserve_flow(Stream& stream,
                                                  std::uint8_t port,
                                                  std::uint64_t command);
    /// For AddFlow. Errors: exhausted.
    Result<FlowRecord*> make_flow();

    /// After RemoveFlow, sent to the stream's owner as its `command`th: the record may be another
    /// flow's once that is applied; the room is free for another flow at once.
    void retire_flow(Stream& stream, std::uint8_t port, FlowRecord* flow, std::uint64_t command);
    /// After CloseStream, sent to the owner (the last to be told), or CloseShare, sent to the
    /// helper, as its `command`th: the stream, its ring, its tables and the records of all flows
    /// still in it.
    void retire_stream(Stream& stream, std::uint64_t command);

    /// Frees what worker `worker` has given back. `applied`: its applied_commands.
    void reclaim(std::uint8_t worker, std::uint64_t applied);

    [[nodiscard]] std::uint32_t ring_packets_left() const noexcept { return ring_packets_left_; }
    /// Pieces of memory that wait to be given back.
    [[nodiscard]] std::size_t retired() const noexcept;

  private:
    using FewFlows = FlowPlaces<kFewFlows>;
    using ManyFlows = FlowPlaces<kFlowsPerChunk>;

    struct FlowRoom {
        FewFlows* few = nullptr;  // until there are more
        std::vector<ManyFlows*> chunks;
        FlowChunk* directory = nullptr;
        std::uint32_t directory_chunks = 0;
        std::uint32_t flows = 0;  // reserved

        [[nodiscard]] std::size_t places() const noexcept {
            return few != nullptr ? kFewFlows : chunks.size() * kFlowsPerChunk;
        }
    };
    struct StreamRoom {
        Slot* slots = nullptr;
        std::uint32_t ring_packets = 0;
        std::array<FlowRoom, kPortsMax> ports;
    };
    /// One of the four.
    struct Retired {
        std::uint64_t command;
        void* memory = nullptr;
        FewFlows* few = nullptr;
        FlowRecord* flow = nullptr;
        Stream* stream = nullptr;  // with all that belongs to it
    };

    /// Pieces of one kind, side by side: what a worker touches of many streams lies in few pages,
    /// and the allocator's own share of each would be as large as a record. Kept until the end.
    template <typename T>
    class Slabs {
      public:
        /// `size`: so many T are one piece.
        explicit Slabs(int socket, std::size_t size = 1) noexcept : socket_(socket), size_(size) {}
        ~Slabs();
        Slabs(const Slabs&) = delete;
        Slabs& operator=(const Slabs&) = delete;

        /// A new piece, zeroed; nullptr if there is no memory left.
        [[nodiscard]] T* take();
        void give_back(T* piece) { free_.push_back(piece); }

      private:
        static constexpr std::size_t kPieces = 64;
        int socket_;
        std::size_t size_;
        std::vector<T*> slabs_;
        std::vector<T*> free_;
    };

    /// Room for the first few flows, or for a chunk of them more. Returns: whether there was
    /// memory; then `grow` says what the worker has to know.
    bool begin(FlowRoom& room, GrowFlows& grow);
    bool add_chunk(FlowRoom& room,
                   GrowFlows& grow,
                   std::deque<Retired>& retired,
                   std::uint64_t command);
    void free(const Retired& retired);
    void free_stream(Stream& stream);

    std::uint32_t ring_packets_left_;
    const std::uint32_t not_for_shares_;  // of them
    const std::uint8_t ports_;
    int socket_;
    Slabs<Stream> stream_pieces_{socket_};
    Slabs<FlowGroup> groups_;  // of one stream each
    Slabs<FewFlows> few_flows_{socket_};
    Slabs<ManyFlows> chunks_{socket_};
    Slabs<FlowRecord> flows_{socket_};
    std::unordered_map<Stream*, StreamRoom> streams_;       // retired ones included
    std::array<std::deque<Retired>, kWorkersMax> retired_;  // by worker, oldest command first
};

}  // namespace penstock
