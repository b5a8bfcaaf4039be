#pragma once

#include "presence/core.h"
#include "presence/store.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace penstock::presence {

/// Writes durable facts on a thread of its own, so that a slow disk or network holds up nothing but
/// what depends on them.
class StoreThread {
  public:
    /// Of the facts of this number: "" or why they are not durable. Thread: the store's.
    using Done = std::function<void(std::uint64_t number, const std::string& trouble)>;

    /// `store` must outlive this.
    StoreThread(Store& store, Done done);
    /// Lets a write in progress end.
    ~StoreThread();
    StoreThread(const StoreThread&) = delete;
    StoreThread& operator=(const StoreThread&) = delete;

    /// Begins to write; `done` follows, unless newer facts come before it is their turn.
    /// Thread: any.
    void write(StoreFacts facts);

  private:
    void run();

    Store& store_;
    const Done done_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<StoreFacts> waiting_;  // guarded by mutex_
    bool is_stopping_ = false;           // guarded by mutex_
    std::thread thread_;                 // last: it uses all of the above
};

}  // namespace penstock::presence
