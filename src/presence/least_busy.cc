#include "presence/least_busy.h"

#include "base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace penstock::presence {
namespace {

using control::Candidate;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

std::uint64_t whole_ms(nanoseconds duration) {
    return static_cast<std::uint64_t>(duration_cast<milliseconds>(duration).count());
}

/// "" if the server may be chosen.
std::string why_not(const ServerLoad& server, double projected, const PlacementRules& rules) {
    if (!server.unfit.empty()) {
        return server.unfit;
    }
    if (server.report_age >= rules.report_age_max) {
        return fmt::format("its last load report is {} ms old, {} ms or more is too old",
                           whole_ms(server.report_age),
                           whole_ms(rules.report_age_max));
    }
    if (projected >= rules.utilisation_limit) {
        return fmt::format("its projected utilisation {:.3f} is not under the limit {:.3f}",
                           projected,
                           rules.utilisation_limit);
    }
    return "";
}

Candidate candidate_of(const ServerLoad& server, const PlacementRules& rules) {
    Candidate candidate;
    candidate.server = server.name;
    candidate.utilisation = server.utilisation;
    candidate.bottleneck = server.bottleneck;
    candidate.report_age_ms = whole_ms(server.report_age);
    candidate.reserved = server.reserved;
    candidate.projected = server.utilisation + server.reserved;
    candidate.ineligible_reason = why_not(server, candidate.projected, rules);
    candidate.eligible = candidate.ineligible_reason.empty();
    if (server.handed_out_ago.has_value() && *server.handed_out_ago < rules.recent_period) {
        candidate.handed_out_ms_ago = whole_ms(*server.handed_out_ago);
        candidate.recent = !server.is_recent_over;
        candidate.recent_over = server.is_recent_over;
    }
    return candidate;
}

std::string sentence_for_nobody(const std::vector<Candidate>& candidates, const Others& others) {
    if (candidates.empty()) {
        return "no data server is attached";
    }
    std::string sentence = "no data server can take it";
    const char* separator = ": ";
    for (const Candidate& candidate : candidates) {
        fmt::format_to(std::back_inserter(sentence),
                       "{}{} because {}",
                       separator,
                       candidate.server,
                       candidate.ineligible_reason);
        separator = "; ";
    }
    if (others.ineligible > 0) {
        fmt::format_to(std::back_inserter(sentence), "; nor can {} others", others.ineligible);
    }
    return sentence;
}

std::string sentence_for(const Candidate& chosen,
                         const std::vector<Candidate>& candidates,
                         const PlacementRules& rules,
                         const Others& others) {
    const std::size_t eligible = others.eligible + static_cast<std::size_t>(std::ranges::count_if(
                                                       candidates, &Candidate::eligible));
    if (chosen.recent) {
        return fmt::format(
            "{} has the lowest projected utilisation, {:.3f}, and all {} eligible data servers "
            "were handed out within the recent period of {}",
            chosen.server,
            chosen.projected,
            eligible,
            format_duration(rules.recent_period));
    }
    std::string skipped;
    for (const Candidate& candidate : candidates) {
        if (&candidate == &chosen) {
            break;
        }
        if (candidate.eligible) {
            fmt::format_to(std::back_inserter(skipped),
                           "{}{} ({:.3f}, {} ms ago)",
                           skipped.empty() ? "" : ", ",
                           candidate.server,
                           candidate.projected,
                           candidate.handed_out_ms_ago);
        }
    }
    // Nobody looked further: there may be more of them that are lower than the chosen one.
    if (&chosen == &candidates.back() && others.eligible > 0 && !skipped.empty()) {
        skipped += " and others";
    }
    std::string sentence = fmt::format("{} has the lowest projected utilisation, {:.3f}, of the {}",
                                       chosen.server,
                                       chosen.projected,
                                       eligible);
    sentence += skipped.empty() ? " eligible data servers"
                                : fmt::format(
                                      " eligible data servers but those handed out within "
                                      "the recent period of {}: {}",
                                      format_duration(rules.recent_period),
                                      skipped);
    if (chosen.recent_over) {
        fmt::format_to(std::back_inserter(sentence),
                       "; it was handed out {} ms ago, but half of the data servers were since",
                       chosen.handed_out_ms_ago);
    }
    return sentence;
}

}  // namespace

Decision least_busy(std::span<const ServerLoad> servers,
                    const PlacementRules& rules,
                    const Others& others) {
    Decision decision;
    for (const ServerLoad& server : servers) {
        decision.candidates.push_back(candidate_of(server, rules));
    }
    std::ranges::sort(decision.candidates, {}, [](const Candidate& candidate) {
        return std::tie(candidate.projected, candidate.server);
    });
    const auto end = decision.candidates.end();
    auto chosen = std::ranges::find_if(decision.candidates, [](const Candidate& candidate) {
        return candidate.eligible && !candidate.recent;
    });
    if (chosen == end) {
        chosen = std::ranges::find_if(decision.candidates, &Candidate::eligible);
    }
    if (chosen == end) {
        decision.reason = sentence_for_nobody(decision.candidates, others);
        return decision;
    }
    chosen->chosen = true;
    decision.chosen = chosen->server;
    decision.reason = sentence_for(*chosen, decision.candidates, rules, others);
    return decision;
}

}  // namespace penstock::presence
