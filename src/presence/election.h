#pragma once

#include "presence/command_gate.h"
#include "presence/key_value.h"
#include "presence/store_etcd.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace penstock::presence {

/// What an election leads to. Thread: that of Election::turn().
class ElectionEvents {
  public:
    virtual ~ElectionEvents() = default;
    /// We lead, in the epoch of these facts, which are durable.
    virtual void won(const Durable& facts) = 0;
    /// Another one leads, or nobody ("").
    virtual void follows(const std::string& leader) = 0;
};

/// Who of several presence servers leads: whoever made the leader key, which hangs on a lease of
/// etcd's. The epoch is the revision that made it, or the one after the epoch in the facts if that
/// is higher. A leader renews its lease for as long as the key is its own, and lets no command
/// leave from kMargin before the lease can have ended. A lease that it lost while etcd was silent
/// it ends once etcd answers. It relies on transactions and leases only, and on no clock of another
/// machine.
class Election {
  public:
    static constexpr std::chrono::seconds kLease{3};
    static constexpr std::chrono::milliseconds kMargin{500};
    static constexpr std::chrono::milliseconds kRenewal{400};  // pause between renewals
    static constexpr std::chrono::milliseconds kPoll{300};     // of who leads
    /// The key of an earlier life of ours is gone after its lease, whatever etcd's members do.
    static constexpr std::chrono::seconds kNamesakeMost = 3 * kLease;
    static constexpr std::chrono::milliseconds kRetryFirst{100};
    static constexpr std::chrono::milliseconds kRetryMost{1000};

    struct Setting {
        std::string address;  // ours, as the others are told it
        std::function<Durable()> first_facts;
        std::function<BootTime()> now;
    };

    /// All must outlive this; `keys` is used by nobody else.
    Election(Setting setting,
             KeyValueService& keys,
             EtcdStore& store,
             CommandGate& gate,
             ElectionEvents& events);

    /// Does what is due: stands for election, or renews the lease.
    /// Returns: when to call again.
    std::chrono::milliseconds turn();
    /// Gives leadership up, so that another need not wait for the lease to end.
    void resign();

  private:
    std::chrono::milliseconds stand();
    std::chrono::milliseconds renew();
    std::chrono::milliseconds begin(const KeyValue& leader,
                                    const ElectionKeys& keys,
                                    const LeaseTerms& lease,
                                    BootTime asked_at);
    std::chrono::milliseconds follow(const std::string& leader);
    void lose(const std::string& why);
    std::chrono::milliseconds trouble(const std::string& what);

    const Setting setting_;
    KeyValueService& keys_;
    EtcdStore& store_;
    CommandGate& gate_;
    ElectionEvents& events_;

    std::int64_t lease_ = 0;                    // 0: we do not lead
    std::optional<std::int64_t> former_lease_;  // lost; etcd may not have heard yet of its end
    BootTime lead_until_;
    std::string told_;  // the leader we told of
    bool has_told_ = false;
    BootTime heard_at_;                       // of who leads
    std::optional<BootTime> namesake_since_;  // the leader has our address and is not us
    std::string trouble_;                     // logged last
    std::chrono::milliseconds retry_ = kRetryFirst;
};

}  // namespace penstock::presence
