#include "base/options.h"
#include "penstock_bench/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <string_view>

namespace {

using namespace penstock;

constexpr const char* kProgram = "penstock-bench";

struct Command {
    std::string_view name;
    std::string_view summary;
    int (*run)(int argc, const char* const* argv);
};
// clang-format off
constexpr std::array kCommands{
    Command{"replicate", "copies a second of the relay itself, from and to any DPDK port", bench::run_replicate},
    Command{"relay",     "what comes through the relay without loss, over memif or NICs",   bench::run_relay},
    Command{"latency",   "what the relay adds to a packet's way, under an open loop",      bench::run_latency},
    Command{"fairness",  "what a stream with many consumers adds to the latency of another",     bench::run_fairness},
    Command{"join",      "joins a second at a data server, requests a second at presence",  bench::run_join},
    Command{"memory",    "bytes of memory a flow takes",                                    bench::run_memory},
};
// clang-format on

std::string usage() {
    std::string text = fmt::format("usage: {} COMMAND [OPTIONS]\n\n", kProgram);
    for (const Command& command : kCommands) {
        text += fmt::format("  {:<10} {}\n", command.name, command.summary);
    }
    return text + fmt::format("\n`{} COMMAND --help` explains each.\n", kProgram);
}

int run(int argc, const char* const* argv) {
    const std::string_view word = argc > 1 ? argv[1] : "";
    if (word == "--help" || word == "-h") {
        fmt::print("{}", usage());
        return 0;
    }
    if (word == "--version") {
        fmt::print("{} {}\n", kProgram, PENSTOCK_VERSION);
        return 0;
    }
    const auto* const command = std::find_if(
        kCommands.begin(), kCommands.end(), [&](const Command& one) { return one.name == word; });
    if (command == kCommands.end()) {
        std::string names;
        for (const Command& one : kCommands) {
            names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
        }
        return fail(kProgram,
                    {ErrorCode::invalid_argument,
                     fmt::format("{}; say one of {}",
                                 word.empty() ? "which benchmark?"
                                              : fmt::format("there is no benchmark '{}'", word),
                                 names)});
    }
    return command->run(argc - 1, argv + 1);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {  // out of memory
        std::fprintf(stderr, "penstock-bench: %s\n", error.what());
    } catch (...) {
        std::fprintf(stderr, "penstock-bench: unknown exception\n");
    }
    return 1;
}
