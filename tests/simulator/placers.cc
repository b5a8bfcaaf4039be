#include "simulator/placers.h"

#include "base/protocol.h"
#include "presence/assign_publisher.h"
#include "presence/core.h"
#include "presence/open_stream.h"
#include "presence/placement.h"
#include "simulator/random.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

namespace penstock::simulator {
namespace {

using presence::State;
using presence::Stream;
using presence::Turn;

std::string server_name(std::size_t server) { return fmt::format("ds{:05}", server); }

std::size_t server_index(const std::string& name) {
    std::size_t index = 0;
    std::from_chars(name.data() + 2, name.data() + name.size(), index);
    return index;
}

/// The presence core with data servers that do what they are told. Streams come without sessions
/// of publishers, and no Tick comes: nobody is ever silent, so nothing but load decides.
class CorePlacer : public Placer {
  public:
    CorePlacer(std::size_t servers, const presence::Settings& settings, MonotonicTime now);

    void take_report(std::size_t server,
                     double utilisation,
                     std::span<const std::uint64_t> begun,
                     MonotonicTime now) override;
    std::optional<std::size_t> place(std::uint64_t stream,
                                     double share,
                                     MonotonicTime now) override;
    void put(std::uint64_t stream, double share, std::size_t server, MonotonicTime now) override;
    void end(std::uint64_t stream, double share, std::size_t server, MonotonicTime now) override;

  protected:
    [[nodiscard]] double projected(std::size_t server, MonotonicTime now) const {
        const presence::ServerLoad load =
            presence::load_of(state_, *servers_[server], nullptr, now);
        return load.utilisation + load.reserved;
    }

  private:
    void take(presence::Event event, MonotonicTime now);
    /// Data servers open and close what they are to.
    void answer(const std::vector<presence::Action>& actions, MonotonicTime now);
    [[nodiscard]] Stream& make_stream(Turn& turn, std::uint64_t number);

    static std::string stream_name(std::uint64_t number) { return fmt::format("s{}", number); }

    State state_;
    std::vector<presence::DataServer*> servers_;
};

CorePlacer::CorePlacer(std::size_t servers, const presence::Settings& settings, MonotonicTime now) {
    state_.settings = settings;
    state_.settings.data_servers_max = servers;
    state_.settings.streams_max = std::size_t{1} << 30U;
    state_.random = [] { return 1; };
    state_.started_at = now - std::chrono::hours(1);
    state_.facts.epoch = 1;
    state_.wanted = state_.facts;
    for (std::size_t i = 0; i < servers; ++i) {
        const presence::SessionId session{i + 1};
        take(presence::SessionOpened{session, presence::SessionKind::data_server}, now);
        control::DataServerHello hello;
        hello.protocol = kProtocols.newest;
        hello.name = server_name(i);
        hello.boot_id = i + 1;
        hello.consumers_max = 1'000'000;
        hello.streams_max = 1'000'000;
        take(presence::FromDataServer{session, hello}, now);
        take(presence::FromDataServer{session, control::ReportsDone{}}, now);
    }
    for (std::size_t i = 0; i < servers; ++i) {
        servers_.push_back(presence::find_server(state_, server_name(i)));
        take_report(i, 0, {}, now);
    }
}

void CorePlacer::take(presence::Event event, MonotonicTime now) {
    answer(presence::step(state_, std::move(event), now), now);
}

void CorePlacer::answer(const std::vector<presence::Action>& actions, MonotonicTime now) {
    for (const presence::Action& action : actions) {
        if (const auto* store = std::get_if<presence::StoreFacts>(&action)) {
            take(presence::FactsStored{store->number, ""}, now);
            continue;
        }
        const auto* to_server = std::get_if<presence::ToDataServer>(&action);
        const auto* set =
            to_server == nullptr ? nullptr : std::get_if<control::StreamSet>(&to_server->message);
        if (set == nullptr) {
            continue;
        }
        control::Applied applied{set->epoch, set->generation, {}, {}};
        for (const control::DesiredStream& stream : set->open) {
            applied.opened.push_back({stream.stream, {IpAddress::v4(0x0a000001U), 20'000}});
        }
        take(presence::FromDataServer{to_server->session, std::move(applied)}, now);
    }
}

Stream& CorePlacer::make_stream(Turn& turn, std::uint64_t number) {
    return *presence::find_or_make_stream(turn, stream_name(number));
}

void CorePlacer::take_report(std::size_t server,
                             double utilisation,
                             std::span<const std::uint64_t> begun,
                             MonotonicTime now) {
    control::LoadReport report;
    report.utilisation = utilisation;
    for (const std::uint64_t stream : begun) {
        control::StreamLoad& load = report.streams.emplace_back();
        load.stream = stream_id_of(stream_name(stream));
        load.packets_in = 1;
    }
    take(presence::FromDataServer{presence::SessionId{server + 1}, std::move(report)}, now);
}

std::optional<std::size_t> CorePlacer::place(std::uint64_t stream,
                                             double /*share*/,
                                             MonotonicTime now) {
    Turn turn{state_, now, {}};
    Stream& made = make_stream(turn, stream);
    if (!presence::assign_publisher(turn, made)) {
        state_.unplaced.erase(made.id);
        state_.streams.erase(made.id);
        return std::nullopt;
    }
    const std::size_t chosen = server_index(made.server);
    answer(turn.actions, now);
    return chosen;
}

void CorePlacer::put(std::uint64_t stream,
                     double /*share*/,
                     std::size_t server,
                     MonotonicTime now) {
    Turn turn{state_, now, {}};
    Stream& made = make_stream(turn, stream);
    presence::put_on(made, *servers_[server]);
    made.step = presence::StreamStep::opening;
    presence::hand_out(turn, made, *servers_[server], presence::Decision{});
    answer(turn.actions, now);
}

void CorePlacer::end(std::uint64_t stream,
                     double /*share*/,
                     std::size_t server,
                     MonotonicTime now) {
    Turn turn{state_, now, {}};
    Stream& ended = make_stream(turn, stream);
    presence::take_off(ended);
    const StreamId id = ended.id;
    state_.streams.erase(id);
    state_.stream_timers.forget(state_.streams, id);
    presence::close_at(turn, *servers_[server], id);
    answer(turn.actions, now);
}

/// The less busy of two, as far as the presence core can tell.
class TwoReserved final : public CorePlacer {
  public:
    TwoReserved(std::size_t servers,
                const presence::Settings& settings,
                std::uint64_t seed,
                MonotonicTime now)
        : CorePlacer(servers, settings, now), servers_(servers), random_(seed) {}

    std::optional<std::size_t> place(std::uint64_t stream,
                                     double share,
                                     MonotonicTime now) override {
        const std::size_t first = random_.below(servers_);
        const std::size_t second = random_.below(servers_);
        const std::size_t chosen = projected(second, now) < projected(first, now) ? second : first;
        put(stream, share, chosen, now);
        return chosen;
    }

  private:
    std::size_t servers_;
    Random random_;
};

/// Knows a figure of each data server at most: what was reported last, or what it will come to.
class SimplePlacer final : public Placer {
  public:
    SimplePlacer(Policy policy, std::size_t servers, std::uint64_t seed)
        : policy_(policy), figures_(servers, 0.0), random_(seed) {}

    void take_report(std::size_t server,
                     double utilisation,
                     std::span<const std::uint64_t> /*begun*/,
                     MonotonicTime /*now*/) override {
        if (policy_ != Policy::clairvoyant) {
            figures_[server] = utilisation;
        }
    }
    std::optional<std::size_t> place(std::uint64_t stream,
                                     double share,
                                     MonotonicTime now) override {
        const std::size_t chosen = choose();
        put(stream, share, chosen, now);
        return chosen;
    }
    void put(std::uint64_t /*stream*/,
             double share,
             std::size_t server,
             MonotonicTime /*now*/) override {
        add(server, share);
    }
    void end(std::uint64_t /*stream*/,
             double share,
             std::size_t server,
             MonotonicTime /*now*/) override {
        add(server, -share);
    }

  private:
    void add(std::size_t server, double share) {
        if (policy_ == Policy::clairvoyant) {
            figures_[server] += share;
        }
    }
    std::size_t choose() {
        switch (policy_) {
            case Policy::random:
                return random_.below(figures_.size());
            case Policy::round_robin:
                return next_++ % figures_.size();
            case Policy::two_choices: {
                const std::size_t first = random_.below(figures_.size());
                const std::size_t second = random_.below(figures_.size());
                return figures_[second] < figures_[first] ? second : first;
            }
            default:
                return static_cast<std::size_t>(std::ranges::min_element(figures_) -
                                                figures_.begin());
        }
    }

    Policy policy_;
    std::vector<double> figures_;
    Random random_;
    std::size_t next_ = 0;
};

}  // namespace

std::string_view name_of(Policy policy) noexcept {
    constexpr std::array<std::string_view, kPolicies> kNames{"least busy, recent period",
                                                             "least busy, no recent period",
                                                             "two choices, our reserve",
                                                             "two choices",
                                                             "least busy by figures alone",
                                                             "round robin",
                                                             "random",
                                                             "clairvoyant"};
    return kNames[static_cast<std::size_t>(policy)];
}

std::unique_ptr<Placer> make_placer(Policy policy,
                                    std::size_t servers,
                                    std::uint64_t seed,
                                    MonotonicTime now) {
    presence::Settings settings;
    if (policy == Policy::ours) {
        return std::make_unique<CorePlacer>(servers, settings, now);
    }
    settings.recent_period = std::chrono::nanoseconds(0);
    if (policy == Policy::no_recent_period) {
        return std::make_unique<CorePlacer>(servers, settings, now);
    }
    if (policy == Policy::two_reserved) {
        return std::make_unique<TwoReserved>(servers, settings, seed, now);
    }
    return std::make_unique<SimplePlacer>(policy, servers, seed);
}

}  // namespace penstock::simulator
