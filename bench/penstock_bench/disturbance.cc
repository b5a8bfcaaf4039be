#include "penstock_bench/disturbance.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <system_error>
#include <tuple>
#include <unistd.h>
#include <utility>

namespace penstock::bench {
namespace {

constexpr std::size_t kStealColumn = 7;  // of user nice system idle iowait irq softirq steal

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The line that begins with `word` and a blank, colon or tab; what follows them.
std::string_view line_of(std::string_view text, std::string_view word) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.starts_with(word) && line.size() > word.size() &&
            std::string_view(" :\t").find(line[word.size()]) != std::string_view::npos) {
            return line.substr(word.size() + 1);
        }
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return {};
}

std::vector<std::uint64_t> numbers_in(std::string_view line) {
    std::vector<std::uint64_t> numbers;
    const char* at = line.data();
    const char* const end = line.data() + line.size();
    while (at != end) {
        std::uint64_t number = 0;
        const auto [next, error] = std::from_chars(at, end, number);
        if (error == std::errc{}) {
            numbers.push_back(number);
        }
        at = next == at ? at + 1 : next;
    }
    return numbers;
}

/// The status file of the thread with one of the names that DPDK 22.11 (before and since its
/// point releases) and later versions give an lcore's thread.
std::string status_file_of(unsigned lcore) {
    std::error_code error;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
        std::string name = read_file(task.path() / "comm");
        while (!name.empty() && name.back() == '\n') {
            name.pop_back();
        }
        if (name == fmt::format("lcore-worker-{}", lcore) ||
            name == fmt::format("rte-worker-{}", lcore) ||
            name == fmt::format("dpdk-worker{}", lcore)) {
            return task.path() / "status";
        }
    }
    return {};
}

}  // namespace

std::string disturbance_of(const Interference& during,
                           std::chrono::nanoseconds trial,
                           std::size_t cpus,
                           std::uint64_t ticks_per_second) {
    const double seconds = std::chrono::duration<double>(trial).count() * static_cast<double>(cpus);
    const double stolen =
        static_cast<double>(during.steal_ticks) / static_cast<double>(ticks_per_second);
    if (seconds > 0 && stolen / seconds > kStealShareMax) {
        return fmt::format("the hypervisor took {:.1f} % of the CPU time",
                           100 * std::min(stolen / seconds, 1.0));
    }
    if (during.involuntary_switches > 0) {
        return fmt::format("Linux took the CPU away {} time(s)", during.involuntary_switches);
    }
    return {};
}

bool is_less(const Interference& a, const Interference& b) noexcept {
    return std::tie(a.steal_ticks, a.involuntary_switches) <
           std::tie(b.steal_ticks, b.involuntary_switches);
}

std::optional<std::uint64_t> steal_ticks_of(std::string_view proc_stat, unsigned cpu) {
    const auto numbers = numbers_in(line_of(proc_stat, fmt::format("cpu{}", cpu)));
    return numbers.size() > kStealColumn ? std::optional{numbers[kStealColumn]} : std::nullopt;
}

std::optional<std::uint64_t> involuntary_switches_of(std::string_view status) {
    const auto numbers = numbers_in(line_of(status, "nonvoluntary_ctxt_switches"));
    return numbers.empty() ? std::nullopt : std::optional{numbers.front()};
}

double steal_share(std::string_view stat_before, std::string_view stat_after) {
    const auto before = numbers_in(line_of(stat_before, "cpu"));
    const auto after = numbers_in(line_of(stat_after, "cpu"));
    if (before.size() <= kStealColumn || after.size() <= kStealColumn) {
        return 0;
    }
    // guest and guest_nice, which follow, are part of user and nice.
    const auto total = [](const std::vector<std::uint64_t>& columns) {
        return std::accumulate(columns.begin(), columns.begin() + kStealColumn + 1, 0ULL);
    };
    const std::uint64_t passed = total(after) - total(before);
    return passed == 0 ? 0
                       : static_cast<double>(after[kStealColumn] - before[kStealColumn]) /
                             static_cast<double>(passed);
}

std::uint64_t ticks_per_second() { return static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)); }

std::string read_proc_stat() { return read_file("/proc/stat"); }

Result<InterferenceWatch> InterferenceWatch::start(std::vector<unsigned> worker_cpus,
                                                   std::optional<unsigned> own_cpu) {
    InterferenceWatch watch(std::move(worker_cpus));
    for (unsigned worker = 0; worker < watch.cpus_.size(); ++worker) {
        watch.status_files_.push_back(status_file_of(worker + 1));
        if (watch.status_files_.back().empty()) {
            return Error{ErrorCode::system,
                         fmt::format("the thread of lcore {} is not found in /proc/self/task, so "
                                     "nobody can tell whether it was disturbed; is /proc mounted?",
                                     worker + 1)};
        }
    }
    if (own_cpu) {
        watch.cpus_.push_back(*own_cpu);
        watch.status_files_.emplace_back("/proc/thread-self/status");
    }
    return watch;
}

Interference InterferenceWatch::now() const {
    Interference sum;
    const std::string stat = read_proc_stat();
    for (const unsigned cpu : cpus_) {
        sum.steal_ticks += steal_ticks_of(stat, cpu).value_or(0);
    }
    for (const std::string& file : status_files_) {
        sum.involuntary_switches += involuntary_switches_of(read_file(file)).value_or(0);
    }
    return sum;
}

Interference InterferenceWatch::since(const Interference& before) const {
    const Interference after = now();
    return {.steal_ticks = after.steal_ticks - before.steal_ticks,
            .involuntary_switches = after.involuntary_switches - before.involuntary_switches};
}

std::string InterferenceWatch::words_for(const Interference& during,
                                         std::chrono::nanoseconds trial) const {
    return disturbance_of(during, trial, cpus_.size(), ticks_per_second());
}

}  // namespace penstock::bench
