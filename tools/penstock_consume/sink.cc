#include "penstock_consume/sink.h"

#include "base/socket_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <system_error>
#include <unistd.h>

namespace penstock {
namespace {

Error sink_error(ErrorCode code, const std::string& name, int number) {
    return {code,
            fmt::format("cannot write to {}: {}", name, std::generic_category().message(number))};
}

}  // namespace

Result<std::unique_ptr<Sink>> FileSink::open(const std::string& path,
                                             const std::atomic<bool>& stop_requested) {
    UniqueFd file;
    if (path != "-") {
        file = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        if (!file) {
            return sink_error(ErrorCode::invalid_argument, "'" + path + "'", errno);
        }
    }
    const std::string name = path == "-" ? "standard output" : "'" + path + "'";
    return std::unique_ptr<Sink>(new FileSink(name, std::move(file), stop_requested));
}

Result<void> FileSink::write(std::span<const Datagram> datagrams) {
    const int fd = file_ ? file_.get() : STDOUT_FILENO;
    joined_.clear();
    for (const Datagram& datagram : datagrams) {
        joined_.insert(joined_.end(), datagram.payload.begin(), datagram.payload.end());
    }
    for (std::size_t done = 0; done < joined_.size() && !stop_requested_;) {
        const ssize_t count = ::write(fd, joined_.data() + done, joined_.size() - done);
        if (count < 0 && errno == EAGAIN) {
            pollfd polled{.fd = fd, .events = POLLOUT, .revents = 0};
            ::poll(&polled, 1, 100);  // standard output was made non-blocking by somebody
        } else if (count < 0 && errno != EINTR) {
            return sink_error(ErrorCode::system, name_, errno);
        }
        done += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    return {};
}

Result<std::unique_ptr<Sink>> UdpSink::open(const Endpoint& to) {
    UniqueFd socket(::socket(address_family(to.ip), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const SocketAddress address = to_socket_address(to);
    if (!socket || ::connect(socket.get(), address.get(), address.length) != 0) {
        return sink_error(ErrorCode::system, to_string(to), errno);
    }
    return std::unique_ptr<Sink>(new UdpSink(std::move(socket)));
}

Result<void> UdpSink::write(std::span<const Datagram> datagrams) {
    while (!datagrams.empty()) {
        const std::size_t count = std::min(datagrams.size(), kBurst);
        for (std::size_t i = 0; i < count; ++i) {
            vectors_[i] = {.iov_base = const_cast<std::byte*>(datagrams[i].payload.data()),
                           .iov_len = datagrams[i].payload.size()};
            headers_[i].msg_hdr.msg_iov = &vectors_[i];
            headers_[i].msg_hdr.msg_iovlen = 1;
        }
        const int sent =
            ::sendmmsg(socket_.get(), headers_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
        // The one that was refused is left out; the others go on.
        datagrams = datagrams.subspan(sent > 0 ? static_cast<std::size_t>(sent) : 1);
    }
    return {};
}

}  // namespace penstock
