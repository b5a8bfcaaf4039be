#include "presence/core_thread.h"

#include "base/check.h"
#include "base/log.h"

#include <algorithm>
#include <pthread.h>
#include <sched.h>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::chrono::seconds kSweepInterval{1};

/// The session a message came from; none for what is no message.
SessionId speaker_of(const Event& event) {
    if (const auto* from_data_server = std::get_if<FromDataServer>(&event)) {
        return from_data_server->session;
    }
    if (const auto* from_publisher = std::get_if<FromPublisher>(&event)) {
        return from_publisher->session;
    }
    if (const auto* from_consumer = std::get_if<FromConsumer>(&event)) {
        return from_consumer->session;
    }
    return {};
}

/// Has this thread wait for its turn behind those that post, where there are not CPUs enough for
/// all: what has been posted by then is taken at once, instead of one event at each change of
/// threads. Only speed depends on it.
void let_posters_go_on() {
    if (::sched_getscheduler(0) == SCHED_OTHER) {  // else an operator has chosen for all of us
        const sched_param none{};
        ::pthread_setschedparam(::pthread_self(), SCHED_BATCH, &none);
    }
}

/// Whoever posts it can do without, or try again.
bool is_refusable(const Event& event) {
    return !std::holds_alternative<SessionClosed>(event) &&
           !std::holds_alternative<FactsStored>(event) &&
           !std::holds_alternative<LeadershipWon>(event) &&
           !std::holds_alternative<LeadershipLost>(event);
}

}  // namespace

CoreThread::CoreThread(State state) : state_(std::move(state)) {}

CoreThread::~CoreThread() { stop(); }

void CoreThread::start(Outlets& outlets, Store& store) {
    PENSTOCK_CHECK(!thread_.joinable());
    outlets_ = &outlets;
    store_ = std::make_unique<StoreThread>(
        store,
        [this, said = std::string()](std::uint64_t number, const std::string& trouble) mutable {
            if (std::exchange(said, trouble) != trouble && !trouble.empty()) {
                log_error(trouble);
            }
            post(FactsStored{number, trouble});
        });
    thread_ = std::thread([this] { run(); });
}

void CoreThread::stop() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) {
        thread_.join();
    }
    store_.reset();
}

bool CoreThread::post(Event event) {
    {
        const std::lock_guard lock(mutex_);
        if (items_.size() >= kEventsQueuedMax && is_refusable(event)) {
            return false;
        }
        items_.emplace_back(std::move(event));
    }
    changed_.notify_one();
    return true;
}

bool CoreThread::ask(Query query) {
    {
        const std::lock_guard lock(mutex_);
        if (is_stopping_ || queries_waiting_ >= kQueriesMax) {
            return false;
        }
        ++queries_waiting_;
        items_.emplace_back(std::move(query));
    }
    changed_.notify_one();
    return true;
}

bool CoreThread::command(control::ServerCommand command, Answer answer) {
    {
        const std::lock_guard lock(mutex_);
        if (is_stopping_ || answers_.size() >= kQueriesMax) {
            return false;
        }
        answers_.emplace(++questions_, std::move(answer));
        items_.emplace_back(Event(FromOperator{questions_, std::move(command)}));
    }
    changed_.notify_one();
    return true;
}

bool CoreThread::follow(const std::weak_ptr<Follower>& follower) {
    std::erase_if(followers_, [](const auto& one) { return one.expired(); });
    if (followers_.size() >= kFollowersMax) {
        return false;
    }
    followers_.push_back(follower);
    return true;
}

void CoreThread::run() {
    let_posters_go_on();
    std::vector<Item> items;
    for (;;) {
        wait_for_items(items);
        // What has been said comes before what is due because nothing was.
        for (Item& item : items) {
            handle(item);
        }
        items.clear();
        const MonotonicTime now = monotonic_now();
        if (now >= next_deadline(state_)) {
            move_state(Tick{}, now);
        }
        wake_followers(now);
        if (now >= swept_at_ + kSweepInterval) {
            swept_at_ = now;
            outlets_->sweep(now);
        }
        const std::lock_guard lock(mutex_);
        if (is_stopping_ && items_.empty()) {
            return;
        }
    }
}

void CoreThread::wait_for_items(std::vector<Item>& items) {
    const MonotonicTime wake_at = std::min(next_deadline(state_), monotonic_now() + kSweepInterval);
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, wake_at, [this] { return !items_.empty() || is_stopping_; });
    queries_waiting_ = 0;
    std::swap(items, items_);
}

void CoreThread::handle(Item& item) {
    const MonotonicTime now = monotonic_now();
    if (const auto* query = std::get_if<Query>(&item)) {
        (*query)(state_, now);
        return;
    }
    auto& event = std::get<Event>(item);
    const SessionId speaker = speaker_of(event);
    move_state(std::move(event), now);
    if (speaker) {
        outlets_->resume(speaker);
    }
}

void CoreThread::move_state(Event event, MonotonicTime now) {
    for (Action& action : step(state_, std::move(event), now)) {
        if (auto* const facts = std::get_if<StoreFacts>(&action)) {
            store_->write(std::move(*facts));
        } else if (const auto* result = std::get_if<ToOperator>(&action)) {
            answer(*result);
        } else {
            outlets_->perform(std::move(action));
        }
    }
}

void CoreThread::answer(const ToOperator& action) {
    Answer waiting;
    {
        const std::lock_guard lock(mutex_);
        if (auto found = answers_.extract(action.question)) {
            waiting = std::move(found.mapped());
        }
    }
    if (waiting) {
        waiting(action.result);
    }
}

void CoreThread::wake_followers(MonotonicTime now) {
    if (state_.events.newest() == newest_told_) {
        return;
    }
    newest_told_ = state_.events.newest();
    for (const std::weak_ptr<Follower>& waiting : std::exchange(followers_, {})) {
        if (const std::shared_ptr<Follower> follower = waiting.lock()) {
            follower->wake(state_, now);
        }
    }
}

}  // namespace penstock::presence
