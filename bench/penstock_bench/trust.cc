#include "penstock_bench/trust.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock::bench {

void add_reason(std::string& why, const std::string& reason) {
    why += (why.empty() ? "" : "; ") + reason;
}

std::string distrust(const TrustFacts& facts) {
    std::string why;
    const auto add = [&why](const std::string& reason) { add_reason(why, reason); };
    if (!facts.disturbance.empty()) {
        add("disturbed, also when repeated: " + facts.disturbance);
    }
    if (facts.tx_queue_full > 0) {
        add(fmt::format("the sink is the bottleneck: it refused {:.2g} % of the copies",
                        100 * static_cast<double>(facts.tx_queue_full) /
                            static_cast<double>(std::max(facts.copies, facts.tx_queue_full))));
    }
    if (facts.idle_share > kIdleShareMax) {
        add(fmt::format("the source is the bottleneck: the workers were idle {:.0f} % of the time",
                        100 * facts.idle_share));
    }
    if (facts.governor != "performance" && facts.governor != "not readable") {
        add(fmt::format("the workers' CPUs run under governor {}, not performance",
                        facts.governor));
    }
    return why;
}

std::string distrust(const OpenLoopFacts& facts) {
    constexpr double kLateShareMax = 0.1;
    std::string why = distrust(TrustFacts{.disturbance = facts.disturbance,
                                          .copies = 0,
                                          .tx_queue_full = 0,
                                          .idle_share = 0,
                                          .governor = facts.governor});
    const auto add = [&why](const std::string& reason) { add_reason(why, reason); };
    if (facts.lost_copies > 0) {
        add(fmt::format("{} copies were lost, whose latency nobody knows: lower --load or --rate",
                        facts.lost_copies));
    }
    // A worker that is idle for far more than the rest of the load could have done far more.
    if (facts.load && facts.idle_share > 1 - *facts.load / 2) {
        add(
            fmt::format("the generator is the bottleneck: at {:.0f} % of the highest rate that it "
                        "reached the worker was idle {:.0f} % of the time",
                        100 * *facts.load,
                        100 * facts.idle_share));
    }
    if (facts.late_share > kLateShareMax) {
        add(fmt::format("the generator sent {:.0f} % of the packets late: lower --load or --rate",
                        100 * facts.late_share));
    }
    return why;
}

}  // namespace penstock::bench
