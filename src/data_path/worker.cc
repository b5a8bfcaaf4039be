#include "data_path/worker.h"

#include "base/cache_line.h"
#include "base/check.h"
#include "data_path/classify.h"
#include "data_path/owned_streams.h"
#include "data_path/replicate.h"
#include "data_path/rx.h"
#include "data_path/stream_ring.h"
#include "data_path/tx.h"

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <variant>

namespace penstock {
namespace {

static_assert(kCacheLineBytes == RTE_CACHE_LINE_SIZE);

constexpr PacketCount kCommandsPerIteration = 32;
/// While a ring fills faster than it is sent, packets wait better in the NIC's queue, where losing
/// them costs nothing. A turn is about 10 us at most, so even then no queue is left alone for
/// longer than 100 us.
constexpr std::uint32_t kTurnsWithoutRxMax = 8;
constexpr std::uint64_t kPublicationsPerSecond = 10'000;
constexpr std::uint64_t kSamplesPerSecond = 1'000;
/// Evicted at one publication, at most: 2.5 million packets a second, which take some 5 % of a
/// worker's time.
constexpr PacketCount kEvictPackets = 256;

/// Whether a period has passed, at most once a period.
class Every {
  public:
    explicit Every(std::uint64_t cycles) noexcept : cycles_(cycles) {}
    [[nodiscard]] bool is_due(std::uint64_t now) noexcept {
        if (now - last_ < cycles_) {
            return false;
        }
        last_ = now;
        return true;
    }

  private:
    std::uint64_t cycles_;
    std::uint64_t last_ = 0;
};

/// How many of the first frames came in at `port`.
std::size_t count_from_port(Burst frames, std::uint16_t port) noexcept {
    std::size_t count = 0;
    while (count < frames.size() && frames[count]->port == port) {
        ++count;
    }
    return count;
}

}  // namespace

struct Worker::State {
    State(const WorkerConfig& its_config, Mailbox& its_mailbox, WorkerCounters& its_counters)
        : config(its_config), mailbox(its_mailbox), counters(its_counters) {}

    const WorkerConfig config;
    Mailbox& mailbox;
    WorkerCounters& counters;
    Rx rx{config, counters};
    Classify classify{config, counters};
    Tx tx{config, counters};
    Replicate replicate{config, counters, tx};
    OwnedStreams owned;

    const std::uint64_t tsc_hz = rte_get_tsc_hz();
    Every publication{tsc_hz / kPublicationsPerSecond};
    Every sampling{tsc_hz / kSamplesPerSecond};
    std::uint64_t turn_began = rte_rdtsc();
    Ticks now = 0;
    bool was_busy = false;
    std::uint32_t turns_without_rx = 0;
    bool pool_is_short = false;
    PacketCount history_to_evict = 0;
    WorkerCommand command;
    std::array<SharedPacket, kRxBurstPackets> shared;

    void begin_turn() noexcept;
    void end_turn(bool busy) noexcept;
    void sample(bool busy) noexcept;
    void look_at_pool() noexcept;
    void evict_history() noexcept;
    PacketCount apply_commands() noexcept;
    /// As std::visit, which may throw, does: the one `command` holds is applied.
    template <typename... Commands>
    void apply_any(const std::variant<Commands...>& held) noexcept {
        const auto apply_if = [this](const auto* its) noexcept {
            if (its != nullptr) {
                apply(*its);
            }
        };
        (apply_if(std::get_if<Commands>(&held)), ...);
    }
    PacketCount take_in() noexcept;
    PacketCount take_arrived() noexcept;
    PacketCount take_shared(std::uint8_t owner) noexcept;

    void apply(const OpenStream& open) noexcept;
    void apply(const CloseStream& close) noexcept;
    void apply(const OpenShare& open) noexcept { owned.add(*open.share); }
    void apply(const CloseShare& close) noexcept;
    void apply(const FeedShare& feed) noexcept { replicate.feed_share(feed); }
    void apply(const StopShare& stop) noexcept { replicate.stop_share(stop); }
    void apply(const SetPublisher& set) noexcept;
    void apply(const GrowFlows& grow) noexcept;
    void apply(const AddFlow& add) noexcept { replicate.add_flow(add, now, tsc_hz); }
    void apply(const RemoveFlow& remove) noexcept { replicate.remove_flow(remove); }
    void apply(const UpdateFlow& update) noexcept { replicate.update_flow(update); }
};

Worker::Worker(const WorkerConfig& config, Mailbox& mailbox, WorkerCounters& counters) noexcept
    : state_(std::make_unique<State>(config, mailbox, counters)) {
    for (std::uint8_t port = 0; port < config.port_count; ++port) {
        // packet_copy knows where such a pool's mbufs keep their data without asking them.
        PENSTOCK_CHECK(rte_pktmbuf_priv_size(config.ports[port].copies) == 0);
    }
}

Worker::~Worker() = default;

bool Worker::run_once() noexcept {
    State& worker = *state_;
    worker.begin_turn();
    const PacketCount applied = worker.apply_commands();
    const PacketCount taken_in = worker.take_in();  // rx → classify → stream_ring
    const PacketCount answered = worker.tx.add_from_control();
    const PacketCount replicated = worker.replicate.to_consumers(worker.now);
    worker.tx.send_all();
    const bool busy = applied + taken_in + answered + replicated > 0;
    worker.end_turn(busy);
    return busy;
}

std::uint32_t Worker::ready_mbufs() const noexcept { return state_->tx.ready(); }

/// Time since the last turn began was the last turn's, sleep after it included.
void Worker::State::begin_turn() noexcept {
    const std::uint64_t tsc = rte_rdtsc();
    (was_busy ? counters.busy_cycles : counters.idle_cycles).add(tsc - turn_began);
    turn_began = tsc;
    now = static_cast<Ticks>(tsc >> kTicksShift);
    counters.iterations.add(1);
}

void Worker::State::end_turn(bool busy) noexcept {
    was_busy = busy;
    if (publication.is_due(turn_began)) {
        owned.publish_some();
        if (history_to_evict > 0) [[unlikely]] {
            evict_history();
        }
        if (sampling.is_due(turn_began)) {
            sample(busy);
        }
    }
}

void Worker::State::sample(bool busy) noexcept {
    rx.sample_queues();
    look_at_pool();
    if (!busy || pool_is_short) {
        tx.reclaim();
    }
}

/// Receiving needs free mbufs more than anybody needs the oldest history. A pool that was short is
/// so until half as many again are free: evicting in fewer, longer stretches keeps to the order of
/// age.
void Worker::State::look_at_pool() noexcept {
    const std::uint32_t low = config.payloads_low;
    if (low == 0) {
        return;
    }
    const std::uint32_t enough = low + (pool_is_short ? low / 2 : 0);
    const std::uint32_t free = rte_mempool_avail_count(config.payloads);
    if (free >= enough) [[likely]] {
        pool_is_short = false;
        history_to_evict = 0;
        return;
    }
    if (!pool_is_short) {
        pool_is_short = true;
        owned.begin_eviction();
    }
    counters.pool_short.add(1);
    history_to_evict = (low + low / 2 - free) / config.worker_count + 1;  // the others do theirs
}

void Worker::State::evict_history() noexcept {
    const PacketCount evicted = owned.evict_history(std::min(history_to_evict, kEvictPackets), now);
    history_to_evict -= evicted;
    counters.pool_evicted.add(evicted);
}

PacketCount Worker::State::take_in() noexcept {
    PacketCount packets = 0;
    if (!replicate.is_behind() || ++turns_without_rx > kTurnsWithoutRxMax) {
        turns_without_rx = 0;
        packets += take_arrived();
    }
    for (std::uint8_t owner = 0; owner < config.worker_count; ++owner) {
        packets += take_shared(owner);
    }
    return packets;
}

/// From the NICs, and from the workers that others' packets arrive at.
PacketCount Worker::State::take_arrived() noexcept {
    PacketCount frames = 0;
    for (std::uint8_t port = 0; port < config.port_count; ++port) {
        const Burst arrived = rx.receive(port);
        store(classify.by_stream(arrived, port), now, replicate);
        frames += static_cast<PacketCount>(arrived.size());
    }
    for (std::uint8_t sender = 0; sender < config.worker_count; ++sender) {
        Burst arrived = rx.take_over(sender);
        frames += static_cast<PacketCount>(arrived.size());
        while (!arrived.empty()) {
            const std::uint16_t port = arrived.front()->port;
            const std::size_t count = count_from_port(arrived, port);
            const auto index = static_cast<std::uint8_t>(port);
            store(classify.by_stream(arrived.first(count), index), now, replicate);
            arrived = arrived.subspan(count);
        }
    }
    return frames;
}

/// Never more than the shares can take: see kShareWindowPackets.
PacketCount Worker::State::take_shared(std::uint8_t owner) noexcept {
    ShareRing* from = config.shares_from[owner];
    if (from == nullptr) {
        return 0;
    }
    const std::size_t count = from->pop_bulk(shared);
    store_shared(std::span{shared}.first(count), counters, replicate);
    return static_cast<PacketCount>(count);
}

PacketCount Worker::State::apply_commands() noexcept {
    PacketCount applied = 0;
    if (owned.is_closing()) {
        ++applied;
        if (!owned.close_some()) {
            return applied;
        }
        counters.applied_commands.add_and_release(1);
    }
    while (applied < kCommandsPerIteration && mailbox.try_pop(command)) {
        ++applied;
        apply_any(command);
        if (owned.is_closing()) {  // goes on in the next turns; what follows waits for it
            break;
        }
        counters.applied_commands.add_and_release(1);
    }
    return applied;
}

void Worker::State::apply(const OpenStream& open) noexcept {
    classify.open(*open.stream);
    if (open.stream->owner == config.index) {
        owned.add(*open.stream);
    }
}

void Worker::State::apply(const CloseStream& close) noexcept {
    classify.close(*close.stream);
    if (close.stream->owner == config.index) {
        replicate.stop(*close.stream);
        owned.begin_close(*close.stream);
    }
}

void Worker::State::apply(const CloseShare& close) noexcept {
    Stream& share = *close.share;
    // All it has been given is in the ring now, among what others are given meanwhile: as much as
    // the ring holds at most.
    for (std::size_t taken = 0; taken < kShareRingPackets; taken += shared.size()) {
        take_shared(share.fed_by);
    }
    replicate.stop(share);
    owned.begin_close(share);
}

void Worker::State::apply(const SetPublisher& set) noexcept {
    set.stream->publisher = set.address;
    set.stream->publisher_v4 = publisher_key(set.address);
    set.stream->publisher_flow = set.flow;
}

void Worker::State::apply(const GrowFlows& grow) noexcept {
    PENSTOCK_CHECK(grow.port < grow.stream->port_count);
    grow.stream->groups[grow.port].grow(grow.chunk, grow.directory, grow.directory_chunks);
}

}  // namespace penstock
