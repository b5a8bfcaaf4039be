#include "penstock_bench/join_clients.h"

#include "base/clock.h"
#include "client/join_client.h"
#include "client/poll_timeout.h"
#include "client/presence_client.h"
#include "client/session_socket.h"
#include "wire/ticket.h"

#include <penstock/publisher.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <poll.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kPatience{10'000};
constexpr milliseconds kLook{1};
/// JOIN, and JOIN with the cookie.
constexpr std::uint64_t kMessagesPerJoin = 2;

std::uint64_t nanoseconds_between(MonotonicTime from, MonotonicTime to) {
    return static_cast<std::uint64_t>(std::max(nanoseconds{0}, nanoseconds{to - from}).count());
}

/// A client's session with presence, which asks for a new ticket as often as it is let.
class Asker final : private ConsumerEvents {
  public:
    Asker(const JoinPlan& plan, const std::string& stream)
        : session_(ConsumerSession::open(
              {plan.presence, plan.tls, plan.insecure}, random_u64(), stream, *this)) {}

    [[nodiscard]] std::optional<JoinTarget> target() const {
        const std::lock_guard lock(mutex_);
        if (!newest_) {
            return std::nullopt;
        }
        return JoinTarget{newest_->endpoint, newest_->ticket, newest_->key, {}};
    }
    [[nodiscard]] std::string trouble() const {
        const std::lock_guard lock(mutex_);
        return trouble_;
    }

    void begin() {
        const std::lock_guard lock(mutex_);
        is_asking_ = true;
        done_ = 0;
        nanoseconds_.clear();
        ask();
    }
    void end(JoinCounts& counts) {
        const std::lock_guard lock(mutex_);
        is_asking_ = false;
        counts.done += done_;
        counts.nanoseconds.add(nanoseconds_);
    }

  private:
    // In the session's thread.
    void on_desired(const DesiredConsuming& desired) override {
        const std::lock_guard lock(mutex_);
        if (desired.state != DesiredConsuming::State::ready) {
            trouble_ = desired.reason;
            return;
        }
        newest_ = desired;
        if (is_asking_) {
            ++done_;
            nanoseconds_.record(nanoseconds_between(asked_at_, monotonic_now()));
            ask();
        }
    }
    void on_session(const std::string& trouble, milliseconds /*retry_after*/) override {
        const std::lock_guard lock(mutex_);
        trouble_ = trouble;
    }
    void on_rejected(const std::string& reason) override { on_session(reason, milliseconds{0}); }
    milliseconds on_request() override { return kPatience; }

    void ask() {
        asked_at_ = monotonic_now();
        session_->renew(newest_->version);
    }

    mutable std::mutex mutex_;  // guards all below but session_
    std::optional<DesiredConsuming> newest_;
    std::string trouble_;
    bool is_asking_ = false;
    MonotonicTime asked_at_;
    std::uint64_t done_ = 0;
    Histogram nanoseconds_;
    std::unique_ptr<ConsumerSession> session_;  // last: its thread uses the above
};

/// A client's place on the data network.
struct Joiner {
    UniqueFd socket;
    JoinClient client{JoinClient::kNeverProbe, random_u64()};
    MonotonicTime began;
    std::uint64_t messages = 0;  // since then
};

class JoinClientsImpl final : public JoinClients {
  public:
    explicit JoinClientsImpl(JoinPlan plan)
        : plan_(std::move(plan)),
          stream_(fmt::format("penstock-bench-join-{}-{:08x}", ::getpid(), random_u64() >> 32U)) {}

    Result<void> set_up() {
        PublisherOptions publishing;
        publishing.presence = plan_.presence;
        publishing.tls = plan_.tls;
        publishing.insecure = plan_.insecure;
        publishing.stream = stream_;
        auto publisher = Publisher::open(publishing);
        if (!publisher) {
            return std::move(publisher).error();
        }
        publisher_ = std::move(publisher).value();
        for (std::uint64_t i = 0; i < plan_.clients; ++i) {
            SocketOptions options;
            options.local = {plan_.sources[i % plan_.sources.size()], 0};
            auto socket = open_udp_socket(options);
            if (!socket) {
                return std::move(socket).error();
            }
            joiners_.emplace_back().socket = std::move(socket).value();
            askers_.push_back(std::make_unique<Asker>(plan_, stream_));
        }
        return wait_for_targets();
    }

    JoinCounts request(nanoseconds duration) override {
        JoinCounts counts;
        const MonotonicTime began = monotonic_now();
        for (const auto& asker : askers_) {
            asker->begin();
        }
        std::this_thread::sleep_until(began + duration);
        const MonotonicTime ended = monotonic_now();
        for (const auto& asker : askers_) {
            asker->end(counts);
        }
        counts.seconds = std::chrono::duration<double>(ended - began).count();
        return counts;
    }

    JoinCounts join(nanoseconds duration) override {
        JoinCounts counts;
        const MonotonicTime began = monotonic_now();
        const MonotonicTime until = began + duration;
        for (std::size_t i = 0; i < joiners_.size(); ++i) {
            start(i, began);
        }
        MonotonicTime now = began;
        for (; now < until; now = monotonic_now()) {
            wait(std::min(until, now + kLook), now);
            for (std::size_t i = 0; i < joiners_.size(); ++i) {
                work(i, counts);
            }
        }
        for (Joiner& joiner : joiners_) {
            joiner.client.stop();
        }
        counts.seconds = std::chrono::duration<double>(now - began).count();
        return counts;
    }

  private:
    Result<void> wait_for_targets() {
        const MonotonicTime give_up = monotonic_now() + kPatience;
        for (const auto& asker : askers_) {
            while (!asker->target()) {
                if (monotonic_now() > give_up) {
                    const std::string trouble = asker->trouble();
                    return Error{ErrorCode::timed_out,
                                 fmt::format("presence does not say where to join{}{}; check that "
                                             "it has a data server: penstockctl server list",
                                             trouble.empty() ? "" : ": ",
                                             trouble)};
                }
                std::this_thread::sleep_for(kLook);
            }
        }
        return {};
    }

    void start(std::size_t index, MonotonicTime now) {
        Joiner& joiner = joiners_[index];
        joiner.client.start(*askers_[index]->target(), random_u64(), now);
        joiner.began = now;
        joiner.messages = 0;
        send_due(joiner, now);
    }

    void send_due(Joiner& joiner, MonotonicTime now) {
        for (auto message = joiner.client.poll(now); !message.empty();
             message = joiner.client.poll(now)) {
            send_datagram(joiner.socket.get(), joiner.client.target().server, message);
            ++joiner.messages;
        }
    }

    void wait(MonotonicTime until, MonotonicTime now) {
        polled_.clear();
        for (const Joiner& joiner : joiners_) {
            polled_.push_back({.fd = joiner.socket.get(), .events = POLLIN, .revents = 0});
        }
        ::poll(polled_.data(), polled_.size(), poll_timeout_ms(until, now));
    }

    void work(std::size_t index, JoinCounts& counts) {
        Joiner& joiner = joiners_[index];
        const MonotonicTime now = monotonic_now();
        if (polled_[index].revents != 0) {
            const std::size_t count =
                received_.receive(joiner.socket.get(), ReceivedBatch::kDatagramsMax);
            for (std::size_t i = 0; i < count; ++i) {
                joiner.client.on_datagram(received_.from(i), received_.payload(i), now);
            }
        }
        send_due(joiner, now);
        if (joiner.client.state() == JoinState::accepted) {
            ++counts.done;
            counts.unanswered += joiner.messages - std::min(joiner.messages, kMessagesPerJoin);
            counts.nanoseconds.record(nanoseconds_between(joiner.began, now));
            send_datagram(
                joiner.socket.get(), joiner.client.target().server, joiner.client.leave_message());
        }
        if (joiner.client.state() != JoinState::joining) {
            start(index, monotonic_now());
        }
    }

    const JoinPlan plan_;
    const std::string stream_;
    std::unique_ptr<Publisher> publisher_;
    std::vector<std::unique_ptr<Asker>> askers_;
    std::vector<Joiner> joiners_;
    std::vector<pollfd> polled_;  // by joiner
    ReceivedBatch received_;
};

}  // namespace

Result<std::unique_ptr<JoinClients>> JoinClients::open(const JoinPlan& plan) {
    if (auto checked = check_presence({plan.presence, plan.tls, plan.insecure}); !checked) {
        return checked.error();
    }
    auto clients = std::make_unique<JoinClientsImpl>(plan);
    if (auto ready = clients->set_up(); !ready) {
        return ready.error();
    }
    return std::unique_ptr<JoinClients>(std::move(clients));
}

}  // namespace penstock::bench
