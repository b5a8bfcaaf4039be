#pragma once

#include "presence/core.h"
#include "presence/store_thread.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

namespace penstock::presence {

/// The edge as the core thread sees it. Thread of all calls: the core thread.
class Outlets {
  public:
    virtual ~Outlets() = default;

    virtual void perform(Action action) = 0;
    /// The session's message was taken: the next may come.
    virtual void resume(SessionId session) = 0;
    /// Once a second: ends calls whose peer does not take what was sent before the end.
    virtual void sweep(MonotonicTime now) = 0;
};

/// Somebody who waits for new events of the log.
class Follower {
  public:
    virtual ~Follower() = default;
    /// There are new events. Called once. Thread: core.
    virtual void wake(const State& state, MonotonicTime now) = 0;
};

/// Runs step() and operators' queries one after another on a thread of its own.
/// Events come in by a bounded queue: a session has its opening, one message and its end there at
/// most, because the edge reads the next message only after resume().
class CoreThread {
  public:
    using Query = std::function<void(const State& state, MonotonicTime now)>;
    using Answer = std::function<void(const control::CommandResult& result)>;

    explicit CoreThread(State state);
    /// Stops.
    ~CoreThread();
    CoreThread(const CoreThread&) = delete;
    CoreThread& operator=(const CoreThread&) = delete;

    /// `outlets` and `store` must live until stop() has returned. Thread: main, once.
    void start(Outlets& outlets, Store& store);
    /// Runs what is queued and ends the thread. Thread: main.
    void stop();

    /// Returns: false if the queue is full; never for a SessionClosed, FactsStored, LeadershipWon
    /// or LeadershipLost. Thread: any.
    bool post(Event event);
    /// Returns: false if kQueriesMax queries wait already; then `query` is not run. Thread: any.
    bool ask(Query query);
    /// Has the core follow an operator's command; `answer` is called on the core thread.
    /// Returns: false if kQueriesMax commands wait already; then nothing follows. Thread: any.
    bool command(control::ServerCommand command, Answer answer);
    /// Has `follower` woken by the next event of the log, if it still lives then.
    /// Returns: false if there are kFollowersMax already. Thread: core.
    bool follow(const std::weak_ptr<Follower>& follower);

    static constexpr std::size_t kEventsQueuedMax = 524'288;
    static constexpr std::size_t kQueriesMax = 256;
    static constexpr std::size_t kFollowersMax = 64;

  private:
    using Item = std::variant<Event, Query>;

    void run();
    /// Fills `items`, which is empty, with what is queued. None: it is time to look at the clock,
    /// or to end.
    void wait_for_items(std::vector<Item>& items);
    void handle(Item& item);
    void move_state(Event event, MonotonicTime now);
    void answer(const ToOperator& action);
    void wake_followers(MonotonicTime now);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Item> items_;                  // guarded by mutex_
    std::size_t queries_waiting_ = 0;          // guarded by mutex_
    bool is_stopping_ = false;                 // guarded by mutex_
    std::uint64_t questions_ = 0;              // guarded by mutex_
    std::map<std::uint64_t, Answer> answers_;  // guarded by mutex_; by question

    // The core thread's own.
    State state_;
    Outlets* outlets_ = nullptr;
    std::unique_ptr<StoreThread> store_;
    std::vector<std::weak_ptr<Follower>> followers_;
    std::uint64_t newest_told_ = 0;
    MonotonicTime swept_at_;

    std::thread thread_;
};

}  // namespace penstock::presence
