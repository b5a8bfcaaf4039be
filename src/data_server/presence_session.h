#pragma once

#include "base/unique_fd.h"
#include "data_server/control_messages.h"

#include <penstock/tls.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock {

struct PresenceSessionConfig {
    std::vector<std::string> addresses;  // HOST:PORT, called as rpc/presence_turns says
    TlsFiles tls;                        // read anew for each session; {}: plaintext
    control::DataServerHello hello;      // epoch, generation and clock are set at each hello
};

/// The pause before dialling again after a session: 100 ms, doubling up to 2 s with each that ended
/// without a welcome; not if presence was there and said when to ask again (`answered`).
std::chrono::milliseconds next_backoff(std::chrono::milliseconds backoff,
                                       bool was_welcome,
                                       bool answered) noexcept;

/// The data server's session with presence: dials, says hello, carries messages both ways, and
/// dials again (after 50 ms to 2 s, at random or as presence said; at once whom it named) whenever
/// the session ends. gRPC lives in a thread
/// of its own, which speaks to the control thread through two bounded queues and an event
/// descriptor.
class PresenceSession {
  public:
    /// Messages held each way. Beyond, the session ends and begins anew: all of it is state that
    /// the next one carries whole.
    static constexpr std::size_t kMessagesMax = 8192;

    /// Starts to dial. Errors: system.
    static Result<std::unique_ptr<PresenceSession>> start(PresenceSessionConfig config);
    /// Ends the session and the thread.
    ~PresenceSession();
    PresenceSession(const PresenceSession&) = delete;
    PresenceSession& operator=(const PresenceSession&) = delete;

    // Thread: control.
    /// Readable when receive() has something.
    [[nodiscard]] int fd() const noexcept;
    /// What came since the last call, in order.
    std::deque<DownMessage> receive();
    /// Goes out after what was sent before; dropped while no session is welcome.
    void send(UpMessage message);
    /// Goes out as soon as possible; one not yet sent is replaced.
    void send_load(const LoadReport& report);
    /// What the next hello says of the past.
    void set_position(std::uint64_t epoch, std::uint64_t generation);
    /// Ends the present session; whose turn it is next is called.
    void drop(const std::string& reason);

  private:
    struct State;
    explicit PresenceSession(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace penstock
