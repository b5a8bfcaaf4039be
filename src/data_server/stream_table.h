#pragma once

#include "data_path/stream.h"
#include "data_server/control_messages.h"
#include "data_server/stream_memory.h"
#include "data_server/worker_commands.h"

#include <penstock/ids.h>
#include <penstock/result.h>

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace penstock {

/// A port of ours as copies leave from it.
struct LocalPort {
    MacAddress mac;
    IpAddress address;
};

struct StreamTableConfig {
    std::uint16_t udp_port_first = 20'000;
    std::uint16_t udp_port_last = 29'999;
    std::uint32_t streams_max = 1'024;
    std::uint32_t ring_packets = 4'096;
    std::uint64_t ring_bytes = std::uint64_t{64} << 20U;
    std::vector<LocalPort> ports;
};

/// With fewer consumers a stream is its owner's alone. From here on each new one goes to the worker
/// with the fewest of the stream's consumers, the owner or one that helps it; a further worker
/// helps from twice as many on, one more from three times as many. Each costs the owner and itself
/// about as much as 25 copies for every packet (cache lines that go from one to the other): with so
/// many consumers two make 1.7 times the copies of one, with half as many 1.3 times.
inline constexpr std::size_t kSharedFrom = 256;

/// Where a consumer is reached.
struct FlowPlace {
    FlowId flow;
    std::uint8_t port;
    Endpoint local;
    Endpoint address;
    MacAddress next_hop;
};

/// The streams that are open at the workers, and the flows in them: turns decisions into commands,
/// in the order the mailbox contract asks for, and follows them until they are applied. A stream
/// opens at its owner first and closes there last, so no worker hands a packet to one that does not
/// know the stream; its shares close after it, when no packet can come to them any more. A flow
/// stays at the worker it was given to. Thread: control.
class StreamTable {
  public:
    StreamTable(StreamTableConfig config, StreamMemory& memory, std::span<WorkerCommands> workers);

    /// Begins to open a stream at the least used port and worker, on the next UDP port in rotation.
    /// A port without link is taken only if none has one.
    /// Returns: where publisher and consumers send to.
    /// Errors:  exhausted, with the limit that is reached.
    Result<Endpoint> open(StreamId stream, const std::string& name);
    /// Begins to close it, with every flow in it. It may be opened again at once, elsewhere.
    void close(StreamId stream);

    /// `port`: 0..ports-1; ports have a link unless this says otherwise.
    void set_link(std::uint8_t port, bool has_link) { port_has_link_.at(port) = has_link; }

    // Each names an open stream (an unknown one is left alone).
    void set_publisher(StreamId stream, const Endpoint& address, FlowId flow);
    /// Errors: exhausted.
    Result<void> add_flow(StreamId stream,
                          const FlowPlace& place,
                          std::uint32_t history_packets,
                          std::uint32_t history_ms);
    void move_flow(StreamId stream, const FlowPlace& place);
    void remove_flow(StreamId stream, FlowId flow);

    struct Settled {
        std::vector<OpenedStream> opened;  // by every worker
        std::vector<StreamId> closed;      // by every worker; their memory is free again
    };
    /// Carries everything on as far as the workers have come. To be called often.
    Settled advance();

    /// As StreamCounters, over the owner and all shares, those that are gone included. What comes
    /// in and what is kept is the owner's.
    struct Figures {
        std::uint64_t packets_in = 0;
        std::uint64_t bytes_in = 0;
        std::uint64_t copies = 0;
        std::uint64_t copy_bytes = 0;
        std::uint64_t dropped = 0;
        std::uint64_t ring_packets = 0;
        std::uint64_t ring_bytes = 0;
    };
    struct View {
        StreamId id;
        const std::string& name;
        Endpoint endpoint;
        Figures figures;
    };
    /// Open streams, by id.
    [[nodiscard]] std::vector<View> open_streams() const;
    [[nodiscard]] std::optional<View> find(StreamId stream) const;
    /// nullptr if there is no such flow.
    [[nodiscard]] const FlowCounters* counters_of(StreamId stream, FlowId flow) const;
    [[nodiscard]] std::uint8_t owner_of(StreamId stream) const;
    /// Whether everything begun has been carried out by the workers: streams and shares are open or
    /// gone, flows are where they are to be.
    [[nodiscard]] bool has_settled() const;
    /// Payload of all copies ever made, of closed streams too.
    [[nodiscard]] std::uint64_t copy_bytes() const;

  private:
    enum class Phase : std::uint8_t { opening_at_owner, opening_elsewhere, open };
    struct Flow {
        FlowRecord* record;
        std::uint8_t port;
        std::uint8_t worker;
    };
    enum class ShareStage : std::uint8_t { fed, stopping, closing };
    struct Share {
        Stream* stream;  // its owner is the helper
        ShareStage stage = ShareStage::fed;
        std::uint64_t awaited = 0;  // stopping: at the owner of the stream; closing: at the helper
    };
    /// What a stream's shares have come to.
    struct Shares {
        std::vector<Share> open;  // at most one that is fed for each helper
        Figures gone;             // of those that are no more
    };
    struct Hash {
        std::size_t operator()(FlowId flow) const noexcept { return flow.value; }
    };
    struct Entry {
        Stream* stream = nullptr;
        std::string name;
        Endpoint endpoint;
        std::uint8_t home_port = 0;
        Phase phase = Phase::opening_at_owner;
        std::vector<std::uint64_t> awaited;  // by worker: command that must be applied; 0: none
        std::unordered_map<FlowId, Flow, Hash> flows;
        std::vector<std::uint32_t> worker_flows;  // of `flows`, by worker
        Shares shares;
    };
    struct Closing {
        StreamId id;
        Stream* stream;
        std::uint16_t udp_port;
        std::uint8_t home_port;
        bool at_owner = false;
        std::vector<std::uint64_t> awaited;
        Shares shares;
    };

    Result<std::uint16_t> take_udp_port();
    [[nodiscard]] std::uint8_t port_for_stream() const noexcept;
    [[nodiscard]] bool have_applied(const std::vector<std::uint64_t>& awaited) const;
    void send_to_others(const WorkerCommand& command,
                        std::uint8_t owner,
                        std::vector<std::uint64_t>& awaited);
    bool advance_closing(Closing& closing);
    [[nodiscard]] std::uint8_t worker_for_flow(Entry& entry);
    void open_share(const Entry& entry, Shares& shares);
    void stop_idle_shares(Entry& entry);
    void advance_shares(Shares& shares, std::uint8_t owner);
    static const Share* share_at(const Shares& shares, std::uint8_t worker);
    static Stream& stream_at(const Entry& entry, std::uint8_t worker);
    static Figures figures_of(const Stream& stream, const Shares& shares);
    [[nodiscard]] FlowHeaders headers_of(const FlowPlace& place) const;
    Entry* entry_of(StreamId stream);
    [[nodiscard]] const Entry* entry_of(StreamId stream) const;

    StreamTableConfig config_;
    StreamMemory& memory_;
    std::span<WorkerCommands> workers_;
    std::map<StreamId, Entry> streams_;
    std::list<Closing> closing_;
    std::vector<bool> udp_port_used_;
    std::uint32_t next_udp_port_ = 0;            // offset in the range
    std::vector<std::uint32_t> worker_streams_;  // owned, closing ones included
    std::vector<std::uint32_t> port_streams_;    // at home on each port, closing ones included
    std::vector<bool> port_has_link_;
    std::uint64_t closed_copy_bytes_ = 0;
};

}  // namespace penstock
