#pragma once

#include "base/cache_line.h"
#include "base/clock.h"
#include "presence/tables.h"
#include "presence/timers.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock::presence {

struct DataServer;
struct Stream;
struct Consumer;

enum class SessionKind : std::uint8_t { data_server, publisher, consumer };

/// One cache line: a heartbeat, the most frequent of all that happens, reads and writes no other.
struct alignas(kCacheLineBytes) Session {
    std::uint32_t generation = 0;  // SessionTable's, as is the next
    bool is_open = false;
    SessionKind kind = SessionKind::data_server;
    bool greeted = false;               // its first message has come and was accepted
    MonotonicTime heard_at;             // its newest message, or its opening
    MonotonicTime beat_at;              // when the next heartbeat is to be sent
    Deadline deadline;                  // when it is attended to
    MonotonicTime wait_until = kNever;  // of a consumer, while told to wait
    union {                             // of a greeted one, by its kind; they stay where they are
        DataServer* server = nullptr;   // in State::servers
        Stream* stream;                 // the publisher's, in State::streams
        Consumer* consumer;             // in Stream::requests
    };
};
static_assert(sizeof(Session) == kCacheLineBytes);

/// The lower half of an id is a place in SessionTable, the upper half says how often the place was
/// had before.
inline constexpr unsigned kSessionPlaceBits = 32;
[[nodiscard]] inline std::size_t place_of(SessionId id) noexcept {
    return static_cast<std::uint32_t>(id.value);
}

/// Numbers sessions. A place is had again as soon as it is given back, up to 2^32 times.
class SessionIds {
  public:
    SessionId take();
    /// The session is over.
    void give_back(SessionId id);

  private:
    std::vector<SessionId> free_;
    std::uint32_t places_ = 0;
};

/// Open sessions, each at the place its id names: found without a search. Takes memory for as many
/// as there were at once. Sessions move when one is added. Thread: core.
class SessionTable {
  public:
    /// nullptr: it is not open.
    [[nodiscard]] Session* find(SessionId id) noexcept {
        const std::size_t place = place_of(id);
        return place < sessions_.size() && sessions_[place].is_open &&
                       sessions_[place].generation == generation_of(id)
                   ? &sessions_[place]
                   : nullptr;
    }
    [[nodiscard]] const Session* find(SessionId id) const noexcept {
        return const_cast<SessionTable*>(this)->find(id);
    }
    [[nodiscard]] bool contains(SessionId id) const noexcept { return find(id) != nullptr; }
    /// It has to be open.
    [[nodiscard]] Session& at(SessionId id) noexcept;
    /// Opens it; nobody else may be at its place.
    Session& add(SessionId id, SessionKind kind);
    /// Returns: whether it was open.
    bool erase(SessionId id) noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// Of all that are open.
    [[nodiscard]] std::vector<SessionId> ids() const;

  private:
    static std::uint32_t generation_of(SessionId id) noexcept {
        return static_cast<std::uint32_t>(id.value >> kSessionPlaceBits);
    }

    std::vector<Session> sessions_;
    std::size_t size_ = 0;
};

/// See timers.h.
[[nodiscard]] inline Deadline* find_deadline(SessionTable& sessions, SessionId id) noexcept {
    Session* const found = sessions.find(id);
    return found == nullptr ? nullptr : &found->deadline;
}

}  // namespace penstock::presence
