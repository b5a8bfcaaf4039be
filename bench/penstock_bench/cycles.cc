#include "penstock_bench/cycles.h"

#include <rte_cycles.h>

namespace penstock::bench {

std::uint64_t cycles_of(std::chrono::nanoseconds duration) {
    return static_cast<std::uint64_t>(std::chrono::duration<double>(duration).count() *
                                      static_cast<double>(rte_get_tsc_hz()));
}

}  // namespace penstock::bench
