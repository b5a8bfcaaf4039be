#pragma once

#include "base/clock.h"
#include "penstock_bench/histogram.h"
#include "presence_load/peers.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace penstock::bench {

/// What consumers asked for in a stretch of time, and what data servers said meanwhile.
struct LoadCounts {
    double seconds = 0;
    std::uint64_t requests = 0;  // answered with where to join
    std::uint64_t refused = 0;   // answered with anything else, or their session broke off
    Histogram nanoseconds;       // each answer took
    std::uint64_t reports = 0;   // of their load, that data servers had to send
    std::uint64_t held_up = 0;   // of those, not sent because the connection took no more
    std::uint64_t taken = 0;     // that presence had taken, as it says itself
};

/// Data servers, publishers and consumers of one presence server, all in one thread. As long as
/// that works on something, data servers report ten times a second and the others beat once.
class Load {
  public:
    /// `surroundings` must outlive this. `mark` is called when a measurement begins and when it
    /// ends.
    Load(Surroundings& surroundings, std::function<void()> mark);
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    /// That many more, each with so many streams open, of which the first `active` have content.
    /// Returns: whether all were attached in time.
    bool add_servers(std::size_t count, std::size_t streams, std::size_t active);
    /// That many more, each with a stream and a connection of its own.
    bool add_publishers(std::size_t count);
    /// That many more, each with a connection of its own; they ask for streams of publishers.
    bool add_consumers(std::size_t count);

    /// Keeps `outstanding` consumers asking, each in a session of its own, which it leaves when it
    /// has its answer, on `connections`.
    LoadCounts request(std::chrono::nanoseconds duration,
                       std::size_t outstanding,
                       std::size_t connections);
    /// Keeps as many asking for a new ticket, again and again in the same session.
    LoadCounts renew(std::chrono::nanoseconds duration,
                     std::size_t outstanding,
                     std::size_t connections);

    /// Works until `is_done` or the time is over. Returns: is_done().
    bool work(std::chrono::nanoseconds patience, const std::function<bool()>& is_done);

  private:
    struct Askers;

    void say_what_is_due();
    LoadCounts measure(std::chrono::nanoseconds duration, Askers& askers);
    /// Sum over all data servers of the number of their newest load report.
    std::optional<std::uint64_t> reports_taken();
    std::string any_stream();
    std::vector<std::shared_ptr<Connection>> connections(std::size_t count);

    Surroundings& surroundings_;
    const std::function<void()> mark_;
    std::vector<std::unique_ptr<DataServerPeer>> servers_;
    std::vector<std::unique_ptr<PublisherPeer>> publishers_;
    std::vector<std::unique_ptr<ConsumerPeer>> consumers_;
    std::size_t streams_ = 0;  // of all data servers
    std::mt19937_64 random_{1};
    MonotonicTime said_until_;
    std::uint64_t reports_ = 0;
    std::uint64_t held_up_ = 0;
    std::shared_ptr<Connection> operators_;
};

}  // namespace penstock::bench
