#pragma once

#include "presence/key_value.h"
#include "presence/store.h"

#include <cstdint>
#include <mutex>

namespace penstock::presence {

/// Durable facts of several presence servers in etcd: written by whoever leads, in a transaction
/// that fails if somebody else does. Thread: any.
class EtcdStore final : public Store {
  public:
    /// `keys` is used by nobody else, and must outlive this.
    explicit EtcdStore(KeyValueService& keys) : keys_(keys) {}

    /// We lead since the leader key was made at `create_revision`, in this epoch; the facts are
    /// those of `mod_revision` (0: there are none). Facts of a lower epoch are of a leadership of
    /// ours that is over, and refused.
    void lead(std::int64_t create_revision, std::int64_t mod_revision, std::uint64_t epoch);
    /// From now on nothing is written.
    void follow();

    Result<void> write(const Durable& durable) override;

  private:
    KeyValueService& keys_;
    std::mutex mutex_;                  // guards keys_ and all below
    std::int64_t create_revision_ = 0;  // 0: we do not lead
    std::int64_t mod_revision_ = 0;
    std::uint64_t epoch_ = 0;
};

}  // namespace penstock::presence
