// What a copy costs from a stored packet to the driver, which drops it: store, replicate, tx.
#include "data_path/replicate.h"

#include "data_path/stream_ring.h"
#include "data_path/tx.h"
#include "data_server/stream_memory.h"
#include "micro/surroundings.h"
#include "rig/relay_rig.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace penstock::bench {
namespace {

constexpr std::uint32_t kRingPackets = 1'024;

struct Fanout {
    std::uint32_t consumers = 0;
    std::uint16_t payload_bytes = 0;
    bool history = true;
};

/// One stream with its consumers, and what fans it out.
class OneStream {
  public:
    OneStream(Surroundings& surroundings, const Fanout& fanout)
        : surroundings_(surroundings),
          payload_bytes_(fanout.payload_bytes),
          tx_(surroundings.config(), counters_),
          replicate_(surroundings.config(), counters_, tx_) {}
    ~OneStream() {
        if (stream_ != nullptr) {
            replicate_.stop(*stream_);
            stream_->ring.release(stream_->ring.packets());
        }
    }
    OneStream(const OneStream&) = delete;
    OneStream& operator=(const OneStream&) = delete;

    Result<void> open(const Fanout& fanout) {
        auto stream = memory_.make_stream({.udp_port = RelayRig::kFirstUdpPort,
                                           .owner = 0,
                                           .ring_packets = fanout.history ? kRingPackets : 0});
        if (!stream) {
            return std::move(stream).error();
        }
        stream_ = *stream;
        for (std::uint32_t i = 0; i < fanout.consumers; ++i) {
            if (auto added = add_flow(i); !added) {
                return added;
            }
        }
        return {};
    }

    /// Mbufs for a burst of content; whether there were enough.
    [[nodiscard]] bool receive() noexcept {
        std::array<rte_mbuf*, kRxBurstPackets> packets;
        if (rte_pktmbuf_alloc_bulk(
                surroundings_.received().get(), packets.data(), kRxBurstPackets) != 0) {
            return false;
        }
        for (std::size_t i = 0; i < packets.size(); ++i) {
            packets[i]->data_len = payload_bytes_;
            packets[i]->pkt_len = payload_bytes_;
            content_[i] = {.stream = stream_,
                           .packet = packets[i],
                           .payload_bytes = payload_bytes_,
                           .payload_sum = 0};
        }
        return true;
    }
    /// Turns, but for their ends, until every consumer has had the burst.
    void relay() noexcept {
        store(content_, 0, replicate_);
        while (replicate_.to_consumers(0) > 0) {
            tx_.send_all();
        }
        tx_.send_all();
    }
    [[nodiscard]] const WorkerCounters& counters() const noexcept { return counters_; }

  private:
    Result<void> add_flow(std::uint32_t number) {
        auto grow = memory_.reserve_flow(*stream_, 0, 1);
        if (!grow) {
            return std::move(grow).error();
        }
        if (const std::optional<GrowFlows>& more = *grow) {
            Replicate::grow_flows(*more);
        }
        auto flow = memory_.make_flow();
        if (!flow) {
            return std::move(flow).error();
        }
        const FlowAddresses addresses{.source_mac = surroundings_.config().ports[0].mac,
                                      .next_hop_mac = {{2, 0, 1, 0, 0, 1}},
                                      .source = {RelayRig::address_of(0), RelayRig::kFirstUdpPort},
                                      .destination = {IpAddress::v4(0x0b00'0000 + number), 5'000}};
        replicate_.add_flow({.stream = stream_,
                             .flow = *flow,
                             .headers = make_flow_headers(addresses),
                             .port = 0,
                             .history_packets = 0,
                             .history_ms = 0},
                            0,
                            rte_get_tsc_hz());
        return {};
    }

    Surroundings& surroundings_;
    std::uint16_t payload_bytes_;
    WorkerCounters counters_;
    StreamMemory memory_{kRingPackets, 1, 0};
    Tx tx_;
    Replicate replicate_;
    Stream* stream_ = nullptr;
    std::array<Content, kRxBurstPackets> content_{};
};

/// Returns: "", or what is wrong.
std::string measure(benchmark::State& state, Surroundings& surroundings, const Fanout& fanout) {
    OneStream stream(surroundings, fanout);
    if (auto opened = stream.open(fanout); !opened) {
        return opened.error().message;
    }
    WorkTime time(state);
    std::uint64_t packets = 0;
    while (state.KeepRunning()) {
        if (!stream.receive()) {
            return "the pool is empty: packets do not come back";
        }
        time.begin();
        stream.relay();
        time.end();
        packets += kRxBurstPackets;
    }
    const std::uint64_t expected = packets * fanout.consumers;
    const std::uint64_t made = stream.counters().copies.read();
    const std::uint64_t sent = stream.counters().ports[0].tx_packets.read();
    time.report("copy", expected);
    return made == expected && sent == expected
               ? ""
               : fmt::format("{} copies were due, {} made and {} sent", expected, made, sent);
}

void run(benchmark::State& state, Surroundings& surroundings) {
    const Fanout fanout{.consumers = static_cast<std::uint32_t>(state.range(0)),
                        .payload_bytes = static_cast<std::uint16_t>(state.range(1)),
                        .history = state.range(2) != 0};
    std::string wrong = measure(state, surroundings, fanout);
    if (const std::uint32_t missing = surroundings.mbufs_in_use(); missing > 0 && wrong.empty()) {
        wrong = fmt::format("{} mbufs did not come back to their pools", missing);
    }
    if (!wrong.empty()) {
        surroundings.fail(state, wrong);
    }
}

}  // namespace

void register_replicate(Surroundings& surroundings) {
    constexpr std::int64_t kSelfContained = 22;  // payload bytes
    constexpr std::int64_t kChained = 1'316;
    benchmark::internal::Benchmark* registered = benchmark::RegisterBenchmark(
        "replicate", [&surroundings](benchmark::State& state) { run(state, surroundings); });
    registered->ArgNames({"consumers", "payload", "history"})->UseManualTime();
    for (const std::int64_t payload : {kSelfContained, kChained}) {
        for (const std::int64_t consumers : {1, 8, 64}) {
            registered->Args({consumers, payload, 1});
        }
        registered->Args({1, payload, 0});  // in the mbuf it came in
    }
}

}  // namespace penstock::bench
