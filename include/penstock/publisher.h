#pragma once

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace penstock {

/// When the first START comes: at once, so that content is stored before the first consumer asks,
/// or with the first consumer.
enum class StartPolicy { publish, demand };

struct PublisherOptions {
    std::vector<std::string> presence;  // "host:port", at least one; tried in turn
    std::string stream;                 // 1..255 bytes, printable ASCII
    StartPolicy start = StartPolicy::publish;
    std::uint64_t max_bits_per_second = 0;     // 0: not declared
    std::chrono::milliseconds close_after{0};  // 0: presence's own default
    std::string bind_address;                  // "": any local address
    TlsFiles tls;                              // towards presence; {}: plaintext
    bool insecure = false;                     // plaintext beyond loopback is allowed
};

/// What presence wants of this publisher now.
enum class PublisherState {
    connecting,    // no session with presence yet
    waiting,       // WAIT: nobody watches, do not transmit
    starting,      // START came; the data server is proving our address
    transmitting,  // datagrams are accepted and relayed
    stopped,       // STOP: cease now; WAIT follows
    ended,         // presence refused us for good: see last_error
};

struct PublisherStatus {
    PublisherState state = PublisherState::connecting;
    std::uint64_t version = 0;  // of the desired state, rises with every change
    std::chrono::steady_clock::time_point desired_at;  // when that desired state arrived
    std::string data_server;  // "address:port" while starting or transmitting
    std::uint64_t datagrams_sent = 0;
    std::uint64_t bytes_sent = 0;        // payload bytes
    std::uint64_t datagrams_unsent = 0;  // refused by the kernel, or offered while not transmitting
    std::string last_error;              // one line; "" if none; cleared by the next success
};

/// Sends one stream of datagrams while presence wants it. Connects, reconnects and proves its
/// address by itself, on threads of its own.
/// Thread: publish() and wait_change() from one thread at a time; status() from any.
class Publisher {
  public:
    /// Errors: invalid_argument, system (no socket). An unreachable presence is no error: it is
    /// tried again for ever with jittered backoff and shows in status().
    static Result<std::unique_ptr<Publisher>> open(const PublisherOptions& options);
    virtual ~Publisher() = default;
    Publisher(const Publisher&) = delete;
    Publisher& operator=(const Publisher&) = delete;

    /// Hands datagrams (each 0..kPayloadBytesMax bytes) to the kernel, in order, in one attempt.
    /// Returns: datagrams sent; those after it were not, and are counted unsent. 0 while not
    ///          transmitting.
    virtual std::size_t publish(std::span<const std::span<const std::byte>> datagrams) = 0;

    /// Blocks until state or version has changed since `seen`, or `timeout` passes.
    /// Returns: the change that followed `seen`, so that none is missed (the newest status if
    ///          `seen` is too old to be remembered, or on timeout).
    virtual PublisherStatus wait_change(const PublisherStatus& seen,
                                        std::chrono::milliseconds timeout) = 0;
    [[nodiscard]] virtual PublisherStatus status() const = 0;

    static constexpr std::size_t kPayloadBytesMax = 1472;  // IPv4, 1500-byte MTU

  protected:
    Publisher() = default;
};

}  // namespace penstock
