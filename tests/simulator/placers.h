#pragma once

#include "base/clock.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace penstock::simulator {

/// Who gets a stream, in the report on placement.
enum class Policy : std::uint8_t {
    ours,              // the presence core
    no_recent_period,  // the presence core with a recent period of 0
    two_reserved,      // the less busy of two at random, as the presence core projects them
    two_choices,       // the less busy of two at random by their newest figures
    figures_alone,     // the least busy of all by their newest figures
    round_robin,       // the next
    random,            // any
    clairvoyant,       // the least busy of all, knowing what every stream will take in the end
};
inline constexpr std::size_t kPolicies = 8;
[[nodiscard]] std::string_view name_of(Policy policy) noexcept;

/// One policy, with what it has been told.
class Placer {
  public:
    Placer() = default;
    Placer(const Placer&) = delete;
    Placer& operator=(const Placer&) = delete;
    virtual ~Placer() = default;

    /// A data server's load report. `begun`: those of its streams whose content has begun of late.
    virtual void take_report(std::size_t server,
                             double utilisation,
                             std::span<const std::uint64_t> begun,
                             MonotonicTime now) = 0;
    /// Who gets the stream; nullopt: nobody can take it. `share`: what it will take in the end, for
    /// the clairvoyant alone.
    virtual std::optional<std::size_t> place(std::uint64_t stream,
                                             double share,
                                             MonotonicTime now) = 0;
    /// The stream is at that data server whatever the policy says: it was there before.
    virtual void put(std::uint64_t stream, double share, std::size_t server, MonotonicTime now) = 0;
    virtual void end(std::uint64_t stream, double share, std::size_t server, MonotonicTime now) = 0;
};

/// `seed`: for policies that leave something to chance.
[[nodiscard]] std::unique_ptr<Placer> make_placer(Policy policy,
                                                  std::size_t servers,
                                                  std::uint64_t seed,
                                                  MonotonicTime now);

}  // namespace penstock::simulator
