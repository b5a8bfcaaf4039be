#include "simulator/placement.h"

#include "simulator/random.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>
#include <queue>
#include <tuple>
#include <vector>

namespace penstock::simulator {
namespace {

constexpr double kTickS = 0.01;
constexpr std::uint64_t kTicksPerReport = 10;
constexpr std::uint64_t kTicksPerBurst = 10;  // a burst's streams come within
constexpr double kMeanUtilisation = 0.3;
constexpr double kParetoShape = 1.5;       // few streams have most of the consumers
constexpr std::uint64_t kGrowthSteps = 4;  // consumers join in these
constexpr std::uint64_t kTicksYoung = 50;  // a stream's beginning is told for so long

std::uint64_t ticks_of(double seconds) { return static_cast<std::uint64_t>(seconds / kTickS); }

MonotonicTime time_of(std::uint64_t tick) {
    return MonotonicTime{std::chrono::hours(1'000)} + tick * std::chrono::milliseconds(10);
}

struct Begun {
    std::uint64_t stream = 0;
    std::uint64_t at = 0;
};

struct Server {
    double utilisation = 0;
    std::vector<Begun> begun;  // of late
};

/// From then on the data server carries so much more, or less.
struct Change {
    std::uint64_t at = 0;
    std::uint64_t stream = 0;
    std::size_t server = 0;
    double by = 0;
    bool is_end = false;

    bool operator>(const Change& other) const {
        return std::tie(at, is_end, stream) > std::tie(other.at, other.is_end, other.stream);
    }
};

class Placing {
  public:
    Placing(Policy policy, const PlacementPlan& plan)
        : plan_(plan),
          arrivals_(plan.seed),
          placer_(make_placer(policy, plan.servers, ~plan.seed, time_of(now_))),
          servers_(plan.servers) {}
    PlacementQuality run();

  private:
    double exponential(double mean) { return -mean * std::log1p(-arrivals_.unit()); }
    /// What a stream takes of a data server in the end; bounded Pareto distribution.
    double draw_share();
    void begin(std::size_t server, double share, double lifetime_s, std::uint64_t ticks_per_step);
    void fill();
    void plan_burst();
    void take_changes();
    void take_reports();
    void arrive();
    void sample();

    PlacementPlan plan_;
    Random arrivals_;
    std::uint64_t now_ = 1;
    std::unique_ptr<Placer> placer_;
    std::uint64_t streams_ = 0;
    std::vector<Server> servers_;
    std::priority_queue<Change, std::vector<Change>, std::greater<>> changes_;
    std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> coming_;
    std::uint64_t next_burst_ = 1;
    std::vector<std::uint64_t> told_;
    std::vector<double> ratios_;
    PlacementQuality quality_;
};

double Placing::draw_share() {
    const double mean = kMeanUtilisation / plan_.streams_per_server;
    const double unit = arrivals_.unit();
    if (plan_.largest_to_least <= 1) {
        return mean;
    }
    const double most = plan_.largest_to_least;
    const double drawn = 1 - std::pow(most, -kParetoShape);
    const double least_to_mean =
        drawn * (kParetoShape - 1) / (kParetoShape * (1 - std::pow(most, 1 - kParetoShape)));
    return std::pow(1 - unit * drawn, -1 / kParetoShape) * least_to_mean * mean;
}

void Placing::begin(std::size_t server,
                    double share,
                    double lifetime_s,
                    std::uint64_t ticks_per_step) {
    const std::uint64_t stream = streams_++;
    std::uint64_t last = now_;
    for (std::uint64_t step = 0; step < kGrowthSteps; ++step) {
        last = now_ + 1 + step * ticks_per_step;
        changes_.push({last, stream, server, share / kGrowthSteps});
    }
    changes_.push({std::max(last, now_ + ticks_of(lifetime_s)), stream, server, -share, true});
    servers_[server].begun.push_back({stream, now_});
}

/// What is there at the beginning is spread evenly, whatever the policy.
void Placing::fill() {
    const auto count =
        static_cast<std::size_t>(plan_.streams_per_server * static_cast<double>(plan_.servers));
    for (std::size_t i = 0; i < count; ++i) {
        const double share = draw_share();
        placer_->put(streams_, share, i % plan_.servers, time_of(now_));
        begin(i % plan_.servers, share, exponential(plan_.lifetime_s), 0);
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

void Placing::take_changes() {
    while (!changes_.empty() && changes_.top().at <= now_) {
        const Change change = changes_.top();
        changes_.pop();
        servers_[change.server].utilisation += change.by;
        if (change.is_end) {
            placer_->end(change.stream, -change.by, change.server, time_of(now_));
        }
    }
}

void Placing::take_reports() {
    for (std::size_t i = now_ % kTicksPerReport; i < servers_.size(); i += kTicksPerReport) {
        Server& server = servers_[i];
        std::erase_if(server.begun,
                      [this](const Begun& begun) { return now_ > begun.at + kTicksYoung; });
        told_.clear();
        for (const Begun& begun : server.begun) {
            if (now_ > begun.at) {
                told_.push_back(begun.stream);
            }
        }
        placer_->take_report(i, std::clamp(server.utilisation, 0.0, 1.0), told_, time_of(now_));
    }
}

void Placing::arrive() {
    const auto ticks_per_step = ticks_of(plan_.growth_s / (kGrowthSteps - 1));
    std::chrono::microseconds within{0};
    while (!coming_.empty() && coming_.top() <= now_) {
        coming_.pop();
        const double share = draw_share();
        const double lifetime_s = exponential(plan_.lifetime_s);
        const std::optional<std::size_t> chosen =
            placer_->place(streams_, share, time_of(now_) + ++within);
        if (!chosen.has_value()) {
            ++quality_.refused;
            continue;
        }
        ++quality_.placed;
        begin(*chosen, share, lifetime_s, ticks_per_step);
    }
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
        take_changes();
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

PlacementQuality measure_placement(Policy policy, const PlacementPlan& plan) {
    return Placing(policy, plan).run();
}

}  // namespace penstock::simulator
