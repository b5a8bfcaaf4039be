#include "base/log.h"
#include "base/options.h"
#include "presence/config.h"
#include "presence/election_thread.h"
#include "presence/etcd_session.h"
#include "presence/presence_service.h"
#include "presence/recover.h"
#include "presence/store_etcd.h"
#include "presence/store_sqlite.h"
#include "rpc/tls.h"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <pthread.h>
#include <sys/resource.h>
#include <utility>

namespace {

using namespace penstock;

constexpr const char* kProgram = "penstock-presence";

/// What a new store begins with. Its epoch is above those that a lost one may have counted, as long
/// as the clock is right; data servers that have obeyed a higher one have it raised further.
presence::Durable first_facts() {
    presence::Durable facts;
    fill_random(facts.master_key.bytes);
    const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
    facts.epoch = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(since_1970).count());
    return facts;
}

Result<std::unique_ptr<presence::SqliteStore>> open_store(const presence::Config& options) {
    if (!options.store.empty()) {
        return presence::SqliteStore::open(options.store, first_facts());
    }
    const std::string path = presence::default_store_path();
    if (auto made = presence::make_store_directory(path); !made) {
        return std::move(made).error();
    }
    return presence::SqliteStore::open(path, first_facts());
}

/// A state that leads, in an epoch of its own: durable before anybody hears of it.
Result<presence::State> leading_state(const presence::Settings& settings,
                                      presence::SqliteStore& store) {
    presence::Durable facts = store.found();
    const auto epoch = presence::next_epoch(facts, 0);
    if (!epoch) {
        return Error{epoch.error().code,
                     fmt::format("the store {}: {}", store.path(), epoch.error().message)};
    }
    facts.epoch = *epoch;
    if (auto written = store.write(facts); !written) {
        return std::move(written).error();
    }
    presence::State state;
    state.settings = settings;
    state.random = random_u64;
    presence::lead(state, std::move(facts), monotonic_now());
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

void log_effective(const std::string& options) {
    for (std::size_t at = 0, end = 0; at < options.size(); at = end + 1) {
        end = options.find('\n', at);
        log_info(options.substr(at, end - at));
    }
}

/// Says to whoever started us that peers may call, and waits for a signal.
void serve(const presence::PresenceService& service, const sigset_t& signals) {
    fmt::print("ready presence listen={}\n", to_string(service.listening()));
    std::fflush(stdout);
    int received = 0;
    sigwait(&signals, &received);
}

/// One presence server, with a store of its own.
Result<void> run_alone(const presence::Config& options, const sigset_t& signals) {
    auto store = open_store(options);
    if (!store) {
        return std::move(store).error();
    }
    auto state = leading_state(options.settings, **store);
    if (!state) {
        return std::move(state).error();
    }
    presence::CommandGate gate;
    gate.open_until(presence::BootTime::max());
    auto service = presence::PresenceService::start(
        options.listen, options.tls, std::move(state).value(), **store, gate);
    if (!service) {
        return std::move(service).error();
    }
    log_effective(options.effective);
    serve(**service, signals);
    return {};
}

/// One of several, which share an etcd and of which one leads.
Result<void> run_among_others(const presence::Config& options, const sigset_t& signals) {
    auto for_store =
        presence::EtcdSession::open(options.etcd, options.etcd_prefix, options.etcd_tls);
    auto for_election =
        presence::EtcdSession::open(options.etcd, options.etcd_prefix, options.etcd_tls);
    if (!for_store || !for_election) {
        return std::move(for_store ? for_election : for_store).error();
    }
    presence::EtcdStore store(**for_store);
    presence::CommandGate gate;
    presence::State state;
    state.settings = options.settings;
    state.random = random_u64;
    presence::follow(state, "");
    auto service = presence::PresenceService::start(
        options.listen, options.tls, std::move(state), store, gate);
    if (!service) {
        return std::move(service).error();
    }
    log_effective(options.effective);
    const std::string address =
        options.advertise.empty() ? to_string((*service)->listening()) : options.advertise;
    const presence::ElectionThread election(
        {.address = address, .first_facts = first_facts, .now = presence::BootClock::now},
        **for_election,
        store,
        gate,
        **service);
    serve(**service, signals);
    return {};
}

/// A session may take a file: as many as we may open.
void allow_all_files() {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);  // refused: then fewer sessions are taken
    }
}

int run(int argc, const char* const* argv) {
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
    allow_all_files();
    if (const auto checked = control::check_tls(options.tls, true); !checked) {
        return fail(kProgram, checked.error());  // before a store is opened
    }
    const auto done =
        options.etcd.empty() ? run_alone(options, signals) : run_among_others(options, signals);
    if (!done) {
        return fail(kProgram, done.error());
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {  // out of memory
        std::fprintf(stderr, "%s: %s\n", kProgram, error.what());
    } catch (...) {
        std::fprintf(stderr, "%s: unknown exception\n", kProgram);
    }
    return 1;
}
