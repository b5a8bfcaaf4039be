#pragma once

#include "data_server/join.h"
#include "data_server/reconcile.h"
#include "simulator/caller.h"

#include <map>
#include <memory>
#include <string>

namespace penstock::simulator {

/// What may be wrong with a data server on purpose, to see that it is found.
struct DataServerFlaw {
    bool obeys_any_epoch = false;
};

/// A data server: what data_server/data_server.cc does around the same Reconcile and JoinHandler,
/// with workers that take a moment to apply a command.
class DataServerModel final : public Caller {
  public:
    DataServerModel(Surroundings& around, NodeId id, std::string name, DataServerFlaw flaw);

    void on_datagram(const Datagram& datagram) override;

    // Faults.
    void set_report_interval(nanoseconds interval) { report_interval_ = interval; }
    void set_utilisation(double utilisation) { utilisation_ = utilisation; }
    void set_streams_max(std::size_t most) { streams_max_ = most; }
    void set_link(bool has_link) { has_link_ = has_link; }
    void set_stuck(bool is_stuck) { is_stuck_ = is_stuck; }

    struct OpenStream {
        std::string name;
        Endpoint endpoint;
        bool is_open = false;  // at the workers
        bool is_changed = false;
    };
    [[nodiscard]] const std::map<StreamId, OpenStream>& streams() const { return streams_; }
    [[nodiscard]] JoinHandler& join() const { return *join_; }
    [[nodiscard]] IpAddress address() const;
    /// A presence server has welcomed it and not left it since.
    [[nodiscard]] bool is_attached() const noexcept { return is_attached_; }
    [[nodiscard]] std::uint64_t epoch() const { return reconcile_->epoch(); }

  protected:
    void on_start() override;
    void on_crash() override;
    Message hello() override;
    void on_presence(Message& message) override;
    void on_detached() override;

  private:
    void on_welcome(const control::DataServerWelcome& welcome);
    void on_set(control::StreamSet set);
    void open(const control::DesiredStream& desired);
    void close(StreamId stream);
    void carry_out();
    void answer();
    void report(StreamId stream);
    void change(StreamId stream);
    void tick(std::uint64_t beat);
    void report_load();
    [[nodiscard]] std::uint64_t clock_ms() const;

    DataServerFlaw flaw_;
    nanoseconds report_interval_;
    double utilisation_ = 0.1;
    std::size_t streams_max_ = 1000;
    bool has_link_ = true;
    bool is_stuck_ = false;  // its worker; what it says of it

    // Of one life of the process.
    std::uint64_t boot_id_ = 0;
    nanoseconds clock_offset_{0};
    std::unique_ptr<Reconcile> reconcile_;
    std::unique_ptr<JoinHandler> join_;
    std::map<StreamId, OpenStream> streams_;
    std::uint16_t next_port_ = 20'000;
    bool is_attached_ = false;
    std::uint64_t load_sequence_ = 0;
    std::uint64_t heard_at_ms_ = 0;  // on the data network
    JoinOutcome outcome_;
};

}  // namespace penstock::simulator
