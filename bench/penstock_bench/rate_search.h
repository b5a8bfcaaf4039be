#pragma once

#include <cstdint>
#include <optional>

namespace penstock::bench {

struct SearchGoal {
    double loss_share = 0;          // of what was offered; more is a loss: 0 for NDR, 0.005 for PDR
    double precision_share = 0.01;  // of the rate
};

/// Looks for the highest rate whose loss is within the goal: the throughput of RFC 2544 section
/// 26.1 with the loss ratio of RFC 9004, by bisection. As one disturbed trial must not move a bound
/// for good (the concern of draft-ietf-bmwg-mlrsearch), a rate counts as lossy only when it has
/// lost twice, and trials that lost and were disturbed do not count as long as they are few. Pure.
class RateSearch {
  public:
    static constexpr unsigned kLossesThatCount = 2;
    static constexpr unsigned kDisturbedMax = 10;  // at one rate
    static constexpr unsigned kTrialsMax = 200;

    /// `rate_max`: the most that can be offered, > 0. `first`: where to begin, e.g. what came
    /// through when the most was offered.
    RateSearch(double rate_max, double first, const SearchGoal& goal);

    /// What to offer next; nullopt when the bounds are near enough or the trials used up.
    [[nodiscard]] std::optional<double> next() const noexcept;
    /// What came of offering next().
    void record(double loss_share, bool disturbed) noexcept;

    /// The highest rate that was within the goal; 0 if none was.
    [[nodiscard]] double found() const noexcept { return lower_; }
    /// The lowest that was not; nullopt while none was.
    [[nodiscard]] std::optional<double> lossy() const noexcept;
    [[nodiscard]] unsigned trials() const noexcept { return trials_; }
    [[nodiscard]] unsigned repeated() const noexcept { return repeated_; }

  private:
    void move_on() noexcept;
    [[nodiscard]] bool is_done() const noexcept;

    double rate_max_;
    SearchGoal goal_;
    double lower_ = 0;
    double upper_;
    bool upper_is_lossy_ = false;
    double rate_;
    unsigned losses_ = 0;     // at rate_
    unsigned disturbed_ = 0;  // at rate_
    unsigned trials_ = 0;
    unsigned repeated_ = 0;
};

}  // namespace penstock::bench
