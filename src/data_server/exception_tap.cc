#include "data_server/exception_tap.h"

#include <fmt/format.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>

namespace penstock {
namespace {

constexpr const char* kTunDevice = "/dev/net/tun";
constexpr std::size_t kSegmentsMax = 8;

Error tap_error(const std::string& name, std::string_view step, int error) {
    const std::string_view remedy =
        error == EPERM || error == EACCES    ? "; run as root or with CAP_NET_ADMIN"
        : error == ENOENT || error == ENODEV ? "; load the kernel module tun"
        : error == EBUSY || error == EINVAL  ? "; the name is taken, choose another --tap-name"
                                             : "";
    return {ErrorCode::system,
            fmt::format("cannot make TAP {}: {}: {}{}",
                        name,
                        step,
                        std::generic_category().message(error),
                        remedy)};
}

}  // namespace

Result<ExceptionTap> ExceptionTap::open(const std::string& name, const LinkSettings& settings) {
    ExceptionTap tap;
    tap.fd_ = UniqueFd(::open(kTunDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!tap.fd_) {
        return tap_error(name, kTunDevice, errno);
    }
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (::ioctl(tap.fd_.get(), TUNSETIFF, &request) != 0) {
        return tap_error(name, "TUNSETIFF", errno);
    }
    tap.name_ = request.ifr_name;
    tap.if_index_ = ::if_nametoindex(request.ifr_name);
    auto socket = open_netlink();
    if (!socket) {
        return std::move(socket).error();
    }
    if (auto configured = configure_link(**socket, tap.if_index_, settings); !configured) {
        return Error{configured.error().code,
                     fmt::format("TAP {}: {}", tap.name_, configured.error().message)};
    }
    return tap;
}

void ExceptionTap::to_linux(Burst frames) noexcept {
    for (const rte_mbuf* frame : frames) {
        std::array<iovec, kSegmentsMax> parts{};
        const std::size_t count = std::min<std::size_t>(frame->nb_segs, parts.size());
        const rte_mbuf* segment = frame;
        for (std::size_t i = 0; i < count; ++i, segment = segment->next) {
            parts[i] = {rte_pktmbuf_mtod(segment, void*), segment->data_len};
        }
        const bool whole = frame->nb_segs <= parts.size();
        const bool taken = whole && ::writev(fd_.get(), parts.data(), static_cast<int>(count)) >= 0;
        ++(taken ? frames_to_linux_ : frames_refused_);
    }
    rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(frames.size()));
}

PacketCount ExceptionTap::from_linux(rte_mempool& pool, Burst frames) noexcept {
    PacketCount count = 0;
    while (count < frames.size()) {
        rte_mbuf* frame = rte_pktmbuf_alloc(&pool);
        if (frame == nullptr) {
            break;
        }
        const ssize_t bytes =
            ::read(fd_.get(), rte_pktmbuf_mtod(frame, void*), rte_pktmbuf_tailroom(frame));
        if (bytes <= 0) {
            rte_pktmbuf_free(frame);
            break;
        }
        frame->data_len = static_cast<std::uint16_t>(bytes);
        frame->pkt_len = static_cast<std::uint32_t>(bytes);
        frames[count++] = frame;
    }
    frames_from_linux_ += count;
    return count;
}

}  // namespace penstock
