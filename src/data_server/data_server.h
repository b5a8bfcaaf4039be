#pragma once

#include "data_server/join.h"
#include "data_server/load_report.h"
#include "data_server/reconcile.h"
#include "data_server/stream_reports.h"
#include "data_server/stream_table.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace penstock {

/// What the data server says to the outside. Each is called on the control thread.
struct DataServerOutputs {
    /// Sends a session message as a frame, by worker `worker`. Returns: false if there is no room.
    std::function<bool(const SessionReply&, std::uint8_t worker)> send_frame;
    std::function<void(UpMessage)> send_up;
    std::function<void(const LoadReport&)> send_load;
    /// What the next hello to presence says.
    std::function<void(std::uint64_t epoch, std::uint64_t generation)> set_position;
    std::function<void(const std::string& reason)> drop_presence;
    std::function<LoadSnapshot()> measure;
};

/// The control thread's mind: joins, desired streams, reports. Knows no descriptor, ring or gRPC;
/// time comes with every call (monotonic, ms). Thread: control.
class DataServer {
  public:
    /// `streams` outlives this.
    DataServer(JoinConfig join,
               const SessionKey& boot_key,
               LoadLimits limits,
               StreamTable& streams,
               DataServerOutputs outputs);

    void on_session_frame(const SessionFrame& frame, std::uint64_t now_ms);
    void on_presence(DownMessage message, std::uint64_t now_ms);
    void on_neighbour(std::uint8_t port,
                      const IpAddress& neighbour,
                      const MacAddress& before,
                      const MacAddress& now,
                      std::uint64_t now_ms);
    /// What is due. To be called every ms or so.
    void on_tick(std::uint64_t now_ms);
    /// Tells every client that this data server goes away.
    void shut_down(std::uint64_t now_ms);

    [[nodiscard]] const SessionCounters& session_counters() const noexcept {
        return join_.counters();
    }
    [[nodiscard]] bool is_attached() const noexcept { return attached_; }
    /// Whether every worker has moved lately.
    [[nodiscard]] bool do_workers_move() const noexcept { return liveness_.do_workers_move(); }
    /// Session messages that wait for room to be sent.
    [[nodiscard]] std::size_t waiting_frames() const noexcept { return outbox_.size(); }
    [[nodiscard]] std::uint64_t lost_frames() const noexcept { return lost_frames_; }

  private:
    void on_welcome(const Welcome& welcome, std::uint64_t now_ms);
    void on_streams(const StreamSet& set, std::uint64_t now_ms);
    void open(const DesiredStream& desired, std::uint64_t now_ms);
    void carry_out(std::uint64_t now_ms);
    void carry_out(const FlowOperation& operation, JoinOutcome& trouble, std::uint64_t now_ms);
    void send_replies();
    void settle();
    void report_streams(std::uint64_t now_ms);
    void report(StreamId stream);
    void report_load(std::uint64_t now_ms);
    void say_trouble(const LoadReport& load);
    [[nodiscard]] std::size_t consumers_of(StreamId stream) const;

    JoinHandler join_;
    JoinOutcome outcome_;
    Reconcile reconcile_;
    StreamReports reports_;
    StreamLoadDiff stream_loads_;
    StreamTable& streams_;
    DataServerOutputs outputs_;
    LoadLimits limits_;
    std::deque<SessionReply> outbox_;
    std::uint64_t lost_frames_ = 0;
    std::uint64_t load_sequence_ = 0;
    std::uint64_t load_at_ms_ = 0;
    LoadSnapshot snapshot_;
    Liveness liveness_;
    std::uint64_t refusal_told_at_ms_ = 0;
    std::vector<bool> has_link_;  // by port, as logged
    std::vector<std::uint32_t> stuck_workers_;
    bool attached_ = false;
    bool trouble_told_ = false;  // of the present absence of presence
};

}  // namespace penstock
