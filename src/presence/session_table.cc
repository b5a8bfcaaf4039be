#include "presence/session_table.h"

#include "base/check.h"

#include <algorithm>

namespace penstock::presence {

SessionId SessionIds::take() {
    if (free_.empty()) {
        return SessionId{++places_};  // place 0 stays empty: an id is never 0
    }
    const SessionId id = free_.back();
    free_.pop_back();
    return id;
}

void SessionIds::give_back(SessionId id) {
    free_.push_back(SessionId{id.value + (1ULL << kSessionPlaceBits)});
}

Session& SessionTable::at(SessionId id) noexcept {
    Session* const found = find(id);
    PENSTOCK_CHECK(found != nullptr);
    return *found;
}

Session& SessionTable::add(SessionId id, SessionKind kind) {
    const std::size_t place = place_of(id);
    if (place >= sessions_.size()) {
        sessions_.resize(std::max(place + 1, sessions_.size() + sessions_.size() / 2));
    }
    Session& session = sessions_[place];
    PENSTOCK_CHECK(!session.is_open);
    session = Session{};
    session.generation = generation_of(id);
    session.is_open = true;
    session.kind = kind;
    ++size_;
    return session;
}

bool SessionTable::erase(SessionId id) noexcept {
    Session* const found = find(id);
    if (found == nullptr) {
        return false;
    }
    found->is_open = false;
    --size_;
    return true;
}

std::vector<SessionId> SessionTable::ids() const {
    std::vector<SessionId> ids;
    ids.reserve(size_);
    for (std::size_t place = 0; place < sessions_.size(); ++place) {
        if (sessions_[place].is_open) {
            ids.push_back(
                SessionId{std::uint64_t{sessions_[place].generation} << kSessionPlaceBits | place});
        }
    }
    return ids;
}

}  // namespace penstock::presence
