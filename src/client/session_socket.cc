#include "client/session_socket.h"

#include "base/socket_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace penstock {
namespace {

void set_buffer(int fd, int force, int plain, std::uint32_t bytes) noexcept {
    const int size = static_cast<int>(std::min<std::uint32_t>(bytes, 1U << 30U));
    if (bytes > 0 && ::setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) != 0) {
        ::setsockopt(fd, SOL_SOCKET, plain, &size, sizeof(size));
    }
}

}  // namespace

Error system_error(const std::string& what, int number) {
    return {ErrorCode::system,
            fmt::format("{}: {}", what, std::generic_category().message(number))};
}

ReceivedBatch::ReceivedBatch() {
    for (std::size_t i = 0; i < kDatagramsMax; ++i) {
        vectors_[i] = {.iov_base = buffers_[i].data(), .iov_len = buffers_[i].size()};
        headers_[i].msg_hdr.msg_iov = &vectors_[i];
        headers_[i].msg_hdr.msg_iovlen = 1;
        headers_[i].msg_hdr.msg_name = &addresses_[i];
        headers_[i].msg_hdr.msg_namelen = sizeof(addresses_[i]);
        headers_[i].msg_hdr.msg_control = controls_[i].bytes.data();
        headers_[i].msg_hdr.msg_controllen = kControlBytes;
    }
}

std::size_t ReceivedBatch::receive(int fd, std::size_t most) {
    const auto room = static_cast<unsigned>(std::min(most, kDatagramsMax));
    const int count = ::recvmmsg(fd, headers_.data(), room, MSG_DONTWAIT, nullptr);
    if (count <= 0) {
        return 0;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        read_control(i);
        headers_[i].msg_hdr.msg_namelen = sizeof(addresses_[i]);
        headers_[i].msg_hdr.msg_controllen = kControlBytes;
    }
    return static_cast<std::size_t>(count);
}

void ReceivedBatch::read_control(std::size_t index) noexcept {
    msghdr& header = headers_[index].msg_hdr;
    stamps_[index] = std::chrono::nanoseconds{0};
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET) {
            continue;
        }
        if (part->cmsg_type == SCM_TIMESTAMPNS) {
            timespec stamp{};
            std::memcpy(&stamp, CMSG_DATA(part), sizeof(stamp));
            stamps_[index] =
                std::chrono::seconds{stamp.tv_sec} + std::chrono::nanoseconds{stamp.tv_nsec};
        } else if (part->cmsg_type == SO_RXQ_OVFL) {
            std::uint32_t total = 0;
            std::memcpy(&total, CMSG_DATA(part), sizeof(total));
            overflows_ += total - overflows_seen_;  // modulo 2^32, like the kernel's counter
            overflows_seen_ = total;
        }
    }
}

std::span<const std::byte> ReceivedBatch::payload(std::size_t index) const noexcept {
    return std::span(buffers_[index]).first(headers_[index].msg_len);
}

Endpoint ReceivedBatch::from(std::size_t index) const noexcept {
    return to_endpoint(addresses_[index]);
}

bool ReceivedBatch::is_from(std::size_t index, const Endpoint& endpoint) const noexcept {
    return to_endpoint(addresses_[index]) == endpoint;
}

std::chrono::nanoseconds ReceivedBatch::received_at(std::size_t index) const noexcept {
    return stamps_[index];
}

Result<UniqueFd> open_udp_socket(const SocketOptions& options) {
    UniqueFd fd(::socket(options.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) {
        return system_error("cannot open a UDP socket", errno);
    }
    set_buffer(fd.get(), SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer_bytes);
    set_buffer(fd.get(), SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer_bytes);
    if (options.stamps) {
        const int on = 1;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
    }
    const SocketAddress local = to_socket_address(options.local);
    if (!options.local.ip.is_unspecified() || options.local.port != 0) {
        if (::bind(fd.get(), local.get(), local.length) != 0) {
            return system_error("cannot bind to " + to_string(options.local), errno);
        }
    }
    return fd;
}

Result<void> connect_socket(int fd, const Endpoint& peer) {
    const SocketAddress address = to_socket_address(peer);
    if (::connect(fd, address.get(), address.length) != 0) {
        return system_error("cannot reach " + to_string(peer), errno);
    }
    return {};
}

void send_datagram(int fd, const Endpoint& to, std::span<const std::byte> payload) noexcept {
    const SocketAddress address = to_socket_address(to);
    // Lost like any datagram if the kernel refuses it: session messages are repeated by their
    // clock.
    static_cast<void>(
        ::sendto(fd, payload.data(), payload.size(), MSG_NOSIGNAL, address.get(), address.length));
}

void send_datagram(int fd, std::span<const std::byte> payload) noexcept {
    static_cast<void>(::send(fd, payload.data(), payload.size(), MSG_NOSIGNAL));
}

Result<IpAddress> parse_bind_address(const std::string& text) {
    if (text.empty()) {
        return IpAddress::v4(0);
    }
    Result<IpAddress> address = parse_ip_address(text);
    if (!address) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("bind address '{}' is not an IP address; give one of this host's, "
                                 "like 10.0.0.1",
                                 text)};
    }
    return address;
}

}  // namespace penstock
