#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace penstock {

/// Counts what happened to numbered datagrams: lost, repeated, out of order. Numbers of 64 bits, or
/// shorter ones that wrap. A number that comes late is taken back from the lost. A jump that cannot
/// be loss (a source that began anew) starts over without counting, once the next number confirms
/// it (RFC 3550 appendix A.1). Pure. Thread: one.
class SequenceTracker {
  public:
    /// How far back repeats are told from late numbers.
    static constexpr std::uint64_t kWindow = 8192;
    static constexpr std::uint64_t kJumpMost = 3000;  // RFC 3550 appendix A.1, MAX_DROPOUT

    /// `bits`: of a number, 16 or 64. Of 64-bit numbers no jump forward is too far to be loss.
    explicit SequenceTracker(unsigned bits) : bits_(bits) {}

    void take(std::uint64_t number) noexcept;
    /// The source begins anew, without loss.
    void restart() noexcept { has_begun_ = false; }

    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
    [[nodiscard]] std::uint64_t duplicates() const noexcept { return duplicates_; }
    [[nodiscard]] std::uint64_t reordered() const noexcept { return reordered_; }
    /// First and highest number, counted on over every wrap; nullopt before the first.
    [[nodiscard]] std::optional<std::uint64_t> first() const noexcept;
    [[nodiscard]] std::optional<std::uint64_t> last() const noexcept;

  private:
    void begin(std::uint64_t number) noexcept;
    void take_ahead(std::uint64_t ahead) noexcept;
    void take_behind(std::uint64_t behind) noexcept;
    bool& seen(std::uint64_t number) noexcept { return seen_[number % kWindow]; }

    const unsigned bits_;
    bool has_begun_ = false;
    bool has_any_ = false;
    std::uint64_t first_ = 0;
    std::uint64_t highest_ = 0;
    std::uint64_t counted_from_ = 0;          // lowest number of this run whose absence was counted
    std::optional<std::uint64_t> jumped_to_;  // the number that would confirm a jump
    std::array<bool, kWindow> seen_{};
    std::uint64_t lost_ = 0;
    std::uint64_t duplicates_ = 0;
    std::uint64_t reordered_ = 0;
};

}  // namespace penstock
