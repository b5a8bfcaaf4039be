#include "penstock_publish/udp_source.h"

#include "base/socket_address.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace penstock {
namespace {

constexpr int kReceiveBufferBytes = 4 << 20;

Error socket_error(const Endpoint& local, int number) {
    return {ErrorCode::system,
            fmt::format("cannot receive at {}: {}; give --udp a free port of this host",
                        to_string(local),
                        std::generic_category().message(number))};
}

}  // namespace

UdpSource::UdpSource(UniqueFd socket) : socket_(std::move(socket)) {
    for (std::size_t i = 0; i < headers_.size(); ++i) {
        vectors_[i] = {.iov_base = buffers_[i].data(), .iov_len = buffers_[i].size()};
        headers_[i].msg_hdr.msg_iov = &vectors_[i];
        headers_[i].msg_hdr.msg_iovlen = 1;
    }
}

Result<std::unique_ptr<UdpSource>> UdpSource::open(const Endpoint& local) {
    UniqueFd socket(
        ::socket(address_family(local.ip), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const SocketAddress address = to_socket_address(local);
    if (!socket || ::bind(socket.get(), address.get(), address.length) != 0) {
        return socket_error(local, errno);
    }
    // The first needs CAP_NET_ADMIN; the second is cut to the system's limit.
    const int bytes = kReceiveBufferBytes;
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    return std::unique_ptr<UdpSource>(new UdpSource(std::move(socket)));
}

Result<Endpoint> UdpSource::local() const {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        return socket_error({}, errno);
    }
    return to_endpoint(address);
}

std::size_t UdpSource::receive() {
    const int count = ::recvmmsg(socket_.get(),
                                 headers_.data(),
                                 static_cast<unsigned>(headers_.size()),
                                 MSG_DONTWAIT,
                                 nullptr);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
}

Result<void> UdpSource::start(MonotonicTime /*now*/) {
    // At most one socket buffer full, so that a flood cannot hold us here.
    for (std::size_t bytes = 0; bytes < 2 * std::size_t{kReceiveBufferBytes};) {
        const std::size_t count = receive();
        if (count == 0) {
            break;
        }
        bytes += count * kRoomBytes;
    }
    return {};
}

void UdpSource::stop(MonotonicTime /*now*/) {}

Result<SourceStep> UdpSource::fill(DatagramBatch& batch, MonotonicTime now) {
    const std::size_t count = receive();
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t bytes = headers_[i].msg_len;
        if (bytes > Publisher::kPayloadBytesMax) {
            ++too_long_;
            continue;
        }
        batch.add(std::span(buffers_[i]).first(bytes));
    }
    return SourceStep{.next_at = count == headers_.size() ? now : MonotonicTime::max(),
                      .wait_fd = socket_.get(),
                      .has_ended = false};
}

std::string UdpSource::take_notice() {
    if (too_long_ == 0 || std::exchange(said_too_long_, true)) {
        return {};
    }
    return fmt::format(
        "a datagram above {} bytes arrived and was left out, as will be all such: "
        "make the sender's smaller",
        Publisher::kPayloadBytesMax);
}

}  // namespace penstock
