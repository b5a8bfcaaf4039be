#pragma once

#include "presence/election.h"
#include "presence/presence_service.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace penstock::presence {

/// Stands for election, and leads, on a thread of its own; the service hears of it.
class ElectionThread final : private ElectionEvents {
  public:
    /// All must outlive this.
    ElectionThread(Election::Setting setting,
                   KeyValueService& keys,
                   EtcdStore& store,
                   CommandGate& gate,
                   PresenceService& service);
    /// Gives leadership up.
    ~ElectionThread() override;
    ElectionThread(const ElectionThread&) = delete;
    ElectionThread& operator=(const ElectionThread&) = delete;

  private:
    void won(const Durable& facts) override { service_.take(LeadershipWon{facts}); }
    void follows(const std::string& leader) override { service_.take(LeadershipLost{leader}); }
    void run();

    PresenceService& service_;
    Election election_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_stopping_ = false;  // guarded by mutex_
    std::thread thread_;        // last: it uses all of the above
};

}  // namespace penstock::presence
