#include "base/log.h"
#include "base/options.h"
#include "presence/config.h"
#include "presence/presence_service.h"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <pthread.h>
#include <utility>

namespace {

using namespace penstock;

constexpr const char* kProgram = "penstock-presence";

/// Everything a start of presence draws anew: nothing is kept from the one before.
presence::State fresh_state(const presence::Settings& settings) {
    presence::State state;
    state.settings = settings;
    state.random = random_u64;
    fill_random(state.master_key.bytes);
    state.started_at = monotonic_now();
    // Higher than any presence that was started here before, as long as its clock is right; data
    // servers that have seen a higher one raise it further.
    const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
    state.epoch = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(since_1970).count());
    return state;
}

/// Threads inherit the mask: the signals stay pending until main waits for them.
sigset_t block_end_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return signals;
}

}  // namespace

int main(int argc, char** argv) {
    const Result<std::optional<presence::Config>> config = presence::parse_config(argc, argv);
    if (!config) {
        return fail(kProgram, config.error());
    }
    if (!config->has_value()) {
        return 0;
    }
    if (!initialise_cryptography()) {
        return fail(kProgram, {ErrorCode::system, "libsodium could not be initialised"});
    }
    const sigset_t signals = block_end_signals();
    const presence::Config& options = **config;
    auto service = presence::PresenceService::start(options.listen, fresh_state(options.settings));
    if (!service) {
        return fail(kProgram, service.error());
    }
    for (std::size_t at = 0, end = 0; at < options.effective.size(); at = end + 1) {
        end = options.effective.find('\n', at);
        log_info(options.effective.substr(at, end - at));
    }
    fmt::print("ready presence listen={}\n", to_string((*service)->listening()));
    std::fflush(stdout);

    int received = 0;
    sigwait(&signals, &received);
    return 0;
}
