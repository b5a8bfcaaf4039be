#pragma once

#include "simulator/consumer_model.h"
#include "simulator/data_server_model.h"
#include "simulator/network.h"
#include "simulator/operator_model.h"
#include "simulator/presence_model.h"
#include "simulator/publisher_model.h"

#include <memory>
#include <vector>

namespace penstock::simulator {

/// Who takes part.
struct Cast {
    std::vector<std::unique_ptr<PresenceModel>> presences;
    std::vector<std::unique_ptr<DataServerModel>> servers;
    std::vector<std::unique_ptr<PublisherModel>> publishers;
    std::vector<std::unique_ptr<ConsumerModel>> consumers;
    std::vector<Node*> all;
    std::unique_ptr<OperatorModel> operators;
};

/// What goes wrong, and when; all of it is over at `end`.
class Faults {
  public:
    Faults(Surroundings& around, Cast& cast, MonotonicTime end)
        : around_(around), cast_(cast), end_(end) {}

    /// Draws and plans so many faults between now and the end.
    void plan(std::size_t count);
    /// Only crashes and restarts of presence servers, leaders that lose their store, and operators
    /// who cordon and drain data servers.
    void plan_for_presence(std::size_t count);

  private:
    /// Begins a fault. Returns: what ends it.
    using Begin = Timeline::Job (Faults::*)();

    void plan(std::size_t count, std::initializer_list<Begin> kinds);
    Timeline::Job crash();
    Timeline::Job crash_presence();
    Timeline::Job pause();
    Timeline::Job restart_presence();
    Timeline::Job cut_control();
    Timeline::Job cut_data();
    Timeline::Job isolate();
    Timeline::Job break_calls();
    Timeline::Job slow_down();
    Timeline::Job slow_reports();
    Timeline::Job lose_datagrams();
    Timeline::Job lose_store();
    Timeline::Job split();
    Timeline::Job fill_server();
    Timeline::Job load_server();
    Timeline::Job move_user();
    Timeline::Job lose_link();
    Timeline::Job stick_worker();
    Timeline::Job cordon();
    Timeline::Job drain();
    Timeline::Job drain_slowly();

    Timeline::Job command(control::ServerDuty duty, milliseconds deadline);
    Timeline::Job crash(Node& node, bool is_host);
    Timeline::Job pause(Node& node);
    /// Of the links of a node with all of `others`, one way or the other or both.
    Timeline::Job cut(const std::vector<Plane>& planes,
                      NodeId node,
                      const std::vector<NodeId>& others);
    Node& some_node();
    PresenceModel& leader();
    template <typename Model>
    Model& pick(std::vector<std::unique_ptr<Model>>& models) {
        return *models[around_.random.below(models.size())];
    }

    Surroundings& around_;
    Cast& cast_;
    MonotonicTime end_;
};

}  // namespace penstock::simulator
