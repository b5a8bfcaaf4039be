#include "presence/election_thread.h"

#include <chrono>
#include <utility>

namespace penstock::presence {

ElectionThread::ElectionThread(Election::Setting setting,
                               KeyValueService& keys,
                               EtcdStore& store,
                               CommandGate& gate,
                               PresenceService& service)
    : service_(service),
      election_(std::move(setting), keys, store, gate, *this),
      thread_([this] { run(); }) {}

ElectionThread::~ElectionThread() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void ElectionThread::run() {
    std::unique_lock lock(mutex_);
    while (!is_stopping_) {
        lock.unlock();
        const std::chrono::milliseconds pause = election_.turn();
        lock.lock();
        changed_.wait_for(lock, pause, [this] { return is_stopping_; });
    }
    lock.unlock();
    election_.resign();
}

}  // namespace penstock::presence
