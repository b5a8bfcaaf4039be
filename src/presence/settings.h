#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace penstock::presence {

/// What an operator may set.
struct Settings {
    std::chrono::nanoseconds recent_period{std::chrono::seconds(10)};
    std::chrono::nanoseconds close_after{std::chrono::seconds(5)};
    double utilisation_limit = 0.9;
    double reserve = 0.01;   // utilisation a hand-out is thought to add, before many are measured
    bool rebalance = false;  // streams are moved from busy data servers to others
    std::chrono::nanoseconds ticket_lifetime{std::chrono::seconds(60)};
    std::size_t data_servers_max = 1'000;
    std::size_t streams_max = 100'000;
    std::size_t consumers_max = 65'536;
    // Of each data server and each stream; 0: no limit but its own.
    std::size_t server_streams_max = 0;
    std::size_t server_consumers_max = 0;
    std::uint64_t server_bits_per_second_max = 0;  // of declared rates, a copy to each consumer
    std::size_t stream_consumers_max = 0;
};

}  // namespace penstock::presence
