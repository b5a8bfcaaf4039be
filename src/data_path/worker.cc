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
/// them costs nothing. Such a turn is about 10 us, so even then no queue is left alone for longer
/// than 100 us.
constexpr std::uint32_t kTurnsWithoutRxMax = 8;
/// Evicted at one publication, at most: 2.5 million packets a second, which take some 5 % of a
/// worker's time.
constexpr PacketCount kEvictPackets = 256;

/// How many of the first frames came in at `port`.
std::size_t count_from_port(Burst frames, std::uint16_t port) noexcept {
    std::size_t count = 0;
    while (count < frames.size() && frames[count]->port == port) {
        ++count;
    }
    return count;
}

}  // namespace

Worker::Worker(const WorkerConfig& config, Mailbox& mailbox, WorkerCounters& counters) noexcept
    : config_(config),
      mailbox_(mailbox),
      counters_(counters),
      rx_(config_, counters),
      classify_(config_, counters),
      tx_(config_, counters),
      replicate_(config_, counters, tx_),
      tsc_hz_(rte_get_tsc_hz()),
      publication_(tsc_hz_ / kPublicationsPerSecond),
      sampling_(tsc_hz_ / kSamplesPerSecond),
      turn_began_(rte_rdtsc()) {
    for (std::uint8_t port = 0; port < config.port_count; ++port) {
        // packet_copy knows where such a pool's mbufs keep their data without asking them.
        PENSTOCK_CHECK(rte_pktmbuf_priv_size(config.ports[port].copies) == 0);
    }
}

bool Worker::run_once() noexcept {
    begin_turn();
    const PacketCount applied = apply_commands();
    const PacketCount taken_in = take_in();  // rx → classify → stream_ring
    const PacketCount answered = tx_.add_from_control();
    const PacketCount replicated = replicate_.to_consumers(now_);
    tx_.send_all();
    const bool busy = applied + taken_in + answered + replicated > 0;
    end_turn(busy);
    return busy;
}

/// Time since the last turn began was the last turn's, sleep after it included.
void Worker::begin_turn() noexcept {
    const std::uint64_t tsc = rte_rdtsc();
    (was_busy_ ? counters_.busy_cycles : counters_.idle_cycles).add(tsc - turn_began_);
    turn_began_ = tsc;
    now_ = static_cast<Ticks>(tsc >> kTicksShift);
    counters_.iterations.add(1);
}

void Worker::end_turn(bool busy) noexcept {
    was_busy_ = busy;
    if (publication_.is_due(turn_began_)) {
        owned_.publish_some();
        if (history_to_evict_ > 0) [[unlikely]] {
            evict_history();
        }
        if (sampling_.is_due(turn_began_)) {
            sample(busy);
        }
    }
}

void Worker::sample(bool busy) noexcept {
    rx_.sample_queues();
    look_at_pool();
    if (!busy || pool_is_short_) {
        tx_.reclaim();
    }
}

/// Receiving needs free mbufs more than anybody needs the oldest history. A pool that was short is
/// so until half as many again are free: evicting in fewer, longer stretches keeps to the order of
/// age.
void Worker::look_at_pool() noexcept {
    const std::uint32_t low = config_.payloads_low;
    if (low == 0) {
        return;
    }
    const std::uint32_t enough = low + (pool_is_short_ ? low / 2 : 0);
    const std::uint32_t free = rte_mempool_avail_count(config_.payloads);
    if (free >= enough) [[likely]] {
        pool_is_short_ = false;
        history_to_evict_ = 0;
        return;
    }
    if (!pool_is_short_) {
        pool_is_short_ = true;
        owned_.begin_eviction();
    }
    counters_.pool_short.add(1);
    history_to_evict_ = (low + low / 2 - free) / config_.worker_count + 1;  // the others do theirs
}

void Worker::evict_history() noexcept {
    const PacketCount evicted =
        owned_.evict_history(std::min(history_to_evict_, kEvictPackets), now_);
    history_to_evict_ -= evicted;
    counters_.pool_evicted.add(evicted);
}

PacketCount Worker::take_in() noexcept {
    PacketCount packets = 0;
    if (!replicate_.is_behind() || ++turns_without_rx_ > kTurnsWithoutRxMax) {
        turns_without_rx_ = 0;
        packets += take_arrived();
    }
    for (std::uint8_t owner = 0; owner < config_.worker_count; ++owner) {
        packets += take_shared(owner);
    }
    return packets;
}

/// From the NICs, and from the workers that others' packets arrive at.
PacketCount Worker::take_arrived() noexcept {
    PacketCount frames = 0;
    for (std::uint8_t port = 0; port < config_.port_count; ++port) {
        const Burst arrived = rx_.receive(port);
        store(classify_.by_stream(arrived, port), now_, replicate_);
        frames += static_cast<PacketCount>(arrived.size());
    }
    for (std::uint8_t sender = 0; sender < config_.worker_count; ++sender) {
        Burst arrived = rx_.take_over(sender);
        frames += static_cast<PacketCount>(arrived.size());
        while (!arrived.empty()) {
            const std::uint16_t port = arrived.front()->port;
            const std::size_t count = count_from_port(arrived, port);
            const auto index = static_cast<std::uint8_t>(port);
            store(classify_.by_stream(arrived.first(count), index), now_, replicate_);
            arrived = arrived.subspan(count);
        }
    }
    return frames;
}

/// Never more than the shares can take: see kShareWindowPackets.
PacketCount Worker::take_shared(std::uint8_t owner) noexcept {
    ShareRing* from = config_.shares_from[owner];
    if (from == nullptr) {
        return 0;
    }
    const std::size_t count = from->pop_bulk(shared_);
    store_shared(std::span{shared_}.first(count), counters_, replicate_);
    return static_cast<PacketCount>(count);
}

PacketCount Worker::apply_commands() noexcept {
    PacketCount applied = 0;
    if (owned_.is_closing()) {
        ++applied;
        if (!owned_.close_some()) {
            return applied;
        }
        counters_.applied_commands.add_and_release(1);
    }
    while (applied < kCommandsPerIteration && mailbox_.try_pop(command_)) {
        ++applied;
        apply_any(command_);
        if (owned_.is_closing()) {  // goes on in the next turns; what follows waits for it
            break;
        }
        counters_.applied_commands.add_and_release(1);
    }
    return applied;
}

void Worker::apply(const OpenStream& open) noexcept {
    classify_.open(*open.stream);
    if (open.stream->owner == config_.index) {
        owned_.add(*open.stream);
    }
}

void Worker::apply(const CloseStream& close) noexcept {
    classify_.close(*close.stream);
    if (close.stream->owner == config_.index) {
        replicate_.stop(*close.stream);
        owned_.begin_close(*close.stream);
    }
}

void Worker::apply(const CloseShare& close) noexcept {
    Stream& share = *close.share;
    // All it has been given is in the ring now, among what others are given meanwhile: as much as
    // the ring holds at most.
    for (std::size_t taken = 0; taken < kShareRingPackets; taken += shared_.size()) {
        take_shared(share.fed_by);
    }
    replicate_.stop(share);
    owned_.begin_close(share);
}

void Worker::apply(const SetPublisher& set) noexcept {
    set.stream->publisher = set.address;
    set.stream->publisher_v4 = publisher_key(set.address);
    set.stream->publisher_flow = set.flow;
}

void Worker::apply(const GrowFlows& grow) noexcept { replicate_.grow_flows(grow); }

}  // namespace penstock
