#include "penstock_bench/sweep.h"

namespace penstock::bench {

std::string end_of_sweep(const Environment& environment, bool ends_with_ports) {
    constexpr double kPerCent = 100;
    return (ends_with_ports
                ? fmt::format("ports     {}; NICs {}\n", environment.drivers, environment.nics)
                : "") +
           fmt::format("steal     {:.2f} % of all CPU time", kPerCent * environment.steal_share);
}

}  // namespace penstock::bench
