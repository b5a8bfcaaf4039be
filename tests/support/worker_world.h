#pragma once

#include "data_path/counters.h"
#include "data_path/mailbox.h"
#include "data_path/shares.h"
#include "data_path/stream.h"
#include "data_path/worker.h"
#include "data_server/stream_memory.h"
#include "dpdk/packet_pool.h"
#include "dpdk/port.h"
#include "support/packet_builder.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

struct rte_ring;

namespace penstock {

struct WorldOptions {
    std::uint8_t workers = 1;
    std::uint8_t ports = 1;
    std::uint32_t inline_payload_bytes_max = 64;
    std::uint32_t payload_mbufs = 8191;
    std::uint32_t payloads_low = 0;  // 0: nobody looks
    std::uint32_t copy_mbufs = 8191;
    std::uint32_t wire_packets = 4096;   // each queue's ring holds one less
    std::uint32_t control_packets = 64;  // session, exception and hand-over rings hold one less
};

/// Real workers on net_ring ports, with the test in the place of the network and of control. All on
/// one thread, turn by turn, so every run is the same.
///   our port p:  MAC 02:00:00:00:00:01+p, address 10.0.p.1, streams on UDP ports 20000..20099
///   publisher:   10.0.0.9:4000
///   consumer n:  10.9.x.y:5000 with MAC 02:00:00:01:x:y, x.y = n
class WorkerWorld {
  public:
    static constexpr std::uint16_t kFirstStreamPort = 20000;
    static constexpr std::uint16_t kLastStreamPort = 20099;

    explicit WorkerWorld(const WorldOptions& options = {});
    /// Closes what is open and expects every packet back in its pool and the books balanced.
    ~WorkerWorld();
    WorkerWorld(const WorkerWorld&) = delete;
    WorkerWorld& operator=(const WorkerWorld&) = delete;

    // The network.
    void receive(const Bytes& frame, std::uint8_t port = 0, std::uint8_t worker = 0);
    /// With what a NIC may say about it: RTE_MBUF_F_RX_..., and the tag it took off.
    void receive_flagged(const Bytes& frame, std::uint64_t flags, std::uint16_t vlan_tci = 0);
    /// The same frame split into mbufs of `first` bytes and the rest.
    void receive_segmented(const Bytes& frame, std::size_t first);
    /// Frames the port's queue of `worker` has sent since the last call, chains made one.
    std::vector<Bytes> sent(std::uint8_t port = 0, std::uint8_t worker = 0);
    /// The same, without taking them off the wire.
    std::uint32_t waiting(std::uint8_t port = 0, std::uint8_t worker = 0) const;
    /// The frames themselves.
    std::vector<rte_mbuf*> on_the_wire(std::uint8_t port, std::uint8_t worker) const;
    /// Segments of each sent frame that waits.
    std::vector<unsigned> segments() const;

    // Control.
    Stream* open_stream(std::uint16_t udp_port = kFirstStreamPort,
                        std::uint32_t ring_packets = 512,
                        std::uint64_t ring_bytes = 1U << 30U,
                        std::uint8_t owner = 0);
    void set_publisher(Stream* stream,
                       const Endpoint& address = publisher(),
                       FlowId flow = FlowId{0xf10});
    /// open_stream() and set_publisher().
    Stream* open_published(std::uint16_t udp_port = kFirstStreamPort,
                           std::uint32_t ring_packets = 512,
                           std::uint64_t ring_bytes = 1U << 30U,
                           std::uint8_t owner = 0);
    struct History {
        std::uint32_t packets = 0;
        std::uint32_t ms = 0;
    };
    FlowRecord* add_flow(Stream* stream, unsigned consumer, std::uint8_t port = 0);
    FlowRecord* add_flow(Stream* stream, unsigned consumer, std::uint8_t port, History history);
    /// Of consumers first..last, in that order: any number, for the stream's worker turns
    /// meanwhile.
    std::vector<FlowRecord*> add_flows(Stream* stream,
                                       unsigned first,
                                       unsigned last,
                                       std::uint8_t port = 0);
    void remove_flow(Stream* stream, FlowRecord* flow);
    void update_flow(Stream* stream, FlowRecord* flow, unsigned new_consumer);
    void close_stream(Stream* stream);
    /// A share of `stream` at worker `helper`, fed from now on: a stream for what is said of flows.
    Stream* open_share(Stream* stream, std::uint8_t helper);
    /// Ends it; turns the owner of the stream until no more comes.
    void close_share(Stream* stream, Stream* share);
    /// To be sent by `worker`.
    void send_for_control(const Bytes& frame, std::uint16_t port, std::uint8_t worker = 0);
    std::vector<Bytes> session_messages(std::uint8_t worker = 0);
    /// mbuf->port of the session messages that wait.
    std::vector<unsigned> ports_of_session_messages() const;
    std::vector<Bytes> exceptions(std::uint8_t worker = 0);

    // Time.
    bool turn(std::uint8_t worker = 0) { return workers_[worker].worker->run_once(); }
    /// Turns of all workers until none finds anything to do, several times over.
    void settle();
    /// Turns until the counters of every flow have been published.
    void publish_counters();
    /// Frees what the workers have given back.
    void reclaim();

    /// For tests that run it elsewhere; turn() and settle() must then wait.
    [[nodiscard]] Worker& worker(std::uint8_t worker = 0) { return *workers_[worker].worker; }

    // Books.
    [[nodiscard]] const WorkerCounters& counters(std::uint8_t worker = 0) const {
        return *workers_[worker].counters;
    }
    [[nodiscard]] std::uint64_t dropped(DropReason reason, std::uint8_t worker = 0) const;
    [[nodiscard]] std::uint64_t dropped_in_all(std::uint8_t worker = 0) const;
    /// Every packet received, and every copy made, is accounted for once.
    void expect_balanced() const;
    [[nodiscard]] std::uint32_t mbufs_in_use() const;
    [[nodiscard]] StreamMemory& memory() { return memory_; }
    [[nodiscard]] rte_mempool* copies(std::uint8_t worker = 0) const {
        return workers_[worker].copies->get();
    }
    [[nodiscard]] rte_mempool* payloads() const { return payloads_.get(); }

    // Who is who.
    static Endpoint publisher();
    static Endpoint consumer(unsigned number);
    static MacAddress consumer_mac(unsigned number);
    static Endpoint stream_address(std::uint16_t udp_port = kFirstStreamPort,
                                   std::uint8_t port = 0);
    static MacAddress mac(std::uint8_t port);
    /// Content from the publisher to a stream.
    static PacketBuilder content(std::size_t payload_bytes,
                                 unsigned seed,
                                 std::uint16_t udp_port = kFirstStreamPort);
    static FlowHeaders headers_to(unsigned consumer, const Stream& stream, std::uint8_t port = 0);

  private:
    struct OneWorker {
        std::unique_ptr<Mailbox> mailbox;
        std::unique_ptr<WorkerCounters> counters;
        std::optional<PacketPool> copies;
        std::vector<Stream*> streams;
        std::unique_ptr<Worker> worker;
        std::uint64_t commands = 0;
        WorkerConfig config{};
    };

    Stream* make_stream(const StreamSpec& spec);
    void send(std::uint8_t worker, const WorkerCommand& command);
    void turn_until_applied(std::uint8_t worker);
    void end_share(Stream* share);
    rte_ring* make_ring(std::uint32_t packets);
    void make_port(std::uint8_t port);
    std::vector<Bytes> drain(rte_ring* ring);
    static std::vector<rte_mbuf*> look_into(rte_ring* ring);
    rte_mbuf* mbuf_of(std::span<const std::uint8_t> bytes);

    WorldOptions options_;
    unsigned number_;  // of this world in this program: DPDK's names are global
    PacketPool payloads_;
    StreamMemory memory_;
    std::vector<rte_ring*> rings_;
    std::vector<std::unique_ptr<ShareRing>> share_rings_;
    std::vector<std::vector<rte_ring*>> arriving_;  // [port][worker]
    std::vector<std::vector<rte_ring*>> leaving_;
    std::vector<Port> ports_;
    std::vector<OneWorker> workers_;
    std::vector<Stream*> open_;
    std::map<Stream*, std::vector<Stream*>> shares_;  // by stream
    std::uint64_t offered_ = 0;
};

}  // namespace penstock
