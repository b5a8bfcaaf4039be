/// Peers of a presence server by the thousand, which do what they are told on standard input, a
/// line each, and answer each with a JSON object on standard output:
///
///   servers COUNT STREAMS ACTIVE         that many more data servers attach
///   publishers COUNT                     that many more sessions
///   consumers COUNT                      that many more, of streams of the publishers
///   request SECONDS OUTSTANDING CONNECTIONS   a session for each request
///   renew SECONDS OUTSTANDING CONNECTIONS     requests for a new ticket
///
/// The last two say {"mark": true} when measuring begins and when it ends. Between commands data
/// servers go on reporting. The end of the input ends it.
#include "base/options.h"
#include "base/tls_options.h"
#include "presence_load/load.h"
#include "rpc/tls_files.h"
#include "wire/ticket.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <poll.h>
#include <sstream>
#include <string>
#include <unistd.h>
#include <utility>

namespace penstock::bench {
namespace {

constexpr const char* kProgram = "penstock-presence-load";
constexpr std::chrono::milliseconds kLook{10};

/// Standard input, line by line, without waiting for it.
class Lines {
  public:
    /// Reads what there is. Returns: whether there is a line, or the end.
    bool look() {
        pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
        if (!has_line() && ::poll(&input, 1, 0) > 0) {
            std::array<char, 4096> bytes{};
            const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
            if (count > 0) {
                text_.append(bytes.data(), static_cast<std::size_t>(count));
            } else if (count == 0 || errno != EINTR) {
                is_over_ = true;
            }
        }
        return has_line() || is_over_;
    }
    std::optional<std::string> take() {
        if (!has_line()) {
            return std::nullopt;
        }
        const std::string line = text_.substr(0, text_.find('\n'));
        text_.erase(0, line.size() + 1);
        return line;
    }

  private:
    [[nodiscard]] bool has_line() const { return text_.find('\n') != std::string::npos; }

    std::string text_;
    bool is_over_ = false;
};

std::string json_of(const LoadCounts& counts) {
    const auto at = [&counts](double share) {
        return static_cast<double>(counts.nanoseconds.percentile(share)) / 1e6;
    };
    return fmt::format(
        R"({{"ok": true, "seconds": {:.6f}, "requests": {}, "refused": {}, "p50_ms": {:.3f}, )"
        R"("p99_ms": {:.3f}, "most_ms": {:.3f}, "reports": {}, "held_up": {}, "taken": {}}})",
        counts.seconds,
        counts.requests,
        counts.refused,
        at(0.5),
        at(0.99),
        at(1),
        counts.reports,
        counts.held_up,
        counts.taken);
}

std::string answer(Load& load, const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    const auto said = [](bool ok) { return fmt::format(R"({{"ok": {}}})", ok); };
    if (verb == "servers") {
        std::size_t count = 0;
        std::size_t streams = 0;
        std::size_t active = 0;
        words >> count >> streams >> active;
        return said(words && load.add_servers(count, streams, active));
    }
    if (verb == "publishers" || verb == "consumers") {
        std::size_t count = 0;
        words >> count;
        return said(words && (verb == "publishers" ? load.add_publishers(count)
                                                   : load.add_consumers(count)));
    }
    double seconds = 0;
    std::size_t outstanding = 0;
    std::size_t connections = 0;
    words >> seconds >> outstanding >> connections;
    if (!words || outstanding == 0 || connections == 0 || (verb != "request" && verb != "renew")) {
        return said(false);
    }
    const auto duration = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(seconds));
    return json_of(verb == "request" ? load.request(duration, outstanding, connections)
                                     : load.renew(duration, outstanding, connections));
}

Result<void> prepare(Surroundings& surroundings, const std::string& presence, const TlsFiles& tls) {
    const Result<Endpoint> endpoint = parse_endpoint(presence);
    if (!endpoint) {
        return endpoint.error();
    }
    surroundings.presence = *endpoint;
    if (!tls.any()) {
        return {};
    }
    const auto material = control::read_tls(tls, false);
    if (!material) {
        return material.error();
    }
    auto context = control::TlsContext::of_caller(*material, to_string(endpoint->ip));
    if (!context) {
        return std::move(context).error();
    }
    surroundings.tls = std::move(context).value();
    return {};
}

int run(int argc, char** argv) {
    std::string presence;
    TlsFiles tls;
    Options options(kProgram, "peers of a presence server by the thousand, told by a program");
    options.positional("presence", presence, "IP:PORT of the presence server");
    add_caller_tls_options(options, tls);
    const auto outcome = options.parse(argc, argv);
    if (!outcome) {
        return fail(kProgram, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    if (!initialise_cryptography()) {
        return fail(kProgram, {ErrorCode::system, "libsodium could not be initialised"});
    }
    Surroundings surroundings;
    if (const Result<void> ready = prepare(surroundings, presence, tls); !ready) {
        return fail(kProgram, ready.error());
    }
    Load load(surroundings, [] {
        fmt::print("{}\n", R"({"mark": true})");
        std::fflush(stdout);
    });
    Lines lines;
    for (;;) {
        while (!load.work(kLook, [&] { return lines.look(); })) {
        }
        const std::optional<std::string> line = lines.take();
        if (!line) {
            return 0;
        }
        fmt::print("{}\n", answer(load, *line));
        std::fflush(stdout);
    }
}

}  // namespace
}  // namespace penstock::bench

int main(int argc, char** argv) {
    try {
        return penstock::bench::run(argc, argv);
    } catch (const std::exception& error) {  // out of memory
        std::fprintf(stderr, "penstock-presence-load: %s\n", error.what());
    } catch (...) {
        std::fprintf(stderr, "penstock-presence-load: unknown exception\n");
    }
    return 1;
}
