#pragma once

#include "base/net_address.h"
#include "dpdk/linux_link.h"
#include "dpdk/port_limits.h"

#include <penstock/result.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct rte_mempool;

namespace penstock {

inline constexpr std::uint16_t kMtuMin = 576;  // RFC 791: what every host takes
inline constexpr std::uint16_t kMtuMax = 9000;
/// Bytes of a frame around its IP packet: Ethernet header and one VLAN tag.
inline constexpr std::uint16_t kFrameOverheadBytes = 18;

struct PortOptions {
    std::string devargs;                  // "net_af_packet0,iface=data0", "0000:01:00.0"
    std::uint16_t workers = 1;            // RX and TX queues: one each per worker
    std::uint16_t rx_descriptors = 1024;  // 64..kRxDescriptorsMax, rounded to what the driver takes
    std::uint16_t tx_descriptors = 1024;  // 64..kTxDescriptorsMax
    std::uint16_t mtu = 1500;             // kMtuMin..kMtuMax
    std::optional<std::uint32_t> inline_payload_bytes_max;  // absent: by driver
};

/// What a port is, asked of its driver.
struct PortInfo {
    std::string name;    // DPDK's: "net_af_packet0", "0000:01:00.0"
    std::string driver;  // "net_af_packet"
    MacAddress mac;
    std::uint32_t interface_index = 0;  // of the Linux interface it shares, 0 if none
    int socket = 0;                     // NUMA node
};

/// How many packets were lost before a worker saw them, or after it sent them; absent where the
/// driver does not count.
struct PortLosses {
    std::optional<std::uint64_t> missed;   // RX queue full
    std::optional<std::uint64_t> no_mbuf;  // RX pool empty
    std::optional<std::uint64_t> rx_errors;
    std::optional<std::uint64_t> tx_errors;
};

/// The devargs with what a driver needs to serve `workers` workers with packets of `mtu` bytes,
/// where the operator did not say it: queues, and rings large enough for bursts. Pure.
std::string complete_devargs(std::string_view devargs, std::uint16_t workers, std::uint16_t mtu);
/// The devices that make up a port for `workers` workers: one, or with net_af_xdp one per worker,
/// each on a queue of its own of the same interface ("net_af_xdp0", "net_af_xdp0_1", ...): its
/// driver gives several queues to one device only where the interface counts combined channels.
/// Pure.
std::vector<std::string> devices_of(std::string_view devargs,
                                    std::uint16_t workers,
                                    std::uint16_t mtu);
/// Whether the Linux interface has a queue for each such device. Errors: invalid_argument, naming
/// interface, queues and workers.
Result<void> check_interface_queues(std::string_view devargs, std::uint16_t workers);
/// The Linux interface that devargs name, "data0" of "net_af_packet0,iface=data0"; "" if none.
std::string interface_of(std::string_view devargs);
/// "net_af_packet0" of "net_af_packet0,iface=data0".
std::string_view device_name(std::string_view devargs) noexcept;

/// The driver's copy mode, or with `asked` the operator's as far as the driver allows. Pure.
CopyMode copy_mode_of(std::string_view driver, std::optional<std::uint32_t> asked) noexcept;
/// Whether copies must come from the pool that the port receives into.
bool copies_from_rx_pool(std::string_view driver) noexcept;

/// Where a worker polls and sends.
struct PortQueue {
    std::uint16_t port_id;  // DPDK's
    std::uint16_t queue;    // of its RX and of its TX queues
};

/// One started port, of one device or one per worker. Set-up only; workers use their queue of it.
/// Thread: main.
class Port {
  public:
    /// Finds the first device that Eal::start() made of `options.devargs`. Errors: not_found.
    static Result<PortInfo> describe(const PortOptions& options);

    /// Configures the devices and their queues, receiving into `rx_pool`. Not started.
    /// Errors: system or invalid_argument, naming port, driver and limit.
    static Result<Port> open(const PortOptions& options, rte_mempool* rx_pool);
    Port(Port&& other) noexcept;
    Port& operator=(Port&&) = delete;
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;
    /// Stops and closes the devices; no worker may use them any more.
    ~Port();

    Result<void> start();
    void stop() noexcept;

    /// Of the first device.
    [[nodiscard]] std::uint16_t id() const noexcept { return ids_.front(); }
    /// `worker`: 0..workers-1.
    [[nodiscard]] PortQueue queue_of(std::size_t worker) const noexcept;
    [[nodiscard]] const PortInfo& info() const noexcept { return info_; }
    [[nodiscard]] CopyMode copy_mode() const noexcept { return copy_mode_; }
    /// As granted by the driver.
    [[nodiscard]] std::uint16_t rx_descriptors() const noexcept { return rx_descriptors_; }
    [[nodiscard]] std::uint16_t tx_descriptors() const noexcept { return tx_descriptors_; }
    /// Bits per second, 0 if the driver does not know. May change while the port runs.
    [[nodiscard]] std::uint64_t link_bits_per_second() const noexcept;
    /// Of the first device: as its driver says, or Linux if the driver only passes its packets on;
    /// unknown for drivers that always say "up". One or two system calls with the latter.
    [[nodiscard]] LinkState link() const noexcept;
    [[nodiscard]] PortLosses losses() const noexcept;

  private:
    explicit Port(PortInfo info) noexcept : info_(std::move(info)) {}
    Result<void> add_device(const PortOptions& options, const std::string& name, rte_mempool* pool);
    [[nodiscard]] Result<void> check_packet_room(const PortOptions& options,
                                                 rte_mempool* rx_pool) const;
    Result<void> configure(std::uint16_t id, const PortOptions& options, rte_mempool* rx_pool);
    Result<void> set_up_queues(std::uint16_t id, std::uint16_t queues, rte_mempool* rx_pool);

    std::vector<std::uint16_t> ids_;  // of the devices; none once moved away
    std::size_t started_ = 0;         // of them
    PortInfo info_;
    CopyMode copy_mode_{};
    std::uint16_t rx_descriptors_ = 0;
    std::uint16_t tx_descriptors_ = 0;
};

}  // namespace penstock
