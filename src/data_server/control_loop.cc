#include "data_server/control_loop.h"

#include "base/check.h"
#include "base/clock.h"

#include <fmt/format.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace penstock {
namespace {

constexpr int kTickMs = 1;
constexpr std::size_t kBurst = 64;
constexpr std::size_t kBurstsPerLook = 8;  // of one ring, before anything else has its turn
constexpr std::uint64_t kTroubleIntervalMs = 10'000;

// What an epoll event is about; a TAP is its port's index.
constexpr std::uint64_t kSignals = 1'000;
constexpr std::uint64_t kNeighbours = 1'001;
constexpr std::uint64_t kPresence = 1'002;

std::uint64_t now_ms() {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    return static_cast<std::uint64_t>(
        duration_cast<milliseconds>(monotonic_now().time_since_epoch()).count());
}

Error system_error(std::string_view what) {
    return {ErrorCode::system, fmt::format("{}: {}", what, std::generic_category().message(errno))};
}

}  // namespace

Result<std::unique_ptr<ControlLoop>> ControlLoop::create(Machine& machine,
                                                         Workers& workers,
                                                         DataServer& server,
                                                         PresenceSession& presence) {
    std::unique_ptr<ControlLoop> loop(new ControlLoop(machine, workers, server, presence));
    if (auto watched = loop->watch_everything(); !watched) {
        return std::move(watched).error();
    }
    return loop;
}

Result<void> ControlLoop::watch_everything() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    signals_ = UniqueFd(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!epoll_ || !signals_) {
        return system_error("cannot make the control loop");
    }
    if (auto watched = watch(signals_.get(), kSignals); !watched) {
        return watched;
    }
    if (auto watched = watch(machine_.neighbours->fd(), kNeighbours); !watched) {
        return watched;
    }
    if (auto watched = watch(presence_.fd(), kPresence); !watched) {
        return watched;
    }
    for (std::size_t port = 0; port < machine_.taps.size(); ++port) {
        if (auto watched = watch(machine_.taps[port].fd(), port); !watched) {
            return watched;
        }
    }
    return {};
}

Result<void> ControlLoop::watch(int fd, std::uint64_t what) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = what;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return system_error("cannot watch a descriptor");
    }
    return {};
}

void ControlLoop::run() {
    bool busy = true;
    Watchdog::ready();
    while (!stopping_) {
        busy = wait_and_serve(busy ? 0 : kTickMs);
        const std::uint64_t now = now_ms();
        if (server_.do_workers_move()) {
            watchdog_.feed(now);
        }
        if (now - trouble_at_ms_ >= kTroubleIntervalMs) {
            trouble_at_ms_ = now;
            counters_.write_trouble();
        }
    }
    counters_.write();
}

void ControlLoop::flush(std::chrono::milliseconds most) {
    const MonotonicTime until = monotonic_now() + most;
    while ((server_.waiting_frames() > 0 || !outgoing_is_empty()) && monotonic_now() < until) {
        wait_and_serve(kTickMs);
    }
}

/// Returns: whether there was anything to do.
bool ControlLoop::wait_and_serve(int timeout_ms) {
    std::array<epoll_event, 16> events{};
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
    for (int i = 0; i < count; ++i) {
        serve(events[static_cast<std::size_t>(i)].data.u64);
    }
    const bool found = look_at_rings();
    server_.on_tick(now_ms());
    return found || count > 0;
}

void ControlLoop::serve(std::uint64_t what) {
    switch (what) {
        case kSignals:
            return serve_signals();
        case kNeighbours:
            return machine_.neighbours->receive([this](const Neighbours::Change& change) {
                server_.on_neighbour(change.port, change.ip, change.before, change.now, now_ms());
            });
        case kPresence:
            for (DownMessage& message : presence_.receive()) {
                server_.on_presence(std::move(message), now_ms());
            }
            return;
        default:
            return serve_tap(what);
    }
}

void ControlLoop::serve_signals() {
    signalfd_siginfo signal{};
    while (::read(signals_.get(), &signal, sizeof(signal)) == sizeof(signal)) {
        if (signal.ssi_signo == SIGUSR1) {
            counters_.write();
        } else {
            stopping_ = true;
        }
    }
}

/// Linux → wire, by the first worker: there is little of it. No more than it has room for: the rest
/// waits in the TAP, whose queue Linux bounds and counts.
void ControlLoop::serve_tap(std::size_t port) {
    std::array<rte_mbuf*, kBurst> frames{};
    rte_ring& outgoing = workers_.outgoing(0);
    const std::size_t room = std::min<std::size_t>(rte_ring_free_count(&outgoing), kBurst);
    const PacketCount count =
        machine_.taps[port].from_linux(*machine_.control_frames.get(), Burst(frames).first(room));
    for (PacketCount i = 0; i < count; ++i) {
        frames[i]->port = static_cast<std::uint16_t>(port);
    }
    const unsigned sent = rte_ring_enqueue_burst(
        &outgoing, reinterpret_cast<void* const*>(frames.data()), count, nullptr);
    PENSTOCK_CHECK(sent == count);  // nobody else fills this ring
}

bool ControlLoop::look_at_rings() {
    bool found = false;
    for (std::size_t worker = 0; worker < workers_.count(); ++worker) {
        for (std::size_t burst = 0; burst < kBurstsPerLook; ++burst) {
            const bool messages = take_session_messages(worker);
            const bool exceptions = take_exceptions(worker);
            if (!messages && !exceptions) {
                break;
            }
            found = true;
        }
    }
    return found;
}

bool ControlLoop::take_session_messages(std::size_t worker) {
    std::array<rte_mbuf*, kBurst> frames{};
    const unsigned count = rte_ring_dequeue_burst(&workers_.session_messages(worker),
                                                  reinterpret_cast<void**>(frames.data()),
                                                  frames.size(),
                                                  nullptr);
    for (unsigned i = 0; i < count; ++i) {
        if (const auto frame = read_session_frame(*frames[i])) {
            server_.on_session_frame(*frame, now_ms());
        }
    }
    rte_pktmbuf_free_bulk(frames.data(), count);
    return count > 0;
}

bool ControlLoop::take_exceptions(std::size_t worker) {
    std::array<rte_mbuf*, kBurst> frames{};
    const unsigned count = rte_ring_dequeue_burst(&workers_.exceptions(worker),
                                                  reinterpret_cast<void**>(frames.data()),
                                                  frames.size(),
                                                  nullptr);
    for (unsigned i = 0; i < count; ++i) {
        machine_.taps[frames[i]->port].to_linux({&frames[i], 1});
    }
    return count > 0;
}

bool ControlLoop::outgoing_is_empty() const {
    for (std::size_t worker = 0; worker < workers_.count(); ++worker) {
        if (rte_ring_empty(&workers_.outgoing(worker)) == 0) {
            return false;
        }
    }
    return true;
}

bool send_session_frame(const Machine& machine,
                        const Workers& workers,
                        const SessionReply& reply,
                        std::uint8_t worker) {
    rte_mbuf* frame = rte_pktmbuf_alloc(machine.control_frames.get());
    if (frame == nullptr) {
        return false;
    }
    const FlowAddresses addresses{.source_mac = machine.ports[reply.port].info().mac,
                                  .next_hop_mac = reply.next_hop,
                                  .source = reply.source,
                                  .destination = reply.destination};
    const bool written = write_session_frame(*frame, addresses, reply.payload());
    frame->port = reply.port;
    if (!written || rte_ring_enqueue(&workers.outgoing(worker), frame) != 0) {
        rte_pktmbuf_free(frame);
        return false;
    }
    return true;
}

}  // namespace penstock
