#include "base/net_address.h"
#include "base/options.h"
#include "penstock_publish/exec_source.h"
#include "penstock_publish/file_source.h"
#include "penstock_publish/generate_source.h"
#include "penstock_publish/pcap_source.h"
#include "penstock_publish/publish_options.h"
#include "penstock_publish/record_file.h"
#include "penstock_publish/transmit_loop.h"
#include "penstock_publish/udp_source.h"

#include <penstock/publisher.h>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <random>

namespace penstock {
namespace {

constexpr const char* kProgram = "penstock-publish";

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

std::uint64_t unix_now_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::system_clock::now().time_since_epoch())
                                          .count());
}

std::uint64_t random_run() {
    std::random_device device;
    return std::uint64_t{device()} << 32U | device();
}

Result<std::unique_ptr<Source>> open_source(const PublishOptions& options) {
    switch (options.source) {
        case SourceKind::input:
            return FileSource::open({.path = options.from,
                                     .bits_per_second = options.bits_per_second,
                                     .payload_bytes = options.payload_bytes,
                                     .loop = options.loop});
        case SourceKind::udp: {
            const Result<Endpoint> local = parse_endpoint(options.from);
            if (!local) {
                return local.error();
            }
            Result<std::unique_ptr<UdpSource>> source = UdpSource::open(*local);
            if (!source) {
                return source.error();
            }
            return std::unique_ptr<Source>(std::move(source.value()));
        }
        case SourceKind::pcap:
            return PcapSource::open(options.from, options.bits_per_second, options.loop);
        case SourceKind::exec:
            return std::unique_ptr<Source>(
                std::make_unique<ExecSource>(options.from, options.payload_bytes));
        case SourceKind::generate:
            return std::unique_ptr<Source>(std::make_unique<GenerateSource>(
                options.bits_per_second, options.payload_bytes, random_run(), unix_now_ns));
    }
    return Error{ErrorCode::invalid_argument, "no such source"};
}

Result<void> run(const PublishOptions& options) {
    Result<std::unique_ptr<Source>> source = open_source(options);
    if (!source) {
        return source.error();
    }
    Result<RecordFile> record = RecordFile::open(options.record);
    if (!record) {
        return record.error();
    }
    Result<std::unique_ptr<Publisher>> publisher = Publisher::open(options.publisher);
    if (!publisher) {
        return publisher.error();
    }
    TransmitLoop loop(**publisher, **source, *record, options.json, stop_requested);
    const Result<void> ended = loop.run();
    if (options.json) {
        fmt::print("{}\n", done_line((*publisher)->status()));
        std::fflush(stdout);
    }
    return ended;
}

int main(int argc, const char* const* argv) {
    const Result<std::optional<PublishOptions>> options = parse_publish_options(argc, argv);
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
