#pragma once

#include "presence/core.h"
#include "presence/store_thread.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace penstock::control {
class GrpcServer;
}

namespace penstock::presence {

/// The edge as the core sees it. Thread of all calls: the core thread.
class Outlets {
  public:
    virtual ~Outlets() = default;

    virtual void perform(Action action) = 0;
    /// Once a second: ends calls whose other end does not do its part.
    virtual void sweep(MonotonicTime now) = 0;
};

/// Somebody who waits for new events of the log.
class Follower {
  public:
    virtual ~Follower() = default;
    /// There are new events. Called once. Thread: core.
    virtual void wake() = 0;
};

/// Somebody who wants to look at the state when there is time.
class Asker {
  public:
    virtual ~Asker() = default;
    /// Thread: core.
    virtual void look() = 0;
};

/// Runs everything that presence does, one after another, on a thread of its own: what callers of
/// the gRPC server say, what other threads post, and what is due.
class CoreThread {
  public:
    using Answer = std::function<void(const control::CommandResult& result)>;

    explicit CoreThread(State state);
    /// Stops.
    ~CoreThread();
    CoreThread(const CoreThread&) = delete;
    CoreThread& operator=(const CoreThread&) = delete;

    /// All must live until stop() has returned, and nobody else may touch `server` until then.
    /// Thread: main, once.
    void start(control::GrpcServer& server, Outlets& outlets, Store& store);
    /// Takes what was posted and ends the thread; nothing is taken any more. Thread: main.
    void stop();

    /// Has an event taken that is nobody's message: FactsStored, LeadershipWon, LeadershipLost.
    /// Thread: any.
    void post(Event event);

    // Thread of all below: core.

    /// Takes an event at once, and does what follows.
    void take(Event event);
    /// Has the core follow an operator's command; `answer` is called once, perhaps at once.
    /// Returns: false if kCommandsMax wait already; then nothing follows.
    bool command(control::ServerCommand command, Answer answer);
    /// Has `asker` look once, in its turn: what takes long is done between what peers say.
    /// Returns: false if kAskersMax wait already.
    bool ask(Asker& asker);
    /// It does not want to any more.
    void forget(Asker& asker);
    /// Has `follower` woken by the next event of the log.
    /// Returns: false if there are kFollowersMax already.
    bool follow(Follower& follower);
    void unfollow(Follower& follower);
    [[nodiscard]] const State& state() const noexcept { return state_; }

    static constexpr std::size_t kCommandsMax = 256;
    static constexpr std::size_t kFollowersMax = 64;
    static constexpr std::size_t kAskersMax = 256;
    static constexpr std::chrono::milliseconds kAskersTurn{5};  // at once, and one of them at least

  private:
    void run();
    void take_posted();
    void do_what_is_due();
    void let_askers_look();
    void answer(const ToOperator& action);
    void wake_followers();

    std::mutex mutex_;
    std::vector<Event> posted_;  // guarded by mutex_
    bool is_stopping_ = false;   // guarded by mutex_

    // The core thread's own.
    State state_;
    control::GrpcServer* server_ = nullptr;
    Outlets* outlets_ = nullptr;
    std::map<std::uint64_t, Answer> answers_;  // by question
    std::uint64_t questions_ = 0;
    std::vector<Follower*> followers_;
    std::deque<Asker*> askers_;
    std::uint64_t newest_told_ = 0;
    MonotonicTime swept_at_;
    bool is_over_ = false;

    std::unique_ptr<StoreThread> store_;
    std::thread thread_;
};

}  // namespace penstock::presence
