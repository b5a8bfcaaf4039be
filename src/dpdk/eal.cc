#include "dpdk/eal.h"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace penstock {
namespace {

constexpr std::size_t kErrorBytesMax = 500;

/// Written by whatever thread DPDK logs on, which during set-up is main alone.
std::string& first_error() {
    static std::string line;
    return line;
}

/// Keeps the first error DPDK logs, which names the cause; those after it are its consequences on
/// the way up. Everything else it logs is dropped: it speaks of its internals, and our own messages
/// say what an operator can act on.
ssize_t keep_error(void* /*cookie*/, const char* text, std::size_t bytes) {
    if (rte_log_cur_msg_loglevel() <= static_cast<int>(RTE_LOG_ERR) && first_error().empty()) {
        std::string_view line{text, std::min(bytes, kErrorBytesMax)};
        while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) {
            line.remove_suffix(1);
        }
        first_error() = line;
    }
    return static_cast<ssize_t>(bytes);
}

FILE* error_stream() {
    static FILE* stream = [] {
        cookie_io_functions_t functions{};
        functions.write = keep_error;
        FILE* opened = fopencookie(nullptr, "w", functions);
        if (opened != nullptr) {
            setvbuf(opened, nullptr, _IOLBF, kErrorBytesMax);
        }
        return opened;
    }();
    return stream;
}

std::vector<unsigned> allowed_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<unsigned> cpus;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                cpus.push_back(cpu);
            }
        }
    }
    return cpus;
}

/// What an operator can do about rte_eal_init() failing with `text`.
std::string remedy_for(const EalOptions& options, std::string_view text) {
    const auto says = [&](std::string_view words) {
        return text.find(words) != std::string_view::npos;
    };
    const std::uint64_t pages = (options.memory_bytes + (2U << 20U) - 1) / (2U << 20U);
    if (!options.no_huge &&
        (says("hugepage") || says("memory") || says("FATAL: Cannot get") || text.empty())) {
        return fmt::format("run `dpdk-config/host/hugepages.sh {}` or pass --no-huge",
                           std::max<std::uint64_t>(pages, 512));
    }
    if (says("lcore") || says("core")) {
        return "check --worker-cpus against the CPUs this process may use";
    }
    return "check the devargs given by --port";
}

}  // namespace

bool is_pci_device(std::string_view devargs) noexcept {
    // [domain:]bus:device.function: hexadecimal digits, and a colon before any comma.
    const std::string_view name = devargs.substr(0, devargs.find(','));
    return name.find(':') != std::string_view::npos &&
           name.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

std::vector<std::string> eal_arguments(const EalOptions& options,
                                       std::string_view file_prefix,
                                       const std::vector<unsigned>& cpus) {
    std::vector<std::string> arguments{options.program};
    const auto add = [&](std::string argument) { arguments.push_back(std::move(argument)); };
    // Nothing of ours is shared with other processes, and nothing is left behind by us.
    add("--no-telemetry");
    if (options.no_huge) {
        add("--no-huge");  // DPDK refuses --in-memory beside it
        add("--no-shconf");
        add(fmt::format("--file-prefix={}", file_prefix));
    } else {
        add("--in-memory");
    }
    add("-m");
    add(fmt::format("{}", std::max<std::uint64_t>(options.memory_bytes >> 20U, 1)));

    std::string lcores = "0@(";
    for (const unsigned cpu : cpus) {
        lcores += fmt::format("{}{}", lcores.back() == '(' ? "" : ",", cpu);
    }
    lcores += ')';
    for (unsigned i = 0; i < options.worker_cpus.size(); ++i) {
        lcores += fmt::format(",{}@{}", lcore_of_worker(i), options.worker_cpus[i]);
    }
    add(fmt::format("--lcores={}", lcores));

    bool any_pci = false;
    for (const std::string& device : options.devices) {
        any_pci = any_pci || is_pci_device(device);
        add(is_pci_device(device) ? "--allow" : "--vdev");
        add(device);
    }
    if (!any_pci) {
        add("--no-pci");
        // Virtual addresses make a pool one piece, which net_af_xdp needs of its UMEM.
        add("--iova-mode=va");
    }
    return arguments;
}

std::string take_dpdk_error() { return std::exchange(first_error(), {}); }

Result<Eal> Eal::start(const EalOptions& options) {
    const std::string prefix = fmt::format("{}-{}", options.program, getpid());
    std::vector<std::string> arguments = eal_arguments(options, prefix, allowed_cpus());
    std::vector<char*> argv;
    argv.reserve(arguments.size());
    for (std::string& argument : arguments) {
        argv.push_back(argument.data());
    }
    if (FILE* stream = error_stream(); stream != nullptr) {
        rte_openlog_stream(stream);
    }
    take_dpdk_error();
    std::string text;
    int result = 0;
    {
        const CaughtOutput caught;
        result = rte_eal_init(static_cast<int>(argv.size()), argv.data());
        if (result < 0) {  // else what it says of a device waits for Port::describe()
            text = take_dpdk_error();
            if (text.empty()) {
                text = caught.last_line();
            }
        }
    }
    std::string directory = fmt::format("/var/run/dpdk/{}", options.no_huge ? prefix : "rte");
    Eal eal{options.no_huge ? directory : std::string{}};
    if (result < 0) {
        return Error{ErrorCode::system,
                     fmt::format("DPDK does not start: {}: {}",
                                 text.empty() ? rte_strerror(rte_errno) : text,
                                 remedy_for(options, text))};
    }
    eal.started_ = true;
    return eal;
}

Eal::Eal(std::string runtime_directory) noexcept
    : runtime_directory_(std::move(runtime_directory)) {}

Eal::Eal(Eal&& other) noexcept
    : started_(std::exchange(other.started_, false)),
      runtime_directory_(std::exchange(other.runtime_directory_, {})) {}

Eal::~Eal() {
    if (started_) {
        const CaughtOutput caught;
        rte_eal_cleanup();
    }
    if (!runtime_directory_.empty()) {
        std::error_code ignored;  // absent, or not empty and then not ours to empty
        std::filesystem::remove(runtime_directory_, ignored);
    }
}

CaughtOutput::CaughtOutput() : memory_(memfd_create("caught", MFD_CLOEXEC)) {
    std::fflush(nullptr);
    standard_output_ = dup(STDOUT_FILENO);
    standard_error_ = dup(STDERR_FILENO);
    if (memory_ >= 0 && standard_output_ >= 0 && standard_error_ >= 0) {
        dup2(memory_, STDOUT_FILENO);
        dup2(memory_, STDERR_FILENO);
    }
}

CaughtOutput::~CaughtOutput() {
    std::fflush(nullptr);
    if (standard_output_ >= 0) {
        dup2(standard_output_, STDOUT_FILENO);
        close(standard_output_);
    }
    if (standard_error_ >= 0) {
        dup2(standard_error_, STDERR_FILENO);
        close(standard_error_);
    }
    if (memory_ >= 0) {
        close(memory_);
    }
}

std::string CaughtOutput::last_line() const {
    std::fflush(nullptr);
    constexpr off_t kTailBytes = 2000;
    const off_t end = lseek(memory_, 0, SEEK_END);
    if (end <= 0) {
        return {};
    }
    std::string tail(static_cast<std::size_t>(std::min(end, kTailBytes)), '\0');
    const ssize_t bytes =
        pread(memory_, tail.data(), tail.size(), end - static_cast<off_t>(tail.size()));
    tail.resize(static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
    while (!tail.empty() && (tail.back() == '\n' || tail.back() == ' ')) {
        tail.pop_back();
    }
    return tail.substr(tail.rfind('\n') + 1).substr(0, kErrorBytesMax);
}

}  // namespace penstock
