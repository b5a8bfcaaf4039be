#pragma once

#include "base/net_address.h"
#include "base/unique_fd.h"

#include <penstock/result.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <netinet/in.h>
#include <span>
#include <string>
#include <sys/socket.h>

namespace penstock {

/// Datagrams taken by one recvmmsg: buffers made once, used for ever.
class ReceivedBatch {
  public:
    static constexpr std::size_t kDatagramsMax = 64;
    static constexpr std::size_t kDatagramBytesMax = 2048;  // above any 1500-byte MTU's payload

    ReceivedBatch();
    ReceivedBatch(const ReceivedBatch&) = delete;
    ReceivedBatch& operator=(const ReceivedBatch&) = delete;

    /// Takes what is there, at most `most` (1..kDatagramsMax) datagrams; never blocks. A pending
    /// error of the socket (an ICMP answer to what was sent) is taken as nothing received.
    /// Returns: datagrams received; what was received before is gone.
    std::size_t receive(int fd, std::size_t most);

    [[nodiscard]] std::span<const std::byte> payload(std::size_t index) const noexcept;
    [[nodiscard]] Endpoint from(std::size_t index) const noexcept;
    /// Whether the datagram came from there; cheaper than comparing from().
    [[nodiscard]] bool is_from(std::size_t index, const Endpoint& endpoint) const noexcept;
    /// CLOCK_REALTIME, by the kernel; 0 if the socket does not stamp.
    [[nodiscard]] std::chrono::nanoseconds received_at(std::size_t index) const noexcept;
    /// Datagrams that the kernel dropped for want of room, since the socket was opened. 32 bits
    /// there; made 64 here as long as it is looked at before it wraps twice.
    [[nodiscard]] std::uint64_t overflows() const noexcept { return overflows_; }

  private:
    void read_control(std::size_t index) noexcept;

    // Room for SO_TIMESTAMPNS and SO_RXQ_OVFL.
    static constexpr std::size_t kControlBytes =
        CMSG_SPACE(sizeof(timespec)) + CMSG_SPACE(sizeof(std::uint32_t));
    struct alignas(cmsghdr) Control {
        std::array<std::byte, kControlBytes> bytes;
    };

    std::array<std::array<std::byte, kDatagramBytesMax>, kDatagramsMax> buffers_{};
    std::array<mmsghdr, kDatagramsMax> headers_{};
    std::array<iovec, kDatagramsMax> vectors_{};
    std::array<sockaddr_storage, kDatagramsMax> addresses_{};
    std::array<Control, kDatagramsMax> controls_{};
    std::array<std::chrono::nanoseconds, kDatagramsMax> stamps_{};
    std::uint32_t overflows_seen_ = 0;
    std::uint64_t overflows_ = 0;
};

struct SocketOptions {
    int family = AF_INET;
    Endpoint local;                          // 0.0.0.0:0 or [::]:0 for any
    std::uint32_t receive_buffer_bytes = 0;  // 0: the system's default
    std::uint32_t send_buffer_bytes = 0;
    bool stamps = false;  // SO_TIMESTAMPNS and SO_RXQ_OVFL
};

/// A UDP socket, non-blocking. Buffers are asked for with SO_*BUFFORCE first, which needs
/// CAP_NET_ADMIN, then within the system's limit.
/// Errors: system.
Result<UniqueFd> open_udp_socket(const SocketOptions& options);
/// Sends and receives only with `peer` from now on. Errors: system.
Result<void> connect_socket(int fd, const Endpoint& peer);
/// One datagram; what the kernel refuses is lost like any datagram.
void send_datagram(int fd, const Endpoint& to, std::span<const std::byte> payload) noexcept;
void send_datagram(int fd, std::span<const std::byte> payload) noexcept;  // of a connected socket

/// "" is any IPv4 address. Errors: invalid_argument, naming the option `--bind`.
Result<IpAddress> parse_bind_address(const std::string& text);

/// `what: ` and the words for errno.
Error system_error(const std::string& what, int number);

}  // namespace penstock
