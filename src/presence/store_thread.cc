#include "presence/store_thread.h"

#include <utility>

namespace penstock::presence {

StoreThread::StoreThread(Store& store, Done done)
    : store_(store), done_(std::move(done)), thread_([this] { run(); }) {}

StoreThread::~StoreThread() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void StoreThread::write(StoreFacts facts) {
    {
        const std::lock_guard lock(mutex_);
        waiting_ = std::move(facts);
    }
    changed_.notify_one();
}

void StoreThread::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return waiting_.has_value() || is_stopping_; });
        if (is_stopping_) {
            return;
        }
        const StoreFacts wanted = *std::exchange(waiting_, std::nullopt);
        lock.unlock();
        const Result<void> written = store_.write(wanted.facts);
        done_(wanted.number, written ? "" : written.error().message);
        lock.lock();
    }
}

}  // namespace penstock::presence
