#pragma once

#include <penstock/result.h>

#include <cstddef>
#include <string_view>
#include <vector>

namespace penstock::bench {

/// The workers' CPUs: `text` ("1,2") if it is not empty, else those this process may use from the
/// second on, and the first behind them. `workers`: how many are needed at most.
/// Errors: invalid_argument, naming --worker-cpus.
Result<std::vector<unsigned>> choose_worker_cpus(std::string_view text, std::size_t workers);

/// Keeps this process, as far as it may use other CPUs, off those of the workers: whoever shares a
/// CPU with a worker disturbs what it measures. To be called before DPDK starts.
void leave_cpus_to(const std::vector<unsigned>& worker_cpus);

/// A CPU for who plays the network's part: the first that no worker has.
/// Errors: invalid_argument, if the workers have them all.
Result<unsigned> choose_generator_cpu(const std::vector<unsigned>& worker_cpus);

/// Puts this process before others that want its CPUs, as far as it may (setpriority(2)): what
/// runs beside a measurement may wait for its end. Threads started afterwards inherit it.
void go_first();

/// Keeps this thread on one CPU. To be called before DPDK starts.
void run_on(unsigned cpu);

}  // namespace penstock::bench
