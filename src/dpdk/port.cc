#include "dpdk/port.h"

#include "dpdk/eal.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace penstock {
namespace {

constexpr std::uint32_t kAlways = 65535;
constexpr std::uint32_t kDefaultInlineBytes = 256;
/// Some drivers pad short frames by writing behind the last segment, which would be the shared
/// payload (bnxt, hns3, ark, enetfec): payloads below the shortest frame are never chained.
constexpr std::uint32_t kLeastInlineBytes = 64;

struct DriverMode {
    std::string_view driver;
    std::uint32_t inline_payload_bytes_max;
    bool from_rx_pool;
};
// clang-format off
constexpr std::array kDriverModes{
    // Sends pkt_len bytes from the first segment, whatever nb_segs says; and sends without a copy
    // of its own only from the pool it receives into (its UMEM).
    DriverMode{"net_af_xdp", kAlways, true},
    // Copies every frame into a queue of its own; an empty segment stops that queue.
    DriverMode{"net_gve",    kAlways, false},
    // Wants the first 96 bytes of a frame in one piece: a 42-byte header costs it a copy.
    DriverMode{"net_ena",    512,     false},
    // A chain takes an indirect table or three ring slots a packet; one mbuf takes one.
    DriverMode{"net_virtio", 512,     false},
};
// clang-format on

const DriverMode* mode_of(std::string_view driver) noexcept {
    const auto* found = std::find_if(kDriverModes.begin(),
                                     kDriverModes.end(),
                                     [&](const auto& mode) { return mode.driver == driver; });
    return found == kDriverModes.end() ? nullptr : found;
}

/// DPDK's words for a failed call, preferring what it logged over the bare code.
std::string reason_of(int result) {
    std::string logged = take_dpdk_error();
    return logged.empty() ? std::string{rte_strerror(-result)} : logged;
}

bool has_key(std::string_view devargs, std::string_view key) {
    const std::string needle = fmt::format(",{}=", key);
    return devargs.find(needle) != std::string_view::npos;
}

bool driver_counts_losses(std::string_view driver) noexcept {
    // They answer rte_eth_stats_get() with zeros that mean "not counted".
    constexpr std::array<std::string_view, 8> kSilent{"net_af_packet",
                                                      "net_af_xdp",
                                                      "net_memif",
                                                      "net_null",
                                                      "net_pcap",
                                                      "net_ring",
                                                      "net_tap",
                                                      "net_vhost"};
    return std::find(kSilent.begin(), kSilent.end(), driver) == kSilent.end();
}

Error port_error(ErrorCode code, const PortInfo& info, std::string_view what) {
    return Error{code, fmt::format("port {} ({}): {}", info.name, info.driver, what)};
}

}  // namespace

std::string_view device_name(std::string_view devargs) noexcept {
    return devargs.substr(0, devargs.find(','));
}

std::string complete_devargs(std::string_view devargs, std::uint16_t workers) {
    std::string complete{devargs};
    const auto want = [&](std::string_view key, const auto& value) {
        if (!has_key(devargs, key)) {
            complete += fmt::format(",{}={}", key, value);
        }
    };
    const std::string_view name = device_name(devargs);
    if (name.starts_with("net_af_packet")) {
        want("qpairs", workers);
        // A frame of 2048 holds 1500 bytes and the kernel's own header; 4096 of them are what a
        // burst of a few milliseconds needs (the default is 512). Blocks hold whole frames.
        if (!has_key(devargs, "framesz") && !has_key(devargs, "blocksz") &&
            !has_key(devargs, "framecnt")) {
            complete += ",blocksz=262144,framesz=2048,framecnt=4096";
        }
        want("qdisc_bypass", 1);
    } else if (name.starts_with("net_af_xdp")) {
        want("start_queue", 0);
        want("queue_count", workers);
    }
    return complete;
}

CopyMode copy_mode_of(std::string_view driver, std::optional<std::uint32_t> asked) noexcept {
    const DriverMode* mode = mode_of(driver);
    const std::uint32_t by_driver =
        mode != nullptr ? mode->inline_payload_bytes_max : kDefaultInlineBytes;
    if (!asked || by_driver == kAlways) {
        return {.inline_payload_bytes_max = by_driver};
    }
    return {.inline_payload_bytes_max = std::max(*asked, kLeastInlineBytes)};
}

bool copies_from_rx_pool(std::string_view driver) noexcept {
    const DriverMode* mode = mode_of(driver);
    return mode != nullptr && mode->from_rx_pool;
}

Result<PortInfo> Port::describe(const PortOptions& options) {
    PortInfo info;
    info.name = device_name(options.devargs);
    std::uint16_t id = 0;
    if (rte_eth_dev_get_port_by_name(info.name.c_str(), &id) != 0) {
        return Error{
            ErrorCode::not_found,
            fmt::format("no port came of --port {}: check the devargs, and for a NIC that it "
                        "is bound (dpdk-config/host/bind_nic.sh)",
                        options.devargs)};
    }
    rte_eth_dev_info device{};
    rte_ether_addr mac{};
    if (const int result = rte_eth_dev_info_get(id, &device); result != 0) {
        return port_error(ErrorCode::system, info, reason_of(result));
    }
    info.driver = device.driver_name;
    info.interface_index = device.if_index;
    if (const int result = rte_eth_macaddr_get(id, &mac); result != 0) {
        return port_error(ErrorCode::system, info, reason_of(result));
    }
    std::memcpy(info.mac.bytes.data(), mac.addr_bytes, info.mac.bytes.size());
    info.socket = std::max(rte_eth_dev_socket_id(id), 0);
    return info;
}

Result<Port> Port::open(const PortOptions& options, rte_mempool* rx_pool) {
    Result<PortInfo> info = describe(options);
    if (!info) {
        return std::move(info).error();
    }
    std::uint16_t id = 0;
    rte_eth_dev_get_port_by_name(info->name.c_str(), &id);
    Port port{id, std::move(info).value()};
    const CaughtOutput caught;  // libbpf and libxdp print as they please
    take_dpdk_error();
    if (const Result<void> configured = port.configure(options, rx_pool); !configured) {
        return configured.error();
    }
    return port;
}

Port::Port(std::uint16_t id, PortInfo info) noexcept : id_(id), info_(std::move(info)) {}

Port::Port(Port&& other) noexcept
    : id_(other.id_),
      open_(std::exchange(other.open_, false)),
      started_(std::exchange(other.started_, false)),
      info_(std::move(other.info_)),
      copy_mode_(other.copy_mode_),
      rx_descriptors_(other.rx_descriptors_),
      tx_descriptors_(other.tx_descriptors_) {}

Port::~Port() {
    stop();
    if (open_) {
        const CaughtOutput caught;
        rte_eth_dev_close(id_);
    }
}

Result<void> Port::configure(const PortOptions& options, rte_mempool* rx_pool) {
    rte_eth_dev_info device{};
    if (const int result = rte_eth_dev_info_get(id_, &device); result != 0) {
        return port_error(ErrorCode::system, info_, reason_of(result));
    }
    const std::uint16_t queues_max = std::min(device.max_rx_queues, device.max_tx_queues);
    if (options.workers > queues_max) {
        return port_error(
            ErrorCode::invalid_argument,
            info_,
            fmt::format("has {} RX and {} TX queues, one worker each; lower --workers "
                        "to {}",
                        device.max_rx_queues,
                        device.max_tx_queues,
                        queues_max));
    }
    const std::uint32_t frame_bytes = std::uint32_t{options.mtu} + kFrameOverheadBytes;
    if (frame_bytes + RTE_PKTMBUF_HEADROOM > rte_pktmbuf_data_room_size(rx_pool)) {
        return port_error(ErrorCode::invalid_argument,
                          info_,
                          fmt::format("an MTU of {} does not fit the packet pool's {} bytes",
                                      options.mtu,
                                      rte_pktmbuf_data_room_size(rx_pool)));
    }

    rte_eth_conf conf{};
    // Only what the driver offers; never RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE, whose packets must not
    // be shared. Checksums are ours on the way out: they cost a copy two additions.
    conf.rxmode.offloads = device.rx_offload_capa & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    conf.txmode.offloads = device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (options.workers > 1 &&
        (device.flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_UDP) != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
    }
    int result = rte_eth_dev_configure(id_, options.workers, options.workers, &conf);
    if (result != 0) {
        return port_error(
            ErrorCode::system,
            info_,
            fmt::format(
                "does not take {} RX and TX queues: {}", options.workers, reason_of(result)));
    }
    result = rte_eth_dev_set_mtu(id_, options.mtu);
    if (result != 0 && (result != -ENOTSUP || options.mtu > RTE_ETHER_MTU)) {
        return port_error(
            ErrorCode::invalid_argument,
            info_,
            fmt::format("does not take an MTU of {} (driver's largest: {}): {}; lower "
                        "--mtu",
                        options.mtu,
                        device.max_mtu,
                        reason_of(result)));
    }
    rx_descriptors_ = options.rx_descriptors;
    tx_descriptors_ = options.tx_descriptors;
    result = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_descriptors_, &tx_descriptors_);
    for (std::uint16_t queue = 0; result == 0 && queue < options.workers; ++queue) {
        const auto socket = static_cast<unsigned>(info_.socket);
        result = rte_eth_rx_queue_setup(id_, queue, rx_descriptors_, socket, nullptr, rx_pool);
        if (result == 0) {
            result = rte_eth_tx_queue_setup(id_, queue, tx_descriptors_, socket, nullptr);
        }
    }
    if (result != 0) {
        return port_error(
            ErrorCode::system,
            info_,
            fmt::format("queues cannot be set up with {} RX and {} TX descriptors: {}",
                        rx_descriptors_,
                        tx_descriptors_,
                        reason_of(result)));
    }
    copy_mode_ = copy_mode_of(info_.driver, options.inline_payload_bytes_max);
    return {};
}

Result<void> Port::start() {
    const CaughtOutput caught;
    take_dpdk_error();
    if (const int result = rte_eth_dev_start(id_); result != 0) {
        return port_error(
            ErrorCode::system, info_, fmt::format("does not start: {}", reason_of(result)));
    }
    started_ = true;
    return {};
}

void Port::stop() noexcept {
    if (std::exchange(started_, false)) {
        const CaughtOutput caught;
        rte_eth_dev_stop(id_);
    }
}

std::uint64_t Port::link_bits_per_second() const noexcept {
    constexpr std::uint64_t kBitsPerMegabit = 1'000'000;
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(id_, &link) != 0 || link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN) {
        return 0;
    }
    return link.link_speed * kBitsPerMegabit;
}

bool Port::link_is_up() const noexcept {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

PortLosses Port::losses() const noexcept {
    rte_eth_stats stats{};
    if (!driver_counts_losses(info_.driver) || rte_eth_stats_get(id_, &stats) != 0) {
        return {};
    }
    return {.missed = stats.imissed,
            .no_mbuf = stats.rx_nombuf,
            .rx_errors = stats.ierrors,
            .tx_errors = stats.oerrors};
}

}  // namespace penstock
