#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::bench {

/// One line on standard error that says how far a benchmark is; nothing where that is no terminal.
/// A child's copy may draw, too, while its parent waits.
class Progress {
  public:
    /// `steps`: in all, at least 1.
    explicit Progress(std::uint64_t steps);
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// `step`: 0..steps, those that are done; `doing`: what comes now.
    void show(std::uint64_t step, std::string_view doing) const;
    void clear() const;

  private:
    std::uint64_t steps_;
    bool is_terminal_;
};

/// The line without what positions it: "[#####     ]  50 % doing". Pure.
[[nodiscard]] std::string progress_line(std::uint64_t step,
                                        std::uint64_t steps,
                                        std::string_view doing);

}  // namespace penstock::bench
