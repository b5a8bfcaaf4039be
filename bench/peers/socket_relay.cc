// Linux sockets as a relay: one payload to N UDP ports of one address, from one thread, as fast as
// the kernel takes it. Receiving is left out, in the kernel's favour: content is in memory already.
//
// sendmmsg: one socket, 64 datagrams a call, the fewest system calls sockets offer. io_uring: N
// connected sockets, whose routes are looked up once, registered with the ring, 64 sends a call.
// UDP segmentation offload is of no use: it cuts one buffer into datagrams for one destination.
#include "base/json.h"
#include "base/options.h"
#include "base/unique_fd.h"

#include <penstock/result.h>

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <liburing.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using namespace penstock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr const char* kProgram = "socket_relay";
constexpr std::uint16_t kFirstUdpPort = 10'000;
constexpr std::uint64_t kConsumersMax = 50'000;
constexpr unsigned kBurst = 64;  // datagrams a system call
constexpr int kSendBufferBytes = 8 << 20;

struct Plan {
    std::string to;
    std::uint64_t consumers = 64;
    std::uint64_t payload_bytes = 1316;
    std::size_t by = 0;  // index in kMethods
    nanoseconds interval = milliseconds{1000};
};

Error system_error(std::string_view what, int code) {
    return {ErrorCode::system, fmt::format("{}: {}", what, std::generic_category().message(code))};
}

Result<UniqueFd> udp_socket() {
    UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) {
        return system_error("no UDP socket", errno);
    }
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof(kSendBufferBytes));
    return fd;
}

std::vector<sockaddr_in> destinations_of(const Plan& plan, in_addr address) {
    std::vector<sockaddr_in> all(plan.consumers);
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].sin_family = AF_INET;
        all[i].sin_port = htons(static_cast<std::uint16_t>(kFirstUdpPort + i));
        all[i].sin_addr = address;
    }
    return all;
}

/// One way to send the payload to all consumers.
class Sender {
  public:
    virtual ~Sender() = default;
    /// Sends it once to each. Returns: the copies that the kernel took.
    virtual std::uint64_t fan_out() = 0;
};

class SendmmsgSender : public Sender {
  public:
    static Result<std::unique_ptr<Sender>> create(std::vector<sockaddr_in> to, iovec payload) {
        auto socket = udp_socket();
        if (!socket) {
            return socket.error();
        }
        return std::unique_ptr<Sender>(
            new SendmmsgSender(std::move(socket).value(), std::move(to), payload));
    }
    std::uint64_t fan_out() override {
        std::uint64_t taken = 0;
        for (std::size_t at = 0; at < messages_.size(); at += kBurst) {
            const std::size_t count = std::min<std::size_t>(kBurst, messages_.size() - at);
            const int sent =
                ::sendmmsg(socket_.get(), &messages_[at], static_cast<unsigned>(count), 0);
            taken += static_cast<std::uint64_t>(std::max(sent, 0));
        }
        return taken;
    }

  private:
    SendmmsgSender(UniqueFd socket, std::vector<sockaddr_in> to, iovec payload)
        : socket_(std::move(socket)), to_(std::move(to)), payload_(payload), messages_(to_.size()) {
        for (std::size_t i = 0; i < to_.size(); ++i) {
            msghdr& message = messages_[i].msg_hdr;
            message.msg_name = &to_[i];
            message.msg_namelen = sizeof(to_[i]);
            message.msg_iov = &payload_;
            message.msg_iovlen = 1;
        }
    }
    UniqueFd socket_;
    std::vector<sockaddr_in> to_;
    iovec payload_;
    std::vector<mmsghdr> messages_;
};

class IoUringSender : public Sender {
  public:
    static Result<std::unique_ptr<Sender>> create(const std::vector<sockaddr_in>& to,
                                                  iovec payload) {
        std::unique_ptr<IoUringSender> made(new IoUringSender(payload));
        std::vector<int> descriptors;
        for (const sockaddr_in& one : to) {
            auto socket = udp_socket();
            if (!socket) {
                return socket.error();
            }
            if (::connect(socket->get(), reinterpret_cast<const sockaddr*>(&one), sizeof(one)) !=
                0) {
                return system_error("connect", errno);
            }
            descriptors.push_back(socket->get());
            made->sockets_.push_back(std::move(socket).value());
        }
        // Completions are only looked for when they are asked for, by the one thread that sends.
        const unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        if (const int code = ::io_uring_queue_init(kBurst, &made->ring_, flags); code != 0) {
            return system_error("no io_uring (Linux 6.1 or newer has what is asked for)", -code);
        }
        made->has_ring_ = true;
        const auto count = static_cast<unsigned>(descriptors.size());
        if (const int code = ::io_uring_register_files(&made->ring_, descriptors.data(), count);
            code != 0) {
            return system_error("io_uring takes no sockets", -code);
        }
        return std::unique_ptr<Sender>(std::move(made));
    }
    ~IoUringSender() override {
        if (has_ring_) {
            ::io_uring_queue_exit(&ring_);
        }
    }
    IoUringSender(const IoUringSender&) = delete;
    IoUringSender& operator=(const IoUringSender&) = delete;
    std::uint64_t fan_out() override {
        std::uint64_t taken = 0;
        for (std::size_t at = 0; at < sockets_.size(); at += kBurst) {
            const std::size_t count = std::min<std::size_t>(kBurst, sockets_.size() - at);
            for (std::size_t i = 0; i < count; ++i) {
                io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
                const auto index = static_cast<int>(at + i);
                ::io_uring_prep_send(entry, index, payload_.iov_base, payload_.iov_len, 0);
                entry->flags |= IOSQE_FIXED_FILE;
            }
            taken += complete(static_cast<unsigned>(count));
        }
        return taken;
    }

  private:
    explicit IoUringSender(iovec payload) noexcept : payload_(payload) {}
    std::uint64_t complete(unsigned count) {
        ::io_uring_submit_and_wait(&ring_, count);
        std::array<io_uring_cqe*, kBurst> done{};
        const unsigned arrived = ::io_uring_peek_batch_cqe(&ring_, done.data(), count);
        std::uint64_t taken = 0;
        for (unsigned i = 0; i < arrived; ++i) {
            taken += done[i]->res == static_cast<int>(payload_.iov_len) ? 1U : 0U;
        }
        ::io_uring_cq_advance(&ring_, arrived);
        return taken;
    }
    io_uring ring_{};
    bool has_ring_ = false;
    std::vector<UniqueFd> sockets_;
    iovec payload_;
};

const std::vector<std::string> kMethods{"sendmmsg", "io_uring"};

/// Sends for `interval` and says in a line of JSON how much that was. Returns: the copies.
std::uint64_t send_for(Sender& sender, nanoseconds interval) {
    const auto began = steady_clock::now();
    std::uint64_t copies = 0;
    nanoseconds elapsed{0};
    while (elapsed < interval) {
        copies += sender.fan_out();
        elapsed = steady_clock::now() - began;
    }
    JsonWriter json;
    json.begin_object()
        .member("began_ns", nanoseconds(began.time_since_epoch()).count())
        .member("copies", copies)
        .member("copies_per_second",
                static_cast<double>(copies) / std::chrono::duration<double>(elapsed).count())
        .end_object();
    fmt::print("{}\n", json.text());
    std::fflush(stdout);
    return copies;
}

Result<void> run(const Plan& plan) {
    in_addr address{};
    if (::inet_pton(AF_INET, plan.to.c_str(), &address) != 1) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("--to {}: wants an IPv4 address, for example 10.0.0.2", plan.to)};
    }
    std::vector<char> payload(plan.payload_bytes, 'G');
    const iovec content{payload.data(), payload.size()};
    std::vector<sockaddr_in> to = destinations_of(plan, address);
    auto sender = plan.by == 0 ? SendmmsgSender::create(std::move(to), content)
                               : IoUringSender::create(to, content);
    if (!sender) {
        return sender.error();
    }
    while (send_for(**sender, plan.interval) > 0) {
    }
    return Error{ErrorCode::unavailable,
                 fmt::format("the kernel took no copy for {}: is it reachable?", plan.to)};
}

int start(int argc, char** argv) {
    Plan plan;
    Options options(kProgram, "how many copies a second Linux sockets make; until it is ended");
    options.text("to", plan.to, "ADDRESS", "where copies go: UDP ports from 10000 on");
    options.number("consumers", plan.consumers, 1, kConsumersMax, "UDP ports: copies of a payload");
    options.number("payload", plan.payload_bytes, 1, 1'472, "UDP payload bytes");
    options.choice("by", plan.by, kMethods, "how they are sent");
    options.duration(
        "interval", plan.interval, milliseconds{1}, std::chrono::minutes{1}, "a line each");
    const auto outcome = options.parse(argc, argv);
    if (!outcome) {
        return fail(kProgram, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    const auto done = run(plan);
    return done ? 0 : fail(kProgram, done.error());
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return start(argc, argv);
    } catch (const std::exception& error) {  // out of memory
        std::fprintf(stderr, "socket_relay: %s\n", error.what());
    }
    return 1;
}
