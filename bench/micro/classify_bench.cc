// What it costs to find out what a frame is.
#include "data_path/classify.h"

#include "data_path/packet_headers.h"
#include "micro/surroundings.h"
#include "rig/capture_file.h"
#include "rig/relay_rig.h"
#include "wire/session_messages.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace penstock::bench {
namespace {

using Frame = std::vector<std::uint8_t>;

/// Frames of one burst, and what has to become of them.
struct Mix {
    std::vector<Frame> frames;  // kRxBurstPackets
    std::size_t content = 0;
    std::size_t session_messages = 0;
    std::size_t exceptions = 0;
    std::size_t unknown_stream = 0;
    std::size_t ip_checksum_wrong = 0;
};

Frame frame_to(const WorkerPort& port,
               std::uint16_t udp_port,
               const Endpoint& from,
               std::span<const std::byte> payload) {
    CaptureContent content;
    content.to_mac = port.mac;
    content.to = port.address;
    content.from = from;
    std::vector<std::uint8_t> bytes(payload.size());
    std::memcpy(bytes.data(), payload.data(), payload.size());
    return frame_of(content, udp_port, bytes);
}

Frame content_frame(const WorkerPort& port, std::uint16_t udp_port) {
    constexpr std::array<std::byte, 22> kPayload{};
    return frame_to(port, udp_port, RelayRig::publisher(), kPayload);
}

Frame arp_request() {
    constexpr std::size_t kFrameBytesMin = 60;
    Frame frame(kFrameBytesMin);
    std::fill_n(frame.begin(), RTE_ETHER_ADDR_LEN, std::uint8_t{0xff});
    const std::uint16_t type = to_network(std::uint16_t{RTE_ETHER_TYPE_ARP});
    std::memcpy(&frame[offsetof(rte_ether_hdr, ether_type)], &type, sizeof(type));
    return frame;
}

Mix plain_content(const WorkerPort& port) {
    return {.frames = std::vector(kRxBurstPackets, content_frame(port, RelayRig::kFirstUdpPort)),
            .content = kRxBurstPackets};
}

/// Content with something else among it, as a data server sees it while consumers join: every
/// sixth frame, so that no branch is always right.
Mix mixed_verdicts(const WorkerPort& port) {
    const Endpoint consumer{IpAddress::v4(0x0b00'0001), 5'000};
    JoinMessage join{};
    join.header = make_header<JoinMessage>(MessageType::join);
    Frame damaged = content_frame(port, RelayRig::kFirstUdpPort);
    damaged[kIpv4ChecksumAt] ^= 0xffU;
    const Frame message = frame_to(port, RelayRig::kFirstUdpPort, consumer, bytes_of(join));
    const Frame unknown = content_frame(port, RelayRig::kFirstUdpPort + 1);
    Mix mix = plain_content(port);
    mix.frames[3] = mix.frames[21] = message;
    mix.frames[9] = arp_request();
    mix.frames[15] = unknown;
    mix.frames[27] = damaged;
    mix.content = kRxBurstPackets - 5;
    mix.session_messages = 2;
    mix.exceptions = mix.unknown_stream = mix.ip_checksum_wrong = 1;
    return mix;
}

/// Makes mbufs of the frames; whether there were enough.
bool receive(Surroundings& surroundings, const Mix& mix, std::span<rte_mbuf*> burst) {
    const auto count = static_cast<unsigned>(burst.size());
    if (rte_pktmbuf_alloc_bulk(surroundings.received().get(), burst.data(), count) != 0) {
        return false;
    }
    for (std::size_t i = 0; i < burst.size(); ++i) {
        const Frame& frame = mix.frames[i];
        const auto bytes = static_cast<std::uint16_t>(frame.size());
        std::memcpy(rte_pktmbuf_append(burst[i], bytes), frame.data(), bytes);
    }
    return true;
}

std::string books_of(const WorkerCounters& counters,
                     const Mix& mix,
                     std::uint64_t content,
                     std::uint64_t bursts) {
    const auto dropped = [&counters](DropReason reason) {
        return counters.drops[static_cast<std::size_t>(reason)].read();
    };
    const std::array<std::uint64_t, 5> found{content,
                                             counters.session_messages.read(),
                                             counters.exceptions.read(),
                                             dropped(DropReason::unknown_stream),
                                             dropped(DropReason::ip_checksum_wrong)};
    const std::array<std::uint64_t, 5> expected{bursts * mix.content,
                                                bursts * mix.session_messages,
                                                bursts * mix.exceptions,
                                                bursts * mix.unknown_stream,
                                                bursts * mix.ip_checksum_wrong};
    return found == expected ? ""
                             : fmt::format("frames were taken for [{}], not for [{}]",
                                           fmt::join(found, ", "),
                                           fmt::join(expected, ", "));
}

void run(benchmark::State& state, Surroundings& surroundings, const Mix& mix) {
    WorkerCounters counters;
    Classify classify(surroundings.config(), counters);
    Stream stream;
    stream.udp_port = RelayRig::kFirstUdpPort;
    stream.publisher = RelayRig::publisher();
    stream.publisher_v4 = publisher_key(stream.publisher);
    classify.open(stream);
    WorkTime time(state);
    std::uint64_t bursts = 0;
    std::uint64_t content = 0;
    while (state.KeepRunning()) {
        std::array<rte_mbuf*, kRxBurstPackets> burst;
        if (!receive(surroundings, mix, burst)) {
            surroundings.fail(state, "the pool is empty: frames do not come back");
            return;
        }
        time.begin();
        const ContentBurst found = classify.by_stream(burst, 0);
        time.end();
        for (const Content& one : found) {
            rte_pktmbuf_free(one.packet);
        }
        surroundings.empty_rings();
        content += found.size();
        ++bursts;
    }
    classify.close(stream);
    time.report("frame", bursts * kRxBurstPackets);
    if (const std::string wrong = books_of(counters, mix, content, bursts); !wrong.empty()) {
        surroundings.fail(state, wrong);
    } else if (surroundings.mbufs_in_use() != 0) {
        surroundings.fail(state, "frames did not come back to their pool");
    }
}

}  // namespace

void register_classify(Surroundings& surroundings) {
    const WorkerPort& port = surroundings.config().ports[0];
    for (const auto& [name, mix] : {std::pair{"classify/plain_content", plain_content(port)},
                                    std::pair{"classify/mixed_verdicts", mixed_verdicts(port)}}) {
        benchmark::RegisterBenchmark(name, [&surroundings, mix = mix](benchmark::State& state) {
            run(state, surroundings, mix);
        })->UseManualTime();
    }
}

}  // namespace penstock::bench
