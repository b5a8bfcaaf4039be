#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/protocol.h"
#include "data_server/config.h"
#include "data_server/control_loop.h"
#include "data_server/data_server.h"
#include "data_server/machine.h"
#include "data_server/presence_session.h"
#include "data_server/stream_memory.h"
#include "data_server/stream_table.h"
#include "data_server/workers.h"
#include "rpc/tls.h"
#include "wire/ticket.h"

#include <fmt/format.h>
#include <rte_cycles.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace penstock {
namespace {

constexpr const char* kProgram = "penstock-data";
constexpr std::uint16_t kIpUdpHeaderBytes = 28;
constexpr std::chrono::milliseconds kFarewellMost{200};

/// Signals come by the control loop's descriptor; every thread inherits that they are blocked.
void block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
}

JoinConfig join_config(const DataServerConfig& config) {
    JoinConfig join;
    join.lease_ms = static_cast<std::uint32_t>(config.lease.count());
    join.keepalive_ms = static_cast<std::uint32_t>(config.keepalive.count());
    join.consumers_max = config.consumers_max;
    join.payload_bytes_max = static_cast<std::uint16_t>(config.mtu - kIpUdpHeaderBytes);
    for (const PortConfig& port : config.ports) {
        join.data_addresses.push_back(port.address);
    }
    return join;
}

control::DataServerHello hello(const DataServerConfig& config, const Machine& machine) {
    control::DataServerHello hello;
    hello.protocol = kProtocols.newest;
    hello.protocol_oldest = kProtocols.oldest;
    hello.name = config.id;
    hello.boot_id = random_u64();
    for (std::size_t i = 0; i < machine.ports.size(); ++i) {
        const Port& port = machine.ports[i];
        hello.ports.push_back({port.info().name,
                               port.info().driver,
                               config.ports[i].address.ip,
                               config.link_bits_per_second != 0 ? config.link_bits_per_second
                                                                : port.link_bits_per_second()});
    }
    hello.stream_port_first = config.stream_ports.first;
    hello.stream_port_last = config.stream_ports.last;
    hello.consumers_max = config.consumers_max;
    hello.streams_max = config.streams_max;
    return hello;
}

/// The line that says to whoever started us that ports run and TAPs are up.
void print_ready(const DataServerConfig& config, const Machine& machine) {
    std::string ports;
    for (std::size_t i = 0; i < machine.ports.size(); ++i) {
        ports += fmt::format("{}{}:{}",
                             i == 0 ? "" : ",",
                             machine.ports[i].info().name,
                             to_string(config.ports[i].address.ip));
    }
    fmt::print("ready data id={} workers={} ports={}\n", config.id, config.worker_count(), ports);
    std::fflush(stdout);
}

DataServerOutputs outputs(const DataServerConfig& config,
                          const Machine& machine,
                          const Workers& workers,
                          PresenceSession& presence) {
    return {
        .send_frame =
            [&](const SessionReply& reply, std::uint8_t worker) {
                return send_session_frame(machine, workers, reply, worker);
            },
        .send_up = [&](UpMessage message) { presence.send(std::move(message)); },
        .send_load = [&](const LoadReport& report) { presence.send_load(report); },
        .set_position = [&](std::uint64_t epoch,
                            std::uint64_t generation) { presence.set_position(epoch, generation); },
        .drop_presence = [&](const std::string& reason) { presence.drop(reason); },
        .measure = [&] { return workers.measure(machine, config.link_bits_per_second); }};
}

/// After what can fail: an error at start is one line on standard error and nothing else.
void log_effective(std::string_view options) {
    while (!options.empty()) {
        const std::size_t end = options.find('\n');
        log_info(fmt::format("option {}", options.substr(0, end)));
        options.remove_prefix(end == std::string_view::npos ? options.size() : end + 1);
    }
}

/// Everything from the machine upwards; taken down in reverse when it returns.
Result<void> serve(const DataServerConfig& config) {
    auto set_up = Machine::set_up(config);
    if (!set_up) {
        return std::move(set_up).error();
    }
    log_effective(config.effective);
    Machine& machine = *set_up;
    StreamMemory memory(machine.plan.ring_packets, machine.ports.size(), machine.socket());
    auto made = Workers::create(config, machine);
    if (!made) {
        return std::move(made).error();
    }
    Workers& workers = **made;
    StreamTable streams(stream_table_config(config, machine), memory, workers.commands());
    auto session = PresenceSession::start({config.presence, config.tls, hello(config, machine)});
    if (!session) {
        return std::move(session).error();
    }
    SessionKey boot_key;
    fill_random(boot_key.bytes);
    const LoadLimits limits{.tsc_hz = rte_get_tsc_hz(),
                            .rx_descriptors = config.rx_descriptors,
                            .pool_packets = machine.plan.payload_mbufs - machine.plan.payloads_low};
    DataServer server(join_config(config),
                      boot_key,
                      limits,
                      streams,
                      outputs(config, machine, workers, **session));
    auto loop = ControlLoop::create(machine, workers, server, **session);
    if (!loop) {
        return std::move(loop).error();
    }
    if (auto started = workers.start(config.poll); !started) {
        return started;
    }
    print_ready(config, machine);
    (*loop)->run();
    server.shut_down(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(monotonic_now().time_since_epoch())
            .count()));
    (*loop)->flush(kFarewellMost);
    workers.stop();
    return {};
}

int run(int argc, const char* const* argv) {
    const auto config = parse_config(argc, argv, usable_cpus());
    if (!config) {
        return fail(kProgram, config.error());
    }
    if (!*config) {
        return 0;
    }
    if (!initialise_cryptography()) {
        return fail(kProgram, {ErrorCode::system, "libsodium does not start"});
    }
    if (const auto checked = control::check_tls((*config)->tls, false); !checked) {
        return fail(kProgram, checked.error());  // before a port is touched
    }
    block_signals();
    if (const auto served = serve(**config); !served) {
        return fail(kProgram, served.error());
    }
    return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
    try {
        return penstock::run(argc, argv);
    } catch (const std::exception& error) {  // out of memory: everything below has been undone
        std::fprintf(stderr, "%s: %s\n", penstock::kProgram, error.what());
    } catch (...) {
        std::fprintf(stderr, "%s: unknown exception\n", penstock::kProgram);
    }
    return 1;
}
