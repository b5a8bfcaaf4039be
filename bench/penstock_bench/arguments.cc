#include "penstock_bench/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>

namespace penstock::bench {

Result<std::vector<std::uint64_t>> parse_numbers(std::string_view name,
                                                 std::string_view text,
                                                 std::uint64_t least,
                                                 std::uint64_t most) {
    std::vector<std::uint64_t> numbers;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t comma = std::min(text.find(',', at), text.size());
        std::uint64_t number = 0;
        const char* const end = text.data() + comma;
        const auto [next, error] = std::from_chars(text.data() + at, end, number);
        if (error != std::errc{} || next != end || number < least || number > most) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("--{} {}: wants numbers from {} to {} with commas between, "
                                     "for example --{} {},{}",
                                     name,
                                     text,
                                     least,
                                     most,
                                     name,
                                     least,
                                     std::min(least + 1, most))};
        }
        numbers.push_back(number);
        at = comma + 1;
    }
    return numbers;
}

Result<double> parse_share(std::string_view name,
                           std::string_view text,
                           double least,
                           double most) {
    constexpr double kPerCent = 100;
    double number = 0;
    const char* const end = text.data() + text.size();
    const auto [next, error] = std::from_chars(text.data(), end, number);
    const bool is_share = error == std::errc{} && std::string_view(next, end) == "%";
    const bool is_zero = error == std::errc{} && next == end && number == 0;
    const double share = number / kPerCent;
    if ((!is_share && !is_zero) || !(share >= least && share <= most)) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("--{} {}: wants a share from {:g}% to {:g}%, for example --{} "
                                 "0.5%",
                                 name,
                                 text,
                                 kPerCent * least,
                                 kPerCent * most,
                                 name)};
    }
    return share;
}

}  // namespace penstock::bench
