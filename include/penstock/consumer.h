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

/// Content a consumer wants from before it joined: the smaller of both limits; none if both are 0.
/// A limit of 0 beside one that is set means "no limit of this kind".
struct HistoryRequest {
    std::uint32_t packets = 0;
    std::chrono::milliseconds duration{0};
};

struct ConsumerOptions {
    std::vector<std::string> presence;  // "host:port", at least one; tried in turn
    std::string stream;                 // 1..255 bytes, printable ASCII
    HistoryRequest history;
    // How long to wait for an absent stream; max(): for ever; 0: be told at once, except that a
    // publisher that is there is given 5 s to start, and a presence that has just started 3 s. As
    // long, but not less than 5 s, any presence server has to answer at all.
    std::chrono::milliseconds wait{0};
    std::string bind_address;                        // "": any local address
    std::uint32_t receive_buffer_bytes = 4U << 20U;  // SO_RCVBUF asked for
    TlsFiles tls;                                    // towards presence; {}: plaintext
    bool insecure = false;                           // plaintext beyond loopback is allowed
};

enum class ConsumerState {
    connecting,  // no session with presence yet
    waiting,     // the stream is absent or starting
    joining,     // proving our address to the data server
    receiving,   // the flow is installed
    ended,       // for good: see status().last_error
};

struct ConsumerStatus {
    ConsumerState state = ConsumerState::connecting;
    std::uint64_t version = 0;                           // of the assignment
    std::chrono::steady_clock::time_point requested_at;  // when the newest request left
    std::chrono::steady_clock::time_point assigned_at;   // when the newest assignment came
    std::string data_server;             // "address:port" while joining or receiving
    std::uint64_t datagrams = 0;         // content received
    std::uint64_t bytes = 0;             // payload bytes of it
    std::uint64_t strangers = 0;         // datagrams from other addresses than the data server's
    std::uint64_t socket_overflows = 0;  // datagrams the kernel dropped for us (SO_RXQ_OVFL)
    std::string last_error;              // one line; "" if none
};

/// One received datagram. `payload` is valid until the next receive().
struct Datagram {
    std::span<const std::byte> payload;
    std::chrono::nanoseconds received_at{0};  // CLOCK_REALTIME, by the kernel (SO_TIMESTAMPNS)
};

/// Receives one stream. The session with presence runs on a thread of its own; the data network
/// (join, keepalive, content) is worked inside receive(): a consumer that does not receive for the
/// length of the lease loses its flow, which is what the lease is for.
/// Thread: receive() and leave() from one thread at a time; status() from any.
class Consumer {
  public:
    /// Errors: invalid_argument, system (no socket). An unreachable presence is no error here: it
    /// is tried again with jittered pauses, for ever once it has served us, and shows in status().
    static Result<std::unique_ptr<Consumer>> open(const ConsumerOptions& options);
    /// Sends LEAVE.
    virtual ~Consumer() = default;
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    /// Waits at most `timeout` for content and fills `datagrams` from the front.
    /// Returns: datagrams filled, 0 on timeout. Error once the consumer has ended (not_found: the
    ///          stream did not come within options.wait; unavailable: no presence server served us;
    ///          denied; invalid_argument).
    virtual Result<std::size_t> receive(std::span<Datagram> datagrams,
                                        std::chrono::milliseconds timeout) = 0;
    /// Ends the flow (LEAVE) and the session at once; receive() returns an error afterwards.
    virtual void leave() = 0;
    [[nodiscard]] virtual ConsumerStatus status() const = 0;

  protected:
    Consumer() = default;
};

}  // namespace penstock
