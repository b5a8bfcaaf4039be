#include "penstock_bench/cpus.h"

#include "data_server/config.h"
#include "penstock_bench/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <sched.h>
#include <set>
#include <sys/resource.h>

namespace penstock::bench {

Result<std::vector<unsigned>> choose_worker_cpus(std::string_view text, std::size_t workers) {
    const std::set<unsigned> usable = usable_cpus();
    std::vector<unsigned> cpus;
    if (text.empty()) {
        cpus.assign(std::next(usable.begin()), usable.end());
        cpus.push_back(*usable.begin());
    } else {
        constexpr std::uint64_t kCpuMax = CPU_SETSIZE - 1;
        const auto numbers = parse_numbers("worker-cpus", text, 0, kCpuMax);
        if (!numbers) {
            return numbers.error();
        }
        cpus.assign(numbers->begin(), numbers->end());
    }
    for (const unsigned cpu : cpus) {
        if (!usable.contains(cpu) || std::count(cpus.begin(), cpus.end(), cpu) > 1) {
            return Error{
                ErrorCode::invalid_argument,
                fmt::format("--worker-cpus {}: CPU {} is {}; name each of these at most once: {}",
                            text,
                            cpu,
                            usable.contains(cpu) ? "named twice" : "not one this process may use",
                            fmt::join(usable, ","))};
        }
    }
    if (cpus.size() < workers) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("{} workers want a CPU each and there are {}: lower --workers or "
                                 "name more in --worker-cpus",
                                 workers,
                                 cpus.size())};
    }
    cpus.resize(workers);
    return cpus;
}

void leave_cpus_to(const std::vector<unsigned>& worker_cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    bool any = false;
    for (const unsigned cpu : usable_cpus()) {
        if (std::find(worker_cpus.begin(), worker_cpus.end(), cpu) == worker_cpus.end()) {
            CPU_SET(cpu, &set);
            any = true;
        }
    }
    if (any) {
        ::sched_setaffinity(0, sizeof(set), &set);
    }
}

Result<unsigned> choose_generator_cpu(const std::vector<unsigned>& worker_cpus) {
    for (const unsigned cpu : usable_cpus()) {
        if (std::find(worker_cpus.begin(), worker_cpus.end(), cpu) == worker_cpus.end()) {
            return cpu;
        }
    }
    return Error{ErrorCode::invalid_argument,
                 fmt::format("the generator wants a CPU beside the workers' ({}): name fewer in "
                             "--worker-cpus or allow this process more",
                             fmt::join(worker_cpus, ","))};
}

void run_on(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof(set), &set);
}

void go_first() {
    constexpr int kFirst = -20;
    ::setpriority(PRIO_PROCESS, 0, kFirst);
}

}  // namespace penstock::bench
