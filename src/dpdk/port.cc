#include "dpdk/port.h"

#include "dpdk/eal.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <system_error>
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

/// What Linux puts before a packet in the frame of a PF_PACKET ring, at least (packet(7),
/// TPACKET2_HDRLEN and the link-layer header's alignment).
constexpr std::uint32_t kPacketRingHeadBytes = 66;

/// Frame of a PF_PACKET ring that holds packets of `mtu` bytes, aligned as Linux wants it.
std::uint32_t af_packet_frame_bytes(std::uint32_t mtu) noexcept {
    constexpr std::uint32_t kAlignment = 16;
    constexpr std::uint32_t kUsual = 2048;
    const std::uint32_t needed = mtu + kFrameOverheadBytes + kPacketRingHeadBytes;
    return std::max((needed + kAlignment - 1) / kAlignment * kAlignment, kUsual);
}

/// Linux wants blocks of whole pages; the driver takes frame i to begin i frames into the ring, so
/// blocks must hold whole frames, too; and all blocks together exactly 4096 of them.
std::uint32_t af_packet_block_bytes(std::uint32_t frame_bytes) noexcept {
    constexpr std::uint32_t kPageBytes = 4096;
    const std::uint32_t block_bytes = 128 * frame_bytes;
    return block_bytes % kPageBytes == 0 ? block_bytes : 2 * block_bytes;
}

/// The number behind `key=` in devargs.
std::optional<std::uint32_t> number_of(std::string_view devargs, std::string_view key) {
    const std::string needle = fmt::format(",{}=", key);
    const std::size_t at = devargs.find(needle);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view rest = devargs.substr(at + needle.size());
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    return error == std::errc{} ? std::optional{number} : std::nullopt;
}

bool has_key(std::string_view devargs, std::string_view key) {
    const std::string needle = fmt::format(",{}=", key);
    return devargs.find(needle) != std::string_view::npos;
}

/// Unless the operator says himself which queues a device has.
bool is_one_device_per_worker(std::string_view devargs, std::uint16_t workers) {
    return workers > 1 && devargs.starts_with("net_af_xdp") && !has_key(devargs, "start_queue") &&
           !has_key(devargs, "queue_count");
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

/// Those that do not call their link up from start to stop, whatever happens to it.
bool driver_follows_link(std::string_view driver) noexcept {
    constexpr std::array<std::string_view, 5> kAlwaysUp{
        "net_af_packet", "net_af_xdp", "net_null", "net_pcap", "net_ring"};
    return std::find(kAlwaysUp.begin(), kAlwaysUp.end(), driver) == kAlwaysUp.end();
}

Error port_error(ErrorCode code, const PortInfo& info, std::string_view what) {
    return Error{code, fmt::format("port {} ({}): {}", info.name, info.driver, what)};
}

}  // namespace

std::string_view device_name(std::string_view devargs) noexcept {
    return devargs.substr(0, devargs.find(','));
}

std::string complete_devargs(std::string_view devargs, std::uint16_t workers, std::uint16_t mtu) {
    std::string complete{devargs};
    const auto want = [&](std::string_view key, const auto& value) {
        if (!has_key(devargs, key)) {
            complete += fmt::format(",{}={}", key, value);
        }
    };
    const std::string_view name = device_name(devargs);
    if (name.starts_with("net_af_packet")) {
        want("qpairs", workers);
        // 4096 frames are what a burst of a few milliseconds needs (the default is 512).
        if (!has_key(devargs, "framesz") && !has_key(devargs, "blocksz") &&
            !has_key(devargs, "framecnt")) {
            const std::uint32_t frame_bytes = af_packet_frame_bytes(mtu);
            complete += fmt::format(",blocksz={},framesz={},framecnt=4096",
                                    af_packet_block_bytes(frame_bytes),
                                    frame_bytes);
        }
        want("qdisc_bypass", 1);
    } else if (name.starts_with("net_af_xdp")) {
        want("start_queue", 0);
        want("queue_count", workers);
    }
    return complete;
}

std::vector<std::string> devices_of(std::string_view devargs,
                                    std::uint16_t workers,
                                    std::uint16_t mtu) {
    if (!is_one_device_per_worker(devargs, workers)) {
        return {complete_devargs(devargs, workers, mtu)};
    }
    const std::string_view name = device_name(devargs);
    const std::string_view rest = devargs.substr(name.size());
    std::vector<std::string> devices;
    for (std::uint16_t worker = 0; worker < workers; ++worker) {
        const std::string suffix = worker == 0 ? "" : fmt::format("_{}", worker);
        devices.push_back(
            fmt::format("{}{}{},start_queue={},queue_count=1", name, suffix, rest, worker));
    }
    return devices;
}

Result<void> check_interface_queues(std::string_view devargs, std::uint16_t workers) {
    if (!is_one_device_per_worker(devargs, workers)) {
        return {};
    }
    const std::string interface = interface_of(devargs);
    std::uint16_t queues = 0;
    std::error_code error;
    const std::filesystem::path directory = "/sys/class/net/" + interface + "/queues";
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        queues += entry.path().filename().string().starts_with("rx-") ? 1 : 0;
    }
    if (error || queues >= workers) {
        return {};  // an interface that is not there is for DPDK to complain about
    }
    return Error{ErrorCode::invalid_argument,
                 fmt::format("interface {} has {} RX queue(s) for {} workers of {}, one each: "
                             "lower --workers to {} or give the interface more queues",
                             interface,
                             queues,
                             workers,
                             device_name(devargs),
                             queues)};
}

std::string interface_of(std::string_view devargs) {
    constexpr std::string_view kKey = ",iface=";
    const std::size_t at = devargs.find(kKey);
    if (at == std::string_view::npos) {
        return {};
    }
    const std::string_view value = devargs.substr(at + kKey.size());
    return std::string(value.substr(0, value.find(',')));
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
        const std::string logged = take_dpdk_error();
        return Error{ErrorCode::not_found,
                     fmt::format("no port came of --port {}{}{}: check the devargs, and for a NIC "
                                 "that it is bound (dpdk-config/host/bind_nic.sh)",
                                 options.devargs,
                                 logged.empty() ? "" : ": ",
                                 logged)};
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
    Port port{std::move(info).value()};
    const CaughtOutput caught;  // libbpf and libxdp print as they please
    take_dpdk_error();
    for (const std::string& device : devices_of(options.devargs, options.workers, options.mtu)) {
        const std::string name{device_name(device)};
        if (auto added = port.add_device(options, name, rx_pool); !added) {
            return std::move(added).error();
        }
    }
    return port;
}

Result<void> Port::add_device(const PortOptions& options,
                              const std::string& name,
                              rte_mempool* pool) {
    std::uint16_t id = 0;
    if (const int result = rte_eth_dev_get_port_by_name(name.c_str(), &id); result != 0) {
        return port_error(ErrorCode::not_found,
                          info_,
                          fmt::format("has no device {}: {}", name, reason_of(result)));
    }
    ids_.push_back(id);
    return configure(id, options, pool);
}

Port::Port(Port&& other) noexcept
    : ids_(std::exchange(other.ids_, {})),
      started_(std::exchange(other.started_, 0)),
      info_(std::move(other.info_)),
      copy_mode_(other.copy_mode_),
      rx_descriptors_(other.rx_descriptors_),
      tx_descriptors_(other.tx_descriptors_) {}

Port::~Port() {
    stop();
    if (ids_.empty()) {
        return;
    }
    const CaughtOutput caught;
    for (const std::uint16_t id : ids_) {
        rte_eth_dev_close(id);
    }
}

PortQueue Port::queue_of(std::size_t worker) const noexcept {
    if (ids_.size() > 1) {
        return {.port_id = ids_[worker], .queue = 0};
    }
    return {.port_id = ids_.front(), .queue = static_cast<std::uint16_t>(worker)};
}

/// Whether every frame the port may receive fits a packet of the pool.
Result<void> Port::check_packet_room(const PortOptions& options, rte_mempool* rx_pool) const {
    const std::uint32_t frame_bytes = std::uint32_t{options.mtu} + kFrameOverheadBytes;
    if (frame_bytes + RTE_PKTMBUF_HEADROOM > rte_pktmbuf_data_room_size(rx_pool)) {
        return port_error(ErrorCode::invalid_argument,
                          info_,
                          fmt::format("an MTU of {} does not fit the packet pool's {} bytes",
                                      options.mtu,
                                      rte_pktmbuf_data_room_size(rx_pool)));
    }

    // The driver copies a whole frame of its ring into one mbuf without looking at its size.
    const std::uint32_t ring_frame_bytes = number_of(options.devargs, "framesz").value_or(0);
    const std::uint32_t room = rte_pktmbuf_data_room_size(rx_pool) - RTE_PKTMBUF_HEADROOM;
    if (info_.driver == "net_af_packet" && ring_frame_bytes > room + kPacketRingHeadBytes) {
        return port_error(ErrorCode::invalid_argument,
                          info_,
                          fmt::format("framesz={} is more than a packet's {} bytes here; lower it "
                                      "to {} or raise --mtu",
                                      ring_frame_bytes,
                                      room,
                                      room / 16 * 16));
    }
    return {};
}

Result<void> Port::configure(std::uint16_t id, const PortOptions& options, rte_mempool* rx_pool) {
    rte_eth_dev_info device{};
    if (const int result = rte_eth_dev_info_get(id, &device); result != 0) {
        return port_error(ErrorCode::system, info_, reason_of(result));
    }
    const bool is_one_per_worker = is_one_device_per_worker(options.devargs, options.workers);
    const std::uint16_t queues = is_one_per_worker ? 1 : options.workers;
    const std::uint16_t queues_max = std::min(device.max_rx_queues, device.max_tx_queues);
    if (queues > queues_max) {
        return port_error(
            ErrorCode::invalid_argument,
            info_,
            fmt::format("has {} RX and {} TX queues, one worker each; lower --workers "
                        "to {}",
                        device.max_rx_queues,
                        device.max_tx_queues,
                        queues_max));
    }
    if (auto fits = check_packet_room(options, rx_pool); !fits) {
        return fits;
    }
    rte_eth_conf conf{};
    // Only what the driver offers; never RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE, whose packets must not
    // be shared. Checksums are ours on the way out: they cost a copy two additions.
    conf.rxmode.offloads = device.rx_offload_capa & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    conf.txmode.offloads = device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (queues > 1 && (device.flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_UDP) != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
    }
    int result = rte_eth_dev_configure(id, queues, queues, &conf);
    if (result != 0) {
        return port_error(
            ErrorCode::system,
            info_,
            fmt::format("does not take {} RX and TX queues: {}", queues, reason_of(result)));
    }
    result = rte_eth_dev_set_mtu(id, options.mtu);
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
    if (auto set_up = set_up_queues(id, queues, rx_pool); !set_up) {
        return set_up;
    }
    copy_mode_ = copy_mode_of(info_.driver, options.inline_payload_bytes_max);
    return {};
}

Result<void> Port::set_up_queues(std::uint16_t id, std::uint16_t queues, rte_mempool* rx_pool) {
    int result = rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx_descriptors_, &tx_descriptors_);
    for (std::uint16_t queue = 0; result == 0 && queue < queues; ++queue) {
        const auto socket = static_cast<unsigned>(info_.socket);
        result = rte_eth_rx_queue_setup(id, queue, rx_descriptors_, socket, nullptr, rx_pool);
        if (result == 0) {
            result = rte_eth_tx_queue_setup(id, queue, tx_descriptors_, socket, nullptr);
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
    return {};
}

Result<void> Port::start() {
    const CaughtOutput caught;
    take_dpdk_error();
    for (; started_ < ids_.size(); ++started_) {
        if (const int result = rte_eth_dev_start(ids_[started_]); result != 0) {
            return port_error(
                ErrorCode::system, info_, fmt::format("does not start: {}", reason_of(result)));
        }
    }
    return {};
}

void Port::stop() noexcept {
    if (started_ == 0) {
        return;
    }
    const CaughtOutput caught;
    for (; started_ > 0; --started_) {
        rte_eth_dev_stop(ids_[started_ - 1]);
    }
}

std::uint64_t Port::link_bits_per_second() const noexcept {
    constexpr std::uint64_t kBitsPerMegabit = 1'000'000;
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(id(), &link) != 0 || link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN) {
        return 0;
    }
    return link.link_speed * kBitsPerMegabit;
}

LinkState Port::link() const noexcept {
    if (!driver_follows_link(info_.driver)) {
        return info_.interface_index != 0 ? linux_link(info_.interface_index) : LinkState::unknown;
    }
    rte_eth_link link{};
    if (rte_eth_link_get_nowait(id(), &link) != 0) {
        return LinkState::unknown;
    }
    return link.link_status == RTE_ETH_LINK_UP ? LinkState::up : LinkState::down;
}

PortLosses Port::losses() const noexcept {
    rte_eth_stats stats{};
    if (!driver_counts_losses(info_.driver) || rte_eth_stats_get(id(), &stats) != 0) {
        return {};
    }
    return {.missed = stats.imissed,
            .no_mbuf = stats.rx_nombuf,
            .rx_errors = stats.ierrors,
            .tx_errors = stats.oerrors};
}

}  // namespace penstock
