#pragma once

#include "rpc/operator_messages.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace penstock::presence {

/// One data server as it stands now, for the choice.
struct ServerLoad {
    std::string name;
    std::string unfit;       // "" or why it can take no stream whatever its load
    double utilisation = 0;  // 0..1, as reported last
    std::string bottleneck;
    std::chrono::nanoseconds report_age{0};  // by presence's own monotonic clock
    double reserved = 0;                     // handed out, and not shown by reports yet
    std::optional<std::chrono::nanoseconds> handed_out_ago;  // nullopt: never
    bool is_recent_over =
        false;  // its recent period ended early, as enough others had theirs since
};

struct PlacementRules {
    std::chrono::nanoseconds recent_period{std::chrono::seconds(10)};
    std::chrono::nanoseconds report_age_max{std::chrono::milliseconds(300)};  // younger is eligible
    double utilisation_limit = 0.9;                                           // lower is eligible
};

/// Data servers that were not looked at, because none of them could be chosen.
struct Others {
    std::size_t eligible = 0;
    std::size_t ineligible = 0;
};

struct Decision {
    std::string chosen;                          // "": nobody could
    std::string reason;                          // one sentence
    std::vector<control::Candidate> candidates;  // lowest projected first, ties by name
};

/// Chooses the data server for a stream: of the eligible ones (fit, report young, projected under
/// the limit) that were not handed out within the recent period the one with the lowest projected
/// utilisation; if all eligible ones were, the lowest of them. Ties go to the first by name.
/// `others`: further ones, which the sentence counts.
/// Pure: no clock, no lock, no I/O.
[[nodiscard]] Decision least_busy(std::span<const ServerLoad> servers,
                                  const PlacementRules& rules,
                                  const Others& others = {});

}  // namespace penstock::presence
