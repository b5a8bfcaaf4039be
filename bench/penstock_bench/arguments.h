#pragma once

#include <penstock/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::bench {

/// "1,8,64" of option `name`, each within least..most. Errors: invalid_argument. Pure.
Result<std::vector<std::uint64_t>> parse_numbers(std::string_view name,
                                                 std::string_view text,
                                                 std::uint64_t least,
                                                 std::uint64_t most);

/// "0.5%" of option `name` as 0.005, or "0"; within least..most as shares.
/// Errors: invalid_argument. Pure.
Result<double> parse_share(std::string_view name, std::string_view text, double least, double most);

}  // namespace penstock::bench
