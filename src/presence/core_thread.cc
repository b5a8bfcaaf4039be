#include "presence/core_thread.h"

#include "base/check.h"
#include "base/log.h"
#include "rpc/grpc_server.h"

#include <algorithm>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::chrono::seconds kSweepInterval{1};

}  // namespace

CoreThread::CoreThread(State state) : state_(std::move(state)) {}

CoreThread::~CoreThread() { stop(); }

void CoreThread::start(control::GrpcServer& server, Outlets& outlets, Store& store) {
    PENSTOCK_CHECK(!thread_.joinable());
    server_ = &server;
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
    if (!thread_.joinable()) {
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    server_->wake();
    thread_.join();
    store_.reset();
    is_over_ = true;
}

void CoreThread::post(Event event) {
    {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(event));
    }
    server_->wake();
}

void CoreThread::run() {
    for (;;) {
        // What has been said comes before what is due because nothing was.
        server_->poll(askers_.empty() ? std::min(next_deadline(state_), swept_at_ + kSweepInterval)
                                      : MonotonicTime::min());
        take_posted();
        do_what_is_due();
        let_askers_look();
        wake_followers();
        const std::lock_guard lock(mutex_);
        if (is_stopping_ && posted_.empty()) {
            break;
        }
    }
    server_->poll(MonotonicTime::min());  // what was answered last leaves, too
}

void CoreThread::take_posted() {
    std::vector<Event> posted;
    {
        const std::lock_guard lock(mutex_);
        posted.swap(posted_);
    }
    for (Event& event : posted) {
        take(std::move(event));
    }
}

void CoreThread::do_what_is_due() {
    const MonotonicTime now = monotonic_now();
    if (now >= next_deadline(state_)) {
        take(Tick{});
    }
    if (now >= swept_at_ + kSweepInterval) {
        swept_at_ = now;
        outlets_->sweep(now);
    }
}

void CoreThread::take(Event event) {
    if (is_over_) {
        return;
    }
    for (Action& action : step(state_, std::move(event), monotonic_now())) {
        if (auto* const facts = std::get_if<StoreFacts>(&action)) {
            store_->write(std::move(*facts));
        } else if (const auto* result = std::get_if<ToOperator>(&action)) {
            answer(*result);
        } else {
            outlets_->perform(std::move(action));
        }
    }
}

bool CoreThread::command(control::ServerCommand command, Answer answer) {
    if (answers_.size() >= kCommandsMax) {
        return false;
    }
    answers_.emplace(++questions_, std::move(answer));
    take(FromOperator{questions_, std::move(command)});
    return true;
}

void CoreThread::answer(const ToOperator& action) {
    if (auto found = answers_.extract(action.question)) {
        found.mapped()(action.result);
    }
}

bool CoreThread::ask(Asker& asker) {
    if (askers_.size() >= kAskersMax) {
        return false;
    }
    askers_.push_back(&asker);
    return true;
}

void CoreThread::forget(Asker& asker) { std::erase(askers_, &asker); }

void CoreThread::let_askers_look() {
    const MonotonicTime end = monotonic_now() + kAskersTurn;
    while (!askers_.empty()) {
        Asker& next = *askers_.front();
        askers_.pop_front();
        next.look();
        if (monotonic_now() >= end) {
            return;
        }
    }
}

bool CoreThread::follow(Follower& follower) {
    if (followers_.size() >= kFollowersMax) {
        return false;
    }
    followers_.push_back(&follower);
    return true;
}

void CoreThread::unfollow(Follower& follower) { std::erase(followers_, &follower); }

void CoreThread::wake_followers() {
    if (newest_told_ == state_.events.newest()) {
        return;
    }
    newest_told_ = state_.events.newest();
    for (Follower* const follower : std::exchange(followers_, {})) {
        follower->wake();
    }
}

}  // namespace penstock::presence
