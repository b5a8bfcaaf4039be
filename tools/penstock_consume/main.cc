#include "base/net_address.h"
#include "base/options.h"
#include "penstock_consume/consume_options.h"
#include "penstock_consume/receive_loop.h"
#include "penstock_consume/sink.h"

#include <penstock/consumer.h>

#include <atomic>
#include <csignal>
#include <memory>

namespace penstock {
namespace {

constexpr const char* kProgram = "penstock-consume";

std::atomic<bool> stop_requested = false;  // set by a signal handler
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int /*signal*/) { stop_requested = true; }

void install_signal_handlers() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, nullptr);
}

Result<std::unique_ptr<Sink>> open_sink(const ConsumeOptions& options) {
    switch (options.output) {
        case OutputKind::none:
            return std::unique_ptr<Sink>(std::make_unique<NullSink>());
        case OutputKind::stream:
            return FileSink::open(options.to, stop_requested);
        case OutputKind::udp: {
            const Result<Endpoint> to = parse_endpoint(options.to);
            if (!to) {
                return to.error();
            }
            return UdpSink::open(*to);
        }
    }
    return Error{ErrorCode::invalid_argument, "no such output"};
}

Result<void> run(const ConsumeOptions& options) {
    const Result<std::unique_ptr<Sink>> sink = open_sink(options);
    if (!sink) {
        return sink.error();
    }
    const Result<std::unique_ptr<Consumer>> consumer = Consumer::open(options.consumer);
    if (!consumer) {
        return consumer.error();
    }
    return ReceiveLoop(**consumer, **sink, options, stop_requested).run();
}

int main(int argc, const char* const* argv) {
    const Result<std::optional<ConsumeOptions>> options = parse_consume_options(argc, argv);
    if (!options) {
        return fail(kProgram, options.error());
    }
    if (!options->has_value()) {
        return 0;
    }
    install_signal_handlers();
    const Result<void> done = run(**options);
    return done ? 0 : fail(kProgram, done.error());
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::main(argc, argv); }
