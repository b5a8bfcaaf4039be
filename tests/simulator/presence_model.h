#pragma once

#include "presence/core.h"
#include "simulator/node.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>

namespace penstock::simulator {

/// What presence servers keep outside themselves: the durable facts, and who leads.
class Arbiter {
  public:
    explicit Arbiter(Random& random);

    /// The epoch of a new leader; nullopt while another's lease runs.
    std::optional<std::uint64_t> acquire(NodeId node, MonotonicTime now, nanoseconds lease);
    /// Returns: whether it still leads.
    bool renew(NodeId node, std::uint64_t epoch, MonotonicTime now, nanoseconds lease);
    /// Returns: whether they are durable: not of a leader whose lease has ended.
    bool store(std::uint64_t epoch, const presence::Durable& facts);
    [[nodiscard]] const presence::Durable& facts() const noexcept { return facts_; }

  private:
    presence::Durable facts_;
    NodeId leader_ = 0;
    MonotonicTime lease_end_;
};

/// What may be wrong with a presence server on purpose, to see that it is found.
struct PresenceFlaw {
    bool forgets_reports = false;  // while recovering: it then deletes what it does not know
    bool says_once = false;        // START, STOP and WAIT are never repeated
};

/// A presence server: a thread around step(), as presence/core_thread.cc, and whether it leads.
/// One alone always leads. Of several the leader holds a lease; it stops commanding half a second
/// before that can have ended, unless a fault has taken this from it.
class PresenceModel final : public Node {
  public:
    PresenceModel(Surroundings& around,
                  NodeId id,
                  std::string name,
                  Arbiter& arbiter,
                  presence::Settings settings,
                  PresenceFlaw flaw);

    void on_called(CallId call) override;
    void on_connected(CallId) override {}
    void on_message(CallId call, Message& message) override;
    void on_ended(CallId call) override;

    /// An operator asks; the answer goes to the OperatorModel. One that is paused does not answer.
    void ask(std::uint64_t question, const control::ServerCommand& command);

    // Faults.
    /// It cannot reach the store. `is_stale`: and does not see that its lease has ended.
    void cut_store(bool is_stale);
    void mend_store();

    [[nodiscard]] bool leads() const noexcept { return is_alive() && leads_; }
    [[nodiscard]] const presence::State& state() const noexcept { return state_; }

  protected:
    void on_start() override;
    void on_crash() override;

  private:
    void campaign();
    void hold_lease();
    void lead(std::uint64_t epoch);
    /// Ends as a process does that must not command any longer.
    void step_down();
    void blind(control::DataServerMessage& message) const;
    [[nodiscard]] bool is_outranked(const presence::Event& event) const;
    [[nodiscard]] bool is_withheld(const presence::Event& event);
    void move(presence::Event event);
    void perform(std::vector<presence::Action> actions);
    void perform(presence::ToDataServer& action);
    void perform(presence::ToPublisher& action);
    void perform(presence::ToConsumer& action);
    void perform(presence::SendHeartbeats& action);
    void perform(presence::CloseSession& action);
    void perform(presence::ToOperator& action);
    void perform(presence::StoreFacts& action);
    void arm();

    Arbiter& arbiter_;
    presence::Settings settings_;
    PresenceFlaw flaw_;
    bool is_store_cut_ = false;
    bool is_stale_ = false;

    // Of one life of the process.
    bool leads_ = false;
    MonotonicTime lease_end_;
    presence::State state_;
    std::uint64_t steps_ = 0;
    MonotonicTime alarm_at_ = presence::kNever;
    std::set<presence::SessionId> reported_;  // said that all streams are reported
    std::set<std::uint64_t> said_;            // versions
};

}  // namespace penstock::simulator
