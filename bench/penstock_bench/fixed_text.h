#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace penstock::bench {

/// Text that can be sent through a pipe as it lies in memory; what does not fit is cut off.
template <std::size_t kBytes>
class FixedText {
  public:
    FixedText() = default;
    FixedText(std::string_view text) {  // NOLINT: implicit, as std::string is
        std::copy_n(text.begin(), std::min(text.size(), kBytes - 1), bytes_.begin());
    }
    [[nodiscard]] std::string text() const { return bytes_.data(); }
    [[nodiscard]] bool empty() const noexcept { return bytes_.front() == '\0'; }

  private:
    std::array<char, kBytes> bytes_{};  // the last one stays 0
};

}  // namespace penstock::bench
