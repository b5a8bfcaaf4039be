#include "simulator/simulation.h"

#include "base/units.h"
#include "presence/data_trouble.h"
#include "presence/duty.h"
#include "presence/turn.h"
#include "simulator/faults.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace penstock::simulator {
namespace {

using std::chrono::hours;

constexpr MonotonicTime kStart{seconds(1'000)};
constexpr milliseconds kWatchInterval{100};
constexpr milliseconds kWatchClosely{5};  // while nobody may miss anything
constexpr milliseconds kSteadyFor{500};
constexpr std::size_t kFaultsMax = 10;
constexpr milliseconds kNoDeadline = hours(1);

class Simulation {
  public:
    Simulation(std::uint64_t seed, const Plan& plan);
    Outcome run();

  private:
    void make_cast();
    void add(Node& node);
    presence::Settings settings();
    void start_all();
    void mend();
    /// Runs until `is_done` has held for some time or `end` has come.
    /// Returns: when it began to hold.
    template <typename Condition>
    std::optional<MonotonicTime> run_until(MonotonicTime end, Condition is_done);
    void run_to(MonotonicTime end);
    void watch();
    /// Whoever receives content now has to from here on.
    void watch_all_who_receive();
    /// An operator drains a data server that carries something; nobody may notice.
    void drain();
    [[nodiscard]] const DataServerModel* pick_busy_server();
    /// A presence leads that knows of everything and takes all data servers for well.
    [[nodiscard]] bool is_calm() const;
    [[nodiscard]] bool is_empty(const DataServerModel& server) const;
    [[nodiscard]] bool all_receive() const;
    /// Or the limits of admission leave no room for it.
    [[nodiscard]] bool receives(const ConsumerModel& consumer) const;
    [[nodiscard]] bool is_full_for(const ConsumerModel& consumer) const;
    [[nodiscard]] bool all_is_quiet() const;
    [[nodiscard]] std::string who_waits() const;
    [[nodiscard]] std::string who_goes_on() const;
    [[nodiscard]] bool has_failed() const { return checker_.violation().has_value(); }

    const Plan& plan_;
    Outcome outcome_;
    Surroundings around_;
    Network network_;
    Checker checker_;
    Arbiter arbiter_;
    Cast cast_;
    presence::Settings settings_;
    std::vector<const ConsumerModel*> must_receive_;
};

Simulation::Simulation(std::uint64_t seed, const Plan& plan)
    : plan_(plan),
      around_{Timeline(kStart), Random(seed), Trace(plan.trace_lines)},
      network_(around_),
      checker_(around_),
      arbiter_(around_.random) {
    outcome_.seed = seed;
    around_.network = &network_;
    around_.checker = &checker_;
    make_cast();
}

void Simulation::add(Node& node) {
    network_.add(node);
    cast_.all.push_back(&node);
}

presence::Settings Simulation::settings() {
    presence::Settings settings;
    settings.close_after = around_.random.between(milliseconds(300), seconds(5));
    settings.recent_period = around_.random.between(nanoseconds(0), seconds(10));
    settings.ticket_lifetime = around_.random.between(seconds(2), seconds(60));
    settings.rebalance = around_.random.chance(0.3);
    if (!plan_.only_presence_fails && around_.random.chance(0.2)) {
        settings.server_streams_max = around_.random.below(plan_.size.streams_max + 1);
        settings.server_consumers_max = around_.random.below(plan_.size.consumers_max + 1);
        settings.stream_consumers_max = around_.random.below(plan_.size.consumers_max + 1);
    }
    return settings;
}

void Simulation::make_cast() {
    Random& random = around_.random;
    around_.presences = random.chance(0.6) ? 1 : 2;
    settings_ = settings();
    cast_.operators = std::make_unique<OperatorModel>(around_, cast_.presences);
    around_.operators = cast_.operators.get();
    const auto next = [this] { return cast_.all.size(); };
    for (std::size_t i = 0; i < around_.presences; ++i) {
        cast_.presences.push_back(std::make_unique<PresenceModel>(
            around_, next(), fmt::format("pr{}", i), arbiter_, settings_, plan_.flaws.presence));
        add(*cast_.presences.back());
    }
    for (std::size_t i = 0, count = 1 + random.below(plan_.size.servers_max); i < count; ++i) {
        cast_.servers.push_back(std::make_unique<DataServerModel>(
            around_, next(), fmt::format("ds{}", i), plan_.flaws.data_server));
        add(*cast_.servers.back());
    }
    const auto streams = 1 + random.below(plan_.size.streams_max);
    const auto standbys = random.below(2);
    for (std::size_t i = 0; i < streams + standbys; ++i) {
        PublisherWish wish;
        wish.stream = fmt::format("stream{}", i % streams);
        wish.start =
            random.chance(0.5) ? control::StartPolicy::publish : control::StartPolicy::demand;
        wish.close_after_ms =
            random.chance(0.5) ? 0 : static_cast<std::uint32_t>(200 + random.below(3'000));
        cast_.publishers.push_back(
            std::make_unique<PublisherModel>(around_, next(), fmt::format("pub{}", i), wish));
        add(*cast_.publishers.back());
    }
    for (std::size_t i = 0, count = 1 + random.below(plan_.size.consumers_max); i < count; ++i) {
        const milliseconds wait =
            random.chance(0.5) ? milliseconds::max() : milliseconds(random.below(3) * 2'000);
        cast_.consumers.push_back(
            std::make_unique<ConsumerModel>(around_,
                                            next(),
                                            fmt::format("con{}", i),
                                            fmt::format("stream{}", random.below(streams)),
                                            wait));
        add(*cast_.consumers.back());
    }
    outcome_.cast =
        fmt::format("{} presence, {} data servers, {} streams, {} publishers, {} consumers",
                    cast_.presences.size(),
                    cast_.servers.size(),
                    streams,
                    cast_.publishers.size(),
                    cast_.consumers.size());
}

void Simulation::start_all() {
    const bool at_once = around_.random.chance(0.3);
    for (Node* node : cast_.all) {
        const nanoseconds delay =
            at_once ? nanoseconds(0) : around_.random.between(nanoseconds(0), seconds(1));
        around_.timeline.at(around_.now() + delay, [node] { node->start(); });
    }
}

/// Everything lives and reaches everything from here on.
void Simulation::mend() {
    around_.trace.say(around_.now(), "     all faults are over");
    for (Node* node : cast_.all) {
        node->resume();
        node->start();
    }
    for (const auto& consumer : cast_.consumers) {
        if (!consumer->is_wanting()) {
            consumer->crash(false);
            consumer->start();
        }
    }
    network_.tell_all();
    cast_.operators->want_all_back();
}

void Simulation::watch() {
    checker_.watch();
    cast_.operators->watch(arbiter_.facts());
    for (const ConsumerModel* consumer : must_receive_) {
        if (!checker_.receives(*consumer)) {
            checker_.fail(plan_.only_presence_fails ? "I7" : "drain",
                          "no data server has failed, but nothing comes to " + consumer->name());
        }
    }
    for (const auto& presence : cast_.presences) {
        if (presence->leads()) {
            checker_.check_state(presence->state());
        }
    }
}

void Simulation::run_to(MonotonicTime end) {
    run_until(end, [] { return false; });
}

template <typename Condition>
std::optional<MonotonicTime> Simulation::run_until(MonotonicTime end, Condition is_done) {
    std::optional<MonotonicTime> since;
    while (around_.now() < end && !has_failed()) {
        const nanoseconds interval = must_receive_.empty() ? kWatchInterval : kWatchClosely;
        const MonotonicTime next = std::min(end, around_.now() + interval);
        while (!has_failed() && around_.timeline.run_next(next)) {
        }
        watch();
        if (!is_done()) {
            since.reset();
        } else {
            since = since.value_or(around_.now());
            if (around_.now() >= *since + kSteadyFor) {
                return since;
            }
        }
    }
    return std::nullopt;
}

bool Simulation::all_receive() const {
    return std::ranges::all_of(cast_.consumers, [this](const auto& consumer) {
        return consumer->is_wanting() && receives(*consumer);
    });
}

bool Simulation::receives(const ConsumerModel& consumer) const {
    return checker_.receives(consumer) || is_full_for(consumer);
}

bool Simulation::is_full_for(const ConsumerModel& consumer) const {
    const auto leader =
        std::ranges::find_if(cast_.presences, [](const auto& one) { return one->leads(); });
    if (leader == cast_.presences.end()) {
        return false;
    }
    const presence::State& state = (*leader)->state();
    const auto stream = state.streams.find(consumer.stream_id());
    if (stream == state.streams.end()) {
        return false;
    }
    const std::size_t requests = std::max<std::size_t>(stream->second.requests.size(), 1);
    const auto is_full = [](std::size_t count, std::size_t most) {
        return most != 0 && count >= most;
    };
    const auto server = state.servers.find(stream->second.server);
    if (consumer.is_turned_away()) {  // by flows, too, whose lease has not ended
        return is_full(stream->second.watchers.consumers,
                       presence::lower(settings_.stream_consumers_max,
                                       settings_.server_consumers_max)) ||
               (server != state.servers.end() &&
                is_full(server->second.watchers.consumers, settings_.server_consumers_max));
    }
    return stream->second.step == presence::StreamStep::idle && !state.servers.empty() &&
           std::ranges::all_of(state.servers, [&](const auto& entry) {
               const presence::DataServer& server = entry.second;
               return is_full(server.desired.size(), settings_.server_streams_max) ||
                      (settings_.server_consumers_max != 0 &&
                       server.watchers.consumers + requests > settings_.server_consumers_max);
           });
}

bool Simulation::is_empty(const DataServerModel& server) const {
    return server.streams().empty() &&
           std::ranges::any_of(cast_.presences, [&](const auto& presence) {
               return presence->leads() &&
                      presence::is_empty(presence->state().servers.at(server.name()));
           });
}

const DataServerModel* Simulation::pick_busy_server() {
    std::vector<const DataServerModel*> busy;
    for (const auto& server : cast_.servers) {
        if (!server->streams().empty()) {
            busy.push_back(server.get());
        }
    }
    return busy.empty() ? nullptr : busy[around_.random.below(busy.size())];
}

void Simulation::watch_all_who_receive() {
    for (const auto& consumer : cast_.consumers) {
        if (checker_.receives(*consumer)) {
            must_receive_.push_back(consumer.get());
        }
    }
}

bool Simulation::is_calm() const {
    const auto leader =
        std::ranges::find_if(cast_.presences, [](const auto& one) { return one->leads(); });
    if (leader == cast_.presences.end()) {
        return false;
    }
    const presence::State& state = (*leader)->state();
    return !presence::is_settling(state, around_.now()) &&
           !presence::is_recovering(state, around_.now()) &&
           std::ranges::all_of(cast_.servers, [&](const auto& server) {
               const auto known = state.servers.find(server->name());
               return known != state.servers.end() && known->second.reports_done &&
                      !known->second.was_silent && presence::troubles_of(known->second).empty() &&
                      around_.now() >= known->second.quarantined_until;
           });
}

void Simulation::drain() {
    const MonotonicTime calm_by = around_.now() + presence::kRecoveryMost;
    if (cast_.servers.size() == 1 ||
        !run_until(calm_by, [this] { return is_calm() && all_receive(); })) {
        return;
    }
    const DataServerModel* server = pick_busy_server();
    if (server == nullptr) {
        return;
    }
    const MonotonicTime began = around_.now();
    watch_all_who_receive();
    cast_.operators->want(server->name(), control::ServerDuty::draining, kNoDeadline);
    const bool has_limits = settings_.server_streams_max != 0 ||
                            settings_.server_consumers_max != 0 ||
                            settings_.stream_consumers_max != 0;
    const auto at = run_until(began + kDrainWithin, [&] { return is_empty(*server); });
    must_receive_.clear();
    if (at) {
        outcome_.drained_after = *at - began;
    } else if (!has_limits) {
        checker_.fail("drain",
                      fmt::format("{} is not empty {} after its drain began:{}",
                                  server->name(),
                                  format_duration(kDrainWithin),
                                  who_goes_on()));
    }
    if (around_.random.chance(0.5)) {
        cast_.operators->want_all_back();
    }
}

bool Simulation::all_is_quiet() const {
    return std::ranges::none_of(cast_.publishers,
                                [](const auto& one) { return one->is_sending(); }) &&
           std::ranges::all_of(cast_.servers,
                               [](const auto& one) { return one->streams().empty(); });
}

std::string Simulation::who_waits() const {
    std::string who;
    for (const auto& consumer : cast_.consumers) {
        if (!receives(*consumer)) {
            who += " " + consumer->name() + " of " + consumer->stream();
        }
    }
    return who;
}

std::string Simulation::who_goes_on() const {
    std::string who;
    for (const auto& publisher : cast_.publishers) {
        if (publisher->is_sending()) {
            who += " " + publisher->name() + " sends " + publisher->wish().stream;
        }
    }
    for (const auto& server : cast_.servers) {
        for (const auto& [id, stream] : server->streams()) {
            who += " " + server->name() + " has " + stream.name + " open";
        }
    }
    return who;
}

Outcome Simulation::run() {
    start_all();
    MonotonicTime faults_end = kStart + around_.random.between(seconds(4), seconds(12));
    const std::size_t count = around_.random.below(kFaultsMax + 1);
    if (plan_.only_presence_fails) {
        run_until(kStart + kReceiveWithin, [this] { return all_receive(); });
        watch_all_who_receive();
        faults_end += around_.now() - kStart;
    }
    Faults faults(around_, cast_, faults_end);
    plan_.only_presence_fails ? faults.plan_for_presence(count) : faults.plan(count);
    run_to(faults_end);
    mend();
    if (const auto at = run_until(faults_end + kReceiveWithin, [this] { return all_receive(); })) {
        outcome_.recovered_after = *at - faults_end;
    } else {
        checker_.fail("I2",
                      fmt::format("{} after the faults nothing comes to{}",
                                  format_duration(kReceiveWithin),
                                  who_waits()));
    }
    must_receive_.clear();
    drain();
    for (const auto& consumer : cast_.consumers) {
        consumer->quit();
    }
    const MonotonicTime end = around_.now();
    if (const auto at = run_until(end + kStopWithin, [this] { return all_is_quiet(); })) {
        outcome_.stopped_after = *at - end;
    } else {
        checker_.fail(
            "I2",
            fmt::format(
                "{} after the last consumer:{}", format_duration(kStopWithin), who_goes_on()));
    }
    outcome_.violation = checker_.violation();
    outcome_.trace = around_.trace.lines();
    return std::move(outcome_);
}

}  // namespace

Outcome simulate(std::uint64_t seed, const Plan& plan) { return Simulation(seed, plan).run(); }

}  // namespace penstock::simulator
