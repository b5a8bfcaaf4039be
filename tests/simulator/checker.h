#pragma once

#include "client/desired_state.h"
#include "presence/state.h"
#include "simulator/node.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::simulator {

class ConsumerModel;
class DataServerModel;
class PublisherModel;

/// What was broken first in a run.
struct Violation {
    std::string invariant;  // "I1", "I2", "I6", "I7", "state"
    std::string text;
    MonotonicTime at;
};

/// Who must never do what, looked at as it happens (shared names: I1, I2, I6, I7).
class Checker {
  public:
    explicit Checker(Surroundings& around) : around_(around) {}

    // By the models, as it happens.
    void on_lead(NodeId presence, const presence::Durable& facts);
    void on_boot(NodeId server) { obeyed_[server] = 0; }
    /// The data server has applied a set that said this epoch.
    void on_obeyed(NodeId server, std::uint64_t epoch);
    void on_set_sent(const presence::State& state,
                     const Node& server,
                     const control::StreamSet& set);
    void on_desired_sent(const presence::State& state,
                         const Node& publisher,
                         const control::PublisherDesired& desired);
    void on_assignment_sent(const presence::State& state,
                            const Node& consumer,
                            const control::Assignment& assignment);
    void check_state(const presence::State& state);
    void check_deadline(const presence::State& state);

    /// Content of its stream comes to the consumer from there now.
    [[nodiscard]] bool is_sent(const ConsumerModel& consumer, const Endpoint& from) const;
    /// ... from anywhere it takes it from.
    [[nodiscard]] bool receives(const ConsumerModel& consumer) const;
    /// I6; to be called often.
    void watch();

    void fail(std::string invariant, std::string text);
    [[nodiscard]] const std::optional<Violation>& violation() const noexcept { return violation_; }

  private:
    struct Lead {
        NodeId presence;
        MonotonicTime since;
        std::set<std::string, std::less<>> recorded;                // data servers
        std::map<std::string, presence::Duty, std::less<>> duties;  // of them, from the beginning
        bool is_disturbed = false;  // an older leader has moved streams since
    };

    /// A publisher's content reaches the data server for this stream.
    [[nodiscard]] bool is_fed(const DataServerModel& server,
                              StreamId stream,
                              const Endpoint& endpoint) const;
    [[nodiscard]] const DataServerModel& server_at(const Endpoint& endpoint) const;
    [[nodiscard]] bool is_watched(const DataServerModel& server, StreamId stream) const;
    /// The data server has a publisher's session of this stream on record. Two that say so cannot
    /// be told apart: one of them has lost a LEAVE.
    [[nodiscard]] bool claims_publisher(const std::optional<Endpoint>& place,
                                        StreamId stream) const;
    /// This presence has had the data server's session and lost it: it may move its streams.
    [[nodiscard]] static bool has_happened(const presence::State& state,
                                           presence::EventKind kind,
                                           const DataServerModel& server);
    /// It said that it could not relay.
    [[nodiscard]] static bool was_degraded(const presence::State& state,
                                           const DataServerModel& server);
    [[nodiscard]] static bool was_lost(const presence::State& state, const DataServerModel& server);
    /// A presence could know that it had to wait for this data server when it decided about the
    /// stream: it was on record when that presence began to lead, or one that was not had shown
    /// that the record has gaps. The store may have failed until the presence before was gone.
    [[nodiscard]] bool can_expect(const presence::State& state,
                                  const DataServerModel& server,
                                  StreamId stream) const;
    [[nodiscard]] bool is_recovering(std::uint64_t epoch) const;
    [[nodiscard]] bool is_in_power(const DataServerModel& server) const;
    /// A drain moves it: whose LEAVE was lost is sent it twice until all others have gone over.
    [[nodiscard]] bool is_moving(StreamId stream) const;
    /// What operators have taken out, and what is full, is given nothing new.
    void check_placed(const presence::State& state,
                      const Node& server,
                      const presence::Stream& stream);
    void check_admitted(const presence::State& state,
                        const presence::Stream& stream,
                        const presence::Consumer& consumer);
    void check_streams(const presence::State& state);
    void check_servers(const presence::State& state);
    void check_sessions(const presence::State& state);

    Surroundings& around_;
    std::map<NodeId, std::uint64_t> obeyed_;
    std::map<std::uint64_t, Lead> leads_;  // by epoch
    std::map<std::pair<NodeId, PeerId>, MonotonicTime> overlaps_;
    std::set<std::pair<std::uint64_t, PeerId>> admitted_;  // by the leader of an epoch
    std::optional<Violation> violation_;
};

}  // namespace penstock::simulator
