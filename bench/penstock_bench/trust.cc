#include "penstock_bench/trust.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock::bench {

std::string distrust(const TrustFacts& facts) {
    std::string why;
    const auto add = [&why](const std::string& reason) {
        why += (why.empty() ? "" : "; ") + reason;
    };
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

}  // namespace penstock::bench
