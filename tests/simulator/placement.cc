#include "simulator/placement.h"

#include "presence/least_busy.h"
#include "presence/state.h"
#include "simulator/random.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>
#include <queue>
#include <span>
#include <tuple>
#include <utility>

namespace penstock::simulator {
namespace {

constexpr double kTickS = 0.01;
constexpr std::uint64_t kTicksPerReport = 10;
constexpr std::uint64_t kTicksPerBurst = 10;  // a burst's streams come within
constexpr double kMeanUtilisation = 0.3;
constexpr double kParetoShape = 1.5;     // few streams have most of the consumers
constexpr double kParetoMost = 20;       // times the least
constexpr std::uint64_t kRampSteps = 4;  // consumers join in these, after one another
constexpr std::uint64_t kTicksPerRampStep = 50;
constexpr std::size_t kLookedAt = 8;  // of many data servers; none of the others can be chosen

std::uint64_t ticks_of(double seconds) { return static_cast<std::uint64_t>(seconds / kTickS); }

struct Server {
    std::string name;
    double utilisation = 0;
    double reported = 0;
    double reserved = 0;
    std::uint64_t reported_at = 0;
    std::uint64_t handed_out_at = 0;  // 0: never
};

/// From then on the data server carries so much more, or less.
struct Change {
    std::uint64_t at = 0;
    std::size_t server = 0;
    double by = 0;

    bool operator>(const Change& other) const { return at > other.at; }
};

class Placing {
  public:
    Placing(Policy policy, const PlacementPlan& plan)
        : policy_(policy), plan_(plan), arrivals_(plan.seed), choices_(~plan.seed) {
        rules_.recent_period = policy == Policy::ours ? presence::Settings{}.recent_period
                                                      : std::chrono::nanoseconds(0);
        for (std::size_t i = 0; i < plan.servers; ++i) {
            servers_.push_back({fmt::format("ds{:05}", i)});
        }
    }
    PlacementQuality run();

  private:
    double exponential(double mean) { return -mean * std::log1p(-arrivals_.unit()); }
    /// What a stream takes of a data server in the end; bounded Pareto distribution.
    double weight();
    void begin_stream(std::size_t server, double weight, double lifetime_s, bool is_ramped);
    void fill();
    void plan_burst();
    void take_reports();
    void arrive();
    std::size_t choose();
    std::size_t least_busy();
    [[nodiscard]] bool is_recent(const Server& server) const;
    void sample();

    Policy policy_;
    PlacementPlan plan_;
    Random arrivals_;
    Random choices_;
    presence::PlacementRules rules_;
    std::uint64_t now_ = 1;
    std::vector<Server> servers_;
    std::priority_queue<Change, std::vector<Change>, std::greater<>> changes_;
    std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> coming_;
    std::uint64_t next_burst_ = 1;
    std::size_t next_server_ = 0;
    std::vector<std::size_t> order_;
    std::vector<double> ratios_;
    PlacementQuality quality_;
};

double Placing::weight() {
    const double least_share = 1 - std::pow(kParetoMost, -kParetoShape);
    const double least_to_mean = least_share * (kParetoShape - 1) /
                                 (kParetoShape * (1 - std::pow(kParetoMost, 1 - kParetoShape)));
    const double x = std::pow(1 - arrivals_.unit() * least_share, -1 / kParetoShape);
    return x * least_to_mean * kMeanUtilisation / plan_.streams_per_server;
}

void Placing::begin_stream(std::size_t server, double weight, double lifetime_s, bool is_ramped) {
    const std::uint64_t steps = is_ramped ? kRampSteps : 1;
    std::uint64_t last = now_;
    for (std::uint64_t step = 0; step < steps; ++step) {
        last = now_ + (is_ramped ? 1 + step * kTicksPerRampStep : 0);
        changes_.push({last, server, weight / static_cast<double>(steps)});
    }
    changes_.push({std::max(last, now_ + ticks_of(lifetime_s)), server, -weight});
}

/// What is there at the beginning is spread evenly, whatever the policy.
void Placing::fill() {
    const auto count =
        static_cast<std::size_t>(plan_.streams_per_server * static_cast<double>(plan_.servers));
    for (std::size_t i = 0; i < count; ++i) {
        const double share = weight();
        begin_stream(i % plan_.servers, share, exponential(plan_.lifetime_s), false);
    }
}

void Placing::plan_burst() {
    if (now_ < next_burst_) {
        return;
    }
    const double mean = plan_.streams_per_server * static_cast<double>(plan_.servers) *
                        plan_.burst_gap_s / plan_.lifetime_s;
    for (auto left = static_cast<std::uint64_t>(std::lround(exponential(mean))); left > 0; --left) {
        coming_.push(now_ + arrivals_.below(kTicksPerBurst));
    }
    next_burst_ = now_ + 1 + ticks_of(exponential(plan_.burst_gap_s));
}

void Placing::take_reports() {
    for (std::size_t i = now_ % kTicksPerReport; i < servers_.size(); i += kTicksPerReport) {
        Server& server = servers_[i];
        server.reported = std::min(server.utilisation, 1.0);
        server.reported_at = now_;
        server.reserved = 0;
    }
}

void Placing::arrive() {
    while (!coming_.empty() && coming_.top() <= now_) {
        coming_.pop();
        const double share = weight();
        const double lifetime_s = exponential(plan_.lifetime_s);
        const std::size_t chosen = choose();
        if (chosen == servers_.size()) {
            ++quality_.refused;
            continue;
        }
        ++quality_.placed;
        servers_[chosen].handed_out_at = now_;
        servers_[chosen].reserved += presence::Settings{}.reserve;
        begin_stream(chosen, share, lifetime_s, true);
    }
}

std::size_t Placing::choose() {
    const std::size_t count = servers_.size();
    switch (policy_) {
        case Policy::random:
            return choices_.below(count);
        case Policy::round_robin:
            return next_server_++ % count;
        case Policy::two_choices: {
            const std::size_t first = choices_.below(count);
            const std::size_t second = choices_.below(count);
            return servers_[second].reported < servers_[first].reported ? second : first;
        }
        case Policy::stale_figures:
            return static_cast<std::size_t>(
                std::ranges::min_element(servers_, {}, &Server::reported) - servers_.begin());
        case Policy::ours:
        case Policy::no_recent_period:
            return least_busy();
    }
    return count;
}

bool Placing::is_recent(const Server& server) const {
    const std::chrono::duration<double> ago(static_cast<double>(now_ - server.handed_out_at) *
                                            kTickS);
    return server.handed_out_at != 0 && ago < rules_.recent_period;
}

/// Presence's own choice. Of many data servers it is shown the first in its order only.
std::size_t Placing::least_busy() {
    order_.resize(servers_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const std::size_t shown = std::min(kLookedAt, order_.size());
    std::ranges::partial_sort(
        order_, order_.begin() + static_cast<std::ptrdiff_t>(shown), {}, [this](std::size_t i) {
            const Server& server = servers_[i];
            return std::tuple(is_recent(server), server.reported + server.reserved, i);
        });
    std::vector<presence::ServerLoad> loads;
    for (const std::size_t i : std::span(order_).first(shown)) {
        const Server& server = servers_[i];
        const auto ago = [this](std::uint64_t then) {
            return std::chrono::duration_cast<std::chrono::nanoseconds>(
                std::chrono::duration<double>(static_cast<double>(now_ - then) * kTickS));
        };
        presence::ServerLoad load;
        load.name = server.name;
        load.utilisation = server.reported;
        load.report_age = ago(server.reported_at);
        load.reserved = server.reserved;
        if (server.handed_out_at != 0) {
            load.handed_out_ago = ago(server.handed_out_at);
        }
        loads.push_back(std::move(load));
    }
    const std::string chosen = presence::least_busy(loads, rules_).chosen;
    for (const std::size_t i : std::span(order_).first(shown)) {
        if (servers_[i].name == chosen) {
            return i;
        }
    }
    return servers_.size();
}

void Placing::sample() {
    double sum = 0;
    double peak = 0;
    for (const Server& server : servers_) {
        sum += server.utilisation;
        peak = std::max(peak, server.utilisation);
    }
    ratios_.push_back(peak * static_cast<double>(servers_.size()) / sum);
}

PlacementQuality Placing::run() {
    fill();
    const std::uint64_t end = ticks_of(plan_.duration_s);
    for (; now_ < end; ++now_) {
        while (!changes_.empty() && changes_.top().at <= now_) {
            servers_[changes_.top().server].utilisation += changes_.top().by;
            changes_.pop();
        }
        take_reports();
        plan_burst();
        arrive();
        if (now_ >= end / 2 && now_ % kTicksPerReport == 0) {
            sample();
        }
    }
    std::ranges::sort(ratios_);
    const auto count = static_cast<double>(ratios_.size());
    quality_.mean = std::accumulate(ratios_.begin(), ratios_.end(), 0.0) / count;
    quality_.p99 = ratios_[static_cast<std::size_t>(0.99 * (count - 1))];
    quality_.most = ratios_.back();
    return quality_;
}

}  // namespace

std::string_view name_of(Policy policy) noexcept {
    constexpr std::string_view kNames[kPolicies] = {"least busy with recent period",
                                                    "random",
                                                    "round robin",
                                                    "two choices",
                                                    "least busy without recent period",
                                                    "least busy by figures alone"};
    return kNames[static_cast<std::size_t>(policy)];
}

PlacementQuality measure_placement(Policy policy, const PlacementPlan& plan) {
    return Placing(policy, plan).run();
}

}  // namespace penstock::simulator
