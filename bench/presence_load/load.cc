#include "presence_load/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace penstock::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kLook{1};
constexpr std::size_t kReportEvery = 100;  // of kLook
constexpr std::size_t kBeatEvery = 1000;
constexpr std::chrono::seconds kPatience{60};
// So many peers open their sessions at once: connections wait in a queue that has an end.
constexpr std::size_t kOpeningMost = 64;
// Streams that consumers who stay share: what a stream takes is not theirs.
constexpr std::size_t kWatchedMost = 10;

std::string waiting_stream(std::size_t number) { return fmt::format("waiting/{}", number); }

/// An operator's question for all data servers.
class ListServers final : public PeerCall<v1::ListServersRequest, v1::ListServersReply> {
  public:
    explicit ListServers(const std::shared_ptr<Connection>& connection) {
        open(connection, "/penstock.v1.Operators/ListServers");
        write({});
        end();
    }

    [[nodiscard]] bool is_over() const noexcept { return is_over_; }
    [[nodiscard]] std::optional<std::uint64_t> reports() const noexcept { return reports_; }

  private:
    void on_message(const v1::ListServersReply& reply) override {
        reports_ = 0;
        for (const v1::ServerInfo& server : reply.servers()) {
            *reports_ += server.load().sequence();
        }
    }
    void on_end() override { is_over_ = true; }

    std::optional<std::uint64_t> reports_;
    bool is_over_ = false;
};

}  // namespace

/// Consumers that ask as long as they are let, and what they are told.
struct Load::Askers {
    std::vector<std::unique_ptr<ConsumerPeer>> peers;
    bool is_on = true;
    std::uint64_t answered = 0;
    std::uint64_t refused = 0;
    Histogram nanoseconds;

    void count(std::chrono::nanoseconds took) {
        if (took < 0ns) {
            ++refused;
        } else {
            ++answered;
            nanoseconds.record(static_cast<std::uint64_t>(took.count()));
        }
    }
    void restart() {
        answered = refused = 0;
        nanoseconds.clear();
    }
    void end() {
        is_on = false;
        for (std::unique_ptr<ConsumerPeer>& peer : peers) {
            if (peer != nullptr) {
                ConsumerPeer::let_go(std::move(peer));
            }
        }
    }
};

Load::Load(Surroundings& surroundings, std::function<void()> mark)
    : surroundings_(surroundings),
      mark_(std::move(mark)),
      said_until_(monotonic_now()),
      operators_(connect(surroundings_)) {}

bool Load::add_servers(std::size_t count, std::size_t streams, std::size_t active) {
    const std::size_t all = servers_.size() + count;
    streams_ += count * streams;
    while (servers_.size() < all) {
        const std::size_t first = servers_.size();
        for (std::size_t i = first; i < std::min(all, first + kOpeningMost); ++i) {
            servers_.push_back(std::make_unique<DataServerPeer>(surroundings_, i, streams, active));
        }
        if (!work(kPatience, [this, first] {
                return std::all_of(servers_.begin() + static_cast<std::ptrdiff_t>(first),
                                   servers_.end(),
                                   [](const auto& server) { return server->is_attached(); });
            })) {
            return false;
        }
    }
    return true;
}

bool Load::add_publishers(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        publishers_.push_back(
            std::make_unique<PublisherPeer>(surroundings_, waiting_stream(publishers_.size())));
        if (i % kOpeningMost == kOpeningMost - 1 || i + 1 == count) {
            if (!work(kPatience, [this] {
                    return std::ranges::all_of(
                        publishers_, [](const auto& peer) { return peer->is_directed(); });
                })) {
                return false;
            }
        }
    }
    return true;
}

bool Load::add_consumers(std::size_t count) {
    if (publishers_.empty()) {
        return false;
    }
    for (std::size_t i = 0; i < count; ++i) {
        consumers_.push_back(std::make_unique<ConsumerPeer>(
            connect(surroundings_),
            waiting_stream(consumers_.size() % std::min(publishers_.size(), kWatchedMost)),
            [](ConsumerPeer& /*peer*/, std::chrono::nanoseconds /*took*/) {}));
        if (i % kOpeningMost == kOpeningMost - 1 || i + 1 == count) {
            if (!work(kPatience, [this] {
                    return std::ranges::all_of(consumers_,
                                               [](const auto& peer) { return peer->is_ready(); });
                })) {
                return false;
            }
        }
    }
    return true;
}

LoadCounts Load::request(std::chrono::nanoseconds duration,
                         std::size_t outstanding,
                         std::size_t connection_count) {
    const auto connected = connections(connection_count);
    Askers askers;
    askers.peers.resize(outstanding);
    std::function<void(std::size_t)> ask = [&](std::size_t place) {
        askers.peers[place] = std::make_unique<ConsumerPeer>(
            connected[place % connected.size()],
            any_stream(),
            [&, place](ConsumerPeer& /*peer*/, std::chrono::nanoseconds took) {
                askers.count(took);
                ConsumerPeer::let_go(std::move(askers.peers[place]));
                if (askers.is_on) {
                    ask(place);
                }
            });
    };
    for (std::size_t place = 0; place < outstanding; ++place) {
        ask(place);
    }
    return measure(duration, askers);
}

LoadCounts Load::renew(std::chrono::nanoseconds duration,
                       std::size_t outstanding,
                       std::size_t connection_count) {
    const auto connected = connections(connection_count);
    Askers askers;
    for (std::size_t place = 0; place < outstanding; ++place) {
        askers.peers.push_back(
            std::make_unique<ConsumerPeer>(connected[place % connected.size()],
                                           any_stream(),
                                           [&](ConsumerPeer& peer, std::chrono::nanoseconds took) {
                                               askers.count(took);
                                               if (askers.is_on && took >= 0ns) {
                                                   peer.renew();
                                               }
                                           }));
    }
    return measure(duration, askers);
}

LoadCounts Load::measure(std::chrono::nanoseconds duration, Askers& askers) {
    constexpr std::chrono::milliseconds kWarmUp{500};
    constexpr std::chrono::milliseconds kLeaving{300};
    const auto never = [] { return false; };
    work(kWarmUp, never);
    const std::optional<std::uint64_t> taken_before = reports_taken();
    const std::uint64_t reports_before = reports_;
    const std::uint64_t held_up_before = held_up_;
    askers.restart();
    mark_();
    const MonotonicTime began = monotonic_now();
    work(duration, never);
    LoadCounts counts;
    counts.seconds = std::chrono::duration<double>(monotonic_now() - began).count();
    mark_();
    counts.requests = askers.answered;
    counts.refused = askers.refused;
    counts.nanoseconds = askers.nanoseconds;
    counts.reports = reports_ - reports_before;
    counts.held_up = held_up_ - held_up_before;
    const std::optional<std::uint64_t> taken = reports_taken();
    counts.taken = taken.value_or(0) - taken_before.value_or(0);
    askers.end();
    work(kLeaving, never);
    return counts;
}

bool Load::work(std::chrono::nanoseconds patience, const std::function<bool()>& is_done) {
    const MonotonicTime until = monotonic_now() + patience;
    while (!is_done()) {
        const MonotonicTime now = monotonic_now();
        if (now >= until) {
            return false;
        }
        say_what_is_due();
        surroundings_.network.poll(std::min(until, said_until_ + kLook));
    }
    return true;
}

void Load::say_what_is_due() {
    // Each has its millisecond; what is late is said all the same.
    for (const MonotonicTime now = monotonic_now(); said_until_ + kLook <= now;) {
        said_until_ += kLook;
        const auto turn = static_cast<std::size_t>(said_until_.time_since_epoch() / kLook);
        for (std::size_t i = turn % kReportEvery; i < servers_.size(); i += kReportEvery) {
            if (servers_[i]->is_attached()) {
                ++reports_;
                held_up_ += servers_[i]->report() ? 0 : 1;
            }
        }
        for (std::size_t i = turn % kBeatEvery; i < publishers_.size(); i += kBeatEvery) {
            publishers_[i]->beat();
        }
        for (std::size_t i = turn % kBeatEvery; i < consumers_.size(); i += kBeatEvery) {
            consumers_[i]->beat();
        }
    }
}

std::optional<std::uint64_t> Load::reports_taken() {
    ListServers question(operators_);
    work(kPatience, [&] { return question.is_over(); });
    return question.reports();
}

std::string Load::any_stream() {
    return stream_name(random_() % std::max<std::size_t>(streams_, 1));
}

std::vector<std::shared_ptr<Connection>> Load::connections(std::size_t count) {
    std::vector<std::shared_ptr<Connection>> connected;
    for (std::size_t i = 0; i < count; ++i) {
        connected.push_back(connect(surroundings_));
    }
    return connected;
}

}  // namespace penstock::bench
