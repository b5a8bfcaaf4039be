#pragma once

#include "client/desired_state.h"

#include <penstock/publisher.h>
#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace penstock {

// A session with presence, kept up by a thread of its own: it dials whom PresenceTurns says, with
// jittered pauses between, sends a heartbeat each second, gives a session up that was silent for
// three, and hands on every desired state once. gRPC's CompletionQueue API with that thread blocked
// in it is used because the callback API lets a client that waits quietly for START sleep through
// up to 100 ms (its pollers rest after a second without events).

struct PresenceAddresses {
    std::vector<std::string> addresses;  // "host:port"
    TlsFiles tls;                        // {}: plaintext
    bool insecure = false;               // plaintext beyond loopback is wanted
};

/// Errors: invalid_argument for none, for one that is not host:port, for one beyond loopback
/// in plaintext without `insecure`, and for files that are no good (rpc/tls.h).
Result<void> check_presence(const PresenceAddresses& presence);

/// Pause before the n-th attempt in a row (1 = the first after a failure): 100 ms doubling to 2 s,
/// of which a random half is taken away. `random`: any 64 bits.
std::chrono::milliseconds reconnect_pause(unsigned attempt, std::uint64_t random) noexcept;

/// Which attempt in a row the next one is, after the `attempt`-th ended. `was_up`: it was a
/// session; `answered`: a presence server said when to ask again. That is waited for first, so what
/// comes on top stays within 400 ms.
unsigned next_attempt(unsigned attempt, bool was_up, bool answered) noexcept;

/// What a session tells its owner. Thread: the session's; to return quickly.
template <typename Desired>
class PresenceEvents {
  public:
    /// A desired state above all before.
    virtual void on_desired(const Desired& desired) = 0;
    /// The session is up (trouble "") or was lost or refused; it is tried again. `retry_after`:
    /// when presence, refusing, said to ask again; 0: it did not refuse.
    virtual void on_session(const std::string& trouble, std::chrono::milliseconds retry_after) = 0;
    /// Presence refused us for good; nothing follows.
    virtual void on_rejected(const std::string& reason) = 0;
    virtual ~PresenceEvents() = default;

  protected:
    PresenceEvents() = default;
    PresenceEvents(const PresenceEvents&) = default;
    PresenceEvents& operator=(const PresenceEvents&) = default;
};

struct PublishRequest {
    std::uint64_t publisher_id = 0;
    std::string stream;
    StartPolicy start = StartPolicy::publish;
    std::uint64_t max_bits_per_second = 0;
    std::chrono::milliseconds close_after{0};
};

class PublisherSession {
  public:
    /// `events` must outlive the session. The addresses were checked.
    static std::unique_ptr<PublisherSession> open(const PresenceAddresses& presence,
                                                  const PublishRequest& request,
                                                  PresenceEvents<DesiredPublishing>& events);
    /// Ends the session and its thread.
    virtual ~PublisherSession() = default;
    /// Says what holds now; only the newest report is kept. Thread: any.
    virtual void report(const PublishingReport& report) = 0;
};

class ConsumerEvents : public PresenceEvents<DesiredConsuming> {
  public:
    /// A request is about to leave.
    /// Returns: how long presence is to let it wait for an absent stream; max() for ever.
    virtual std::chrono::milliseconds on_request() = 0;
};

class ConsumerSession {
  public:
    static std::unique_ptr<ConsumerSession> open(const PresenceAddresses& presence,
                                                 std::uint64_t consumer_id,
                                                 const std::string& stream,
                                                 ConsumerEvents& events);
    virtual ~ConsumerSession() = default;
    /// Asks for a fresh assignment in place of `version`. Thread: any.
    virtual void renew(std::uint64_t version) = 0;
};

}  // namespace penstock
