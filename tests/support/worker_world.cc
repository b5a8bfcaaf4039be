#include "support/worker_world.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace penstock {
namespace {

constexpr std::uint32_t kHistoryPackets = 1U << 20U;

unsigned next_number() {
    static unsigned number = 0;
    return ++number;
}

template <typename T>
T must(Result<T> result) {
    if (!result) {
        ADD_FAILURE() << result.error().message;
        std::abort();
    }
    return std::move(result).value();
}

}  // namespace

WorkerWorld::WorkerWorld(const WorldOptions& options)
    : options_(options),
      number_(next_number()),
      payloads_(must(PacketPool::create(fmt::format("payloads{}", number_),
                                        options.payload_mbufs,
                                        RTE_MBUF_DEFAULT_BUF_SIZE,
                                        0))),
      memory_(kHistoryPackets, options.ports, 0) {
    workers_.resize(options.workers);
    for (std::uint8_t port = 0; port < options.ports; ++port) {
        make_port(port);
    }
    for (std::uint8_t i = 0; i < options.workers; ++i) {
        OneWorker& one = workers_[i];
        one.copies.emplace(must(PacketPool::create(
            fmt::format("copies{}_{}", number_, i),
            options.copy_mbufs,
            static_cast<std::uint16_t>(
                RTE_PKTMBUF_HEADROOM +
                RTE_ALIGN_CEIL(kCopyHeaderBytes + options.inline_payload_bytes_max,
                               kCacheLineBytes)),
            0)));
        one.config.index = i;
        one.config.worker_count = options.workers;
        one.config.port_count = options.ports;
        for (std::uint8_t port = 0; port < options.ports; ++port) {
            one.config.ports[port] = {
                .port_id = ports_[port].id(),
                .rx_queue = i,
                .tx_queue = i,
                .copy_mode = {.inline_payload_bytes_max = options.inline_payload_bytes_max},
                .copies = one.copies->get(),
                .mac = mac(port),
                .address = stream_address(0, port).ip};
        }
        one.config.stream_port_first = kFirstStreamPort;
        one.streams.resize(kLastStreamPort - kFirstStreamPort + 1);
        one.config.streams = one.streams;
        one.config.payloads = payloads_.get();
        one.config.payloads_low = options.payloads_low;
        one.config.session_messages = make_ring(options.control_packets);
        one.config.exceptions = make_ring(options.control_packets);
        one.config.outgoing = make_ring(options.control_packets);
    }
    for (std::uint8_t from = 0; from < options.workers; ++from) {
        for (std::uint8_t to = 0; to < options.workers; ++to) {
            if (from != to) {
                rte_ring* ring = make_ring(options.control_packets);
                workers_[from].config.hand_over_to[to] = ring;
                workers_[to].config.hand_over_from[from] = ring;
                share_rings_.push_back(std::make_unique<ShareRing>(kShareRingPackets));
                workers_[from].config.shares_to[to] = share_rings_.back().get();
                workers_[to].config.shares_from[from] = share_rings_.back().get();
            }
        }
    }
    for (OneWorker& one : workers_) {
        one.mailbox = std::make_unique<Mailbox>(kMailboxCommands);
        one.counters = std::make_unique<WorkerCounters>();
        one.worker = std::make_unique<Worker>(one.config, *one.mailbox, *one.counters);
    }
}

WorkerWorld::~WorkerWorld() {
    while (!open_.empty()) {
        close_stream(open_.back());
    }
    settle();
    for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
        for (std::uint8_t port = 0; port < options_.ports; ++port) {
            sent(port, worker);
        }
        session_messages(worker);
        exceptions(worker);
    }
    reclaim();
    expect_balanced();
    EXPECT_EQ(mbufs_in_use(), 0U) << "packets that never came back to their pool";
    EXPECT_EQ(memory_.retired(), 0U);
    workers_.clear();
    ports_.clear();
    for (rte_ring* ring : rings_) {
        rte_ring_free(ring);
    }
}

rte_ring* WorkerWorld::make_ring(std::uint32_t packets) {
    const std::string name = fmt::format("w{}_{}", number_, rings_.size());
    rte_ring* ring = rte_ring_create(name.c_str(), packets, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
    EXPECT_NE(ring, nullptr);
    rings_.push_back(ring);
    return ring;
}

void WorkerWorld::make_port(std::uint8_t port) {
    arriving_.emplace_back();
    leaving_.emplace_back();
    for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
        arriving_[port].push_back(make_ring(options_.wire_packets));
        leaving_[port].push_back(make_ring(options_.wire_packets));
    }
    const std::string name = fmt::format("world{}_{}", number_, port);
    ASSERT_GE(rte_eth_from_rings(name.c_str(),
                                 arriving_[port].data(),
                                 options_.workers,
                                 leaving_[port].data(),
                                 options_.workers,
                                 0),
              0);
    PortOptions options;
    options.devargs = fmt::format("net_ring_{}", name);
    options.workers = options_.workers;
    ports_.push_back(must(Port::open(options, payloads_.get())));
    const Result<void> started = ports_.back().start();
    ASSERT_TRUE(started.ok()) << started.error().message;
}

rte_mbuf* WorkerWorld::mbuf_of(std::span<const std::uint8_t> bytes) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(payloads_.get());
    if (mbuf == nullptr) {
        ADD_FAILURE() << "the payload pool is empty";
        std::abort();
    }
    std::memcpy(rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(bytes.size())),
                bytes.data(),
                bytes.size());
    return mbuf;
}

void WorkerWorld::receive(const Bytes& frame, std::uint8_t port, std::uint8_t worker) {
    rte_mbuf* mbuf = mbuf_of(frame);
    mbuf->port = RTE_MBUF_PORT_INVALID;  // for rx to say
    ++offered_;
    ASSERT_EQ(rte_ring_sp_enqueue(arriving_[port][worker], mbuf), 0);
}

void WorkerWorld::receive_flagged(const Bytes& frame, std::uint64_t flags, std::uint16_t vlan_tci) {
    rte_mbuf* mbuf = mbuf_of(frame);
    mbuf->ol_flags |= flags;
    mbuf->vlan_tci = vlan_tci;
    ++offered_;
    ASSERT_EQ(rte_ring_sp_enqueue(arriving_[0][0], mbuf), 0);
}

void WorkerWorld::receive_segmented(const Bytes& frame, std::size_t first) {
    rte_mbuf* head = mbuf_of(std::span{frame}.first(first));
    ASSERT_EQ(rte_pktmbuf_chain(head, mbuf_of(std::span{frame}.subspan(first))), 0);
    ++offered_;
    ASSERT_EQ(rte_ring_sp_enqueue(arriving_[0][0], head), 0);
}

std::vector<Bytes> WorkerWorld::drain(rte_ring* ring) {
    std::vector<Bytes> frames;
    void* taken = nullptr;
    while (rte_ring_sc_dequeue(ring, &taken) == 0) {
        auto* packet = static_cast<rte_mbuf*>(taken);
        Bytes frame;
        std::uint32_t segments = 0;
        for (const rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
            const auto* data = rte_pktmbuf_mtod(segment, const std::uint8_t*);
            frame.insert(frame.end(), data, data + segment->data_len);
            ++segments;
        }
        EXPECT_EQ(segments, packet->nb_segs);
        EXPECT_EQ(frame.size(), packet->pkt_len);
        EXPECT_EQ(packet->refcnt, 1);
        rte_pktmbuf_free(packet);
        frames.push_back(std::move(frame));
    }
    return frames;
}

std::vector<Bytes> WorkerWorld::sent(std::uint8_t port, std::uint8_t worker) {
    return drain(leaving_[port][worker]);
}

std::uint32_t WorkerWorld::waiting(std::uint8_t port, std::uint8_t worker) const {
    return rte_ring_count(leaving_[port][worker]);
}

std::vector<rte_mbuf*> WorkerWorld::look_into(rte_ring* ring) {
    std::vector<rte_mbuf*> packets(rte_ring_count(ring));
    auto** table = reinterpret_cast<void**>(packets.data());
    const auto count = static_cast<unsigned>(packets.size());
    rte_ring_sc_dequeue_bulk(ring, table, count, nullptr);
    rte_ring_sp_enqueue_bulk(ring, table, count, nullptr);
    return packets;
}

std::vector<rte_mbuf*> WorkerWorld::on_the_wire(std::uint8_t port, std::uint8_t worker) const {
    return look_into(leaving_[port][worker]);
}

std::vector<unsigned> WorkerWorld::segments() const {
    std::vector<unsigned> counts;
    for (const rte_mbuf* packet : look_into(leaving_[0][0])) {
        counts.push_back(packet->nb_segs);
    }
    return counts;
}

std::vector<unsigned> WorkerWorld::ports_of_session_messages() const {
    std::vector<unsigned> ports;
    for (const rte_mbuf* packet : look_into(workers_[0].config.session_messages)) {
        ports.push_back(packet->port);
    }
    return ports;
}

void WorkerWorld::send(std::uint8_t worker, const WorkerCommand& command) {
    ASSERT_TRUE(workers_[worker].mailbox->try_push(command));
    ++workers_[worker].commands;
}

Stream* WorkerWorld::make_stream(const StreamSpec& spec) { return must(memory_.make_stream(spec)); }

Stream* WorkerWorld::open_stream(std::uint16_t udp_port,
                                 std::uint32_t ring_packets,
                                 std::uint64_t ring_bytes,
                                 std::uint8_t owner) {
    Stream* stream = make_stream({.udp_port = udp_port,
                                  .owner = owner,
                                  .ring_packets = ring_packets,
                                  .ring_bytes = ring_bytes});
    send(owner, OpenStream{stream});
    for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
        if (worker != owner) {
            send(worker, OpenStream{stream});
        }
    }
    open_.push_back(stream);
    return stream;
}

void WorkerWorld::set_publisher(Stream* stream, const Endpoint& address, FlowId flow) {
    send(stream->owner, SetPublisher{.stream = stream, .address = address, .flow = flow});
}

Stream* WorkerWorld::open_published(std::uint16_t udp_port,
                                    std::uint32_t ring_packets,
                                    std::uint64_t ring_bytes,
                                    std::uint8_t owner) {
    Stream* stream = open_stream(udp_port, ring_packets, ring_bytes, owner);
    set_publisher(stream);
    return stream;
}

FlowRecord* WorkerWorld::add_flow(Stream* stream, unsigned consumer, std::uint8_t port) {
    return add_flow(stream, consumer, port, {});
}

FlowRecord* WorkerWorld::add_flow(Stream* stream,
                                  unsigned consumer,
                                  std::uint8_t port,
                                  History history) {
    const auto grow =
        must(memory_.reserve_flow(*stream, port, workers_[stream->owner].commands + 1));
    if (grow) {
        send(stream->owner, *grow);
    }
    FlowRecord* flow = must(memory_.make_flow());
    send(stream->owner,
         AddFlow{.stream = stream,
                 .flow = flow,
                 .headers = headers_to(consumer, *stream, port),
                 .port = port,
                 .history_packets = history.packets,
                 .history_ms = history.ms});
    return flow;
}

std::vector<FlowRecord*> WorkerWorld::add_flows(Stream* stream,
                                                unsigned first,
                                                unsigned last,
                                                std::uint8_t port) {
    std::vector<FlowRecord*> flows;
    for (unsigned consumer = first; consumer <= last; ++consumer) {
        flows.push_back(add_flow(stream, consumer, port));
        turn(stream->owner);  // its mailbox holds few commands
    }
    return flows;
}

void WorkerWorld::remove_flow(Stream* stream, FlowRecord* flow) {
    const std::uint8_t port = flow->port;
    send(stream->owner, RemoveFlow{.stream = stream, .flow = flow});
    memory_.retire_flow(*stream, port, flow, workers_[stream->owner].commands);
}

void WorkerWorld::update_flow(Stream* stream, FlowRecord* flow, unsigned new_consumer) {
    send(stream->owner,
         UpdateFlow{.stream = stream,
                    .flow = flow,
                    .headers = headers_to(new_consumer, *stream, flow->port)});
}

void WorkerWorld::close_stream(Stream* stream) {
    for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
        if (worker != stream->owner) {
            send(worker, CloseStream{stream});
        }
    }
    send(stream->owner, CloseStream{stream});
    memory_.retire_stream(*stream, workers_[stream->owner].commands);
    open_.erase(std::find(open_.begin(), open_.end(), stream));
    if (const auto shares = shares_.extract(stream)) {
        turn_until_applied(stream->owner);
        for (Stream* share : shares.mapped()) {
            end_share(share);
        }
    }
}

Stream* WorkerWorld::open_share(Stream* stream, std::uint8_t helper) {
    const std::uint32_t packets = stream->keeps_history ? stream->ring.packets_max() : 0;
    Stream* share = make_stream({.udp_port = stream->udp_port,
                                 .owner = helper,
                                 .fed_by = stream->owner,
                                 .ring_packets = packets,
                                 .ring_bytes = 1U << 30U});
    send(helper, OpenShare{share});
    send(stream->owner, FeedShare{.stream = stream, .share = share});
    shares_[stream].push_back(share);
    return share;
}

void WorkerWorld::close_share(Stream* stream, Stream* share) {
    send(stream->owner, StopShare{.stream = stream, .share = share});
    turn_until_applied(stream->owner);
    std::erase(shares_[stream], share);
    end_share(share);
}

void WorkerWorld::end_share(Stream* share) {
    send(share->owner, CloseShare{share});
    memory_.retire_stream(*share, workers_[share->owner].commands);
}

void WorkerWorld::turn_until_applied(std::uint8_t worker) {
    while (counters(worker).applied_commands.read() < workers_[worker].commands) {
        turn(worker);
    }
}

void WorkerWorld::send_for_control(const Bytes& frame, std::uint16_t port, std::uint8_t worker) {
    rte_mbuf* mbuf = mbuf_of(frame);
    mbuf->port = port;
    ASSERT_EQ(rte_ring_sp_enqueue(workers_[worker].config.outgoing, mbuf), 0);
}

std::vector<Bytes> WorkerWorld::session_messages(std::uint8_t worker) {
    return drain(workers_[worker].config.session_messages);
}

std::vector<Bytes> WorkerWorld::exceptions(std::uint8_t worker) {
    return drain(workers_[worker].config.exceptions);
}

void WorkerWorld::settle() {
    constexpr unsigned kQuietTurns = 20;  // more than RX is ever left out
    for (unsigned quiet = 0; quiet < kQuietTurns; ++quiet) {
        for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
            if (turn(worker)) {
                quiet = 0;
            }
        }
    }
}

void WorkerWorld::publish_counters() {
    // 16 flows at most every 100 us, however late this thread is: the tests have some hundreds.
    constexpr unsigned kRounds = 100;
    for (unsigned round = 0; round < kRounds; ++round) {
        const std::uint64_t due = rte_rdtsc() + rte_get_tsc_hz() / 9'000;
        while (rte_rdtsc() < due) {
        }
        for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
            turn(worker);
        }
    }
}

void WorkerWorld::reclaim() {
    for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
        memory_.reclaim(worker, counters(worker).applied_commands.read());
    }
}

std::uint64_t WorkerWorld::dropped(DropReason reason, std::uint8_t worker) const {
    return counters(worker).drops[static_cast<std::size_t>(reason)].read();
}

std::uint64_t WorkerWorld::dropped_in_all(std::uint8_t worker) const {
    std::uint64_t sum = 0;
    for (const Counter& counter : counters(worker).drops) {
        sum += counter.read();
    }
    return sum;
}

void WorkerWorld::expect_balanced() const {
    // Copies that could not be made or sent; everything else dies as a received packet.
    constexpr std::array kOfCopies{DropReason::fanout_overrun,
                                   DropReason::helper_overrun,
                                   DropReason::history_overrun,
                                   DropReason::no_copy_mbuf,
                                   DropReason::tx_queue_full,
                                   DropReason::port_unknown};
    std::uint64_t received = 0;
    std::uint64_t handed_over = 0;
    std::uint64_t taken_over = 0;
    std::uint64_t given = 0;
    std::uint64_t taken_to_help = 0;
    for (std::uint8_t worker = 0; worker < options_.workers; ++worker) {
        const WorkerCounters& its = counters(worker);
        std::uint64_t rx = 0;
        std::uint64_t tx = 0;
        std::uint64_t unsent = 0;
        for (const PortCounters& port : its.ports) {
            rx += port.rx_packets.read();
            tx += port.tx_packets.read();
            unsent += port.tx_unsent.read();
        }
        std::uint64_t copies_lost = 0;
        for (const DropReason reason : kOfCopies) {
            copies_lost += dropped(reason, worker);
        }
        EXPECT_EQ(rx + its.taken_over.read(),
                  its.content.read() + its.session_messages.read() + its.exceptions.read() +
                      its.handed_over.read() + dropped_in_all(worker) - copies_lost)
            << "packets received by worker " << int{worker};
        EXPECT_EQ(unsent, dropped(DropReason::tx_queue_full, worker));
        EXPECT_LE(its.sent_for_control.read(), tx);
        EXPECT_LE(its.copies.read(), tx - its.sent_for_control.read() + unsent);
        if (unsent == 0) {
            EXPECT_EQ(its.copies.read(), tx - its.sent_for_control.read())
                << "copies of worker " << int{worker};
        }
        received += rx;
        handed_over += its.handed_over.read();
        taken_over += its.taken_over.read();
        given += its.given_to_helpers.read();
        taken_to_help += its.taken_to_help.read();
    }
    EXPECT_EQ(received, offered_);
    EXPECT_EQ(handed_over, taken_over);
    EXPECT_EQ(given, taken_to_help);
}

std::uint32_t WorkerWorld::mbufs_in_use() const {
    std::uint32_t in_use = payloads_.in_use();
    for (const OneWorker& one : workers_) {
        in_use += one.copies->in_use() - one.worker->ready_mbufs();
    }
    return in_use;
}

Endpoint WorkerWorld::publisher() { return {IpAddress::v4(0x0a000009), 4000}; }

Endpoint WorkerWorld::consumer(unsigned number) {
    return {IpAddress::v4(0x0a090000 + number), 5000};
}

MacAddress WorkerWorld::consumer_mac(unsigned number) {
    return {{0x02,
             0,
             0,
             0x01,
             static_cast<std::uint8_t>(number >> 8U),
             static_cast<std::uint8_t>(number)}};
}

Endpoint WorkerWorld::stream_address(std::uint16_t udp_port, std::uint8_t port) {
    return {IpAddress::v4(0x0a000001 + (std::uint32_t{port} << 8U)), udp_port};
}

MacAddress WorkerWorld::mac(std::uint8_t port) {
    return {{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(1 + port)}};
}

PacketBuilder WorkerWorld::content(std::size_t payload_bytes,
                                   unsigned seed,
                                   std::uint16_t udp_port) {
    return packet().from(publisher()).to(stream_address(udp_port)).payload(payload_bytes, seed);
}

FlowHeaders WorkerWorld::headers_to(unsigned consumer, const Stream& stream, std::uint8_t port) {
    return make_flow_headers({.source_mac = mac(port),
                              .next_hop_mac = consumer_mac(consumer),
                              .source = stream_address(stream.udp_port, port),
                              .destination = WorkerWorld::consumer(consumer)});
}

}  // namespace penstock
