#include "base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

namespace penstock {
namespace {

struct Unit {
    std::string_view suffix;
    std::uint64_t worth;  // in the smallest unit of its table
};

/// One kind of quantity. `units` from the smallest, whose worth is 1, to the largest.
struct Quantity {
    std::string_view name;
    std::string_view examples;
    std::span<const Unit> units;
    std::uint64_t most;
};

constexpr std::array<Unit, 6> kDurationUnits{{
    {"ns", 1},
    {"us", 1'000},
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"m", 60'000'000'000},
    {"h", 3'600'000'000'000},
}};
constexpr std::array<Unit, 4> kByteUnits{{
    {"B", 1},
    {"KiB", 1ULL << 10U},
    {"MiB", 1ULL << 20U},
    {"GiB", 1ULL << 30U},
}};
constexpr std::array<Unit, 4> kBitRateUnits{{
    {"bit", 1},
    {"kbit", 1'000},
    {"Mbit", 1'000'000},
    {"Gbit", 1'000'000'000},
}};

constexpr Quantity kDuration{"a duration",
                             "250us, 20ms, 2s, 5m or 1h",
                             kDurationUnits,
                             std::numeric_limits<std::int64_t>::max()};
constexpr Quantity kBytes{
    "a size", "512B, 64KiB, 256MiB or 2GiB", kByteUnits, std::numeric_limits<std::uint64_t>::max()};
constexpr Quantity kBitRate{"a bit rate",
                            "800bit, 20kbit, 20Mbit or 10Gbit",
                            kBitRateUnits,
                            std::numeric_limits<std::uint64_t>::max()};

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view leading_digits(std::string_view text) {
    return text.substr(0,
                       static_cast<std::size_t>(
                           std::find_if_not(text.begin(), text.end(), is_digit) - text.begin()));
}

/// total + digits * worth, each digit worth a tenth of the one before it; false on overflow.
bool add_whole(std::uint64_t& total, std::string_view digits, std::uint64_t worth) {
    std::uint64_t whole = 0;
    for (const char c : digits) {
        if (__builtin_mul_overflow(whole, std::uint64_t{10}, &whole) ||
            __builtin_add_overflow(whole, static_cast<std::uint64_t>(c - '0'), &whole)) {
            return false;
        }
    }
    return !__builtin_mul_overflow(whole, worth, &whole) &&
           !__builtin_add_overflow(total, whole, &total);
}

/// Adds the digits behind a decimal point; false if they do not come out as a whole number.
bool add_fraction(std::uint64_t& total, std::string_view digits, std::uint64_t worth) {
    for (const char c : digits) {
        if (c != '0' && worth % 10 != 0) {
            return false;
        }
        worth /= 10;
        total += static_cast<std::uint64_t>(c - '0') * worth;
    }
    return true;
}

Result<std::uint64_t> parse_quantity(std::string_view text, const Quantity& quantity) {
    const auto bad = [&](std::string_view why) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("'{}' is not {}: {}; write it like {}",
                                 text,
                                 quantity.name,
                                 why,
                                 quantity.examples)};
    };
    const std::string_view whole = leading_digits(text);
    if (whole.empty()) {
        return bad("it does not begin with a digit");
    }
    std::string_view suffix = text.substr(whole.size());
    std::string_view fraction;
    if (suffix.starts_with('.')) {
        fraction = leading_digits(suffix.substr(1));
        suffix.remove_prefix(1 + fraction.size());
        if (fraction.empty()) {
            return bad("there is no digit behind the point");
        }
    }
    const auto unit = std::find_if(quantity.units.begin(),
                                   quantity.units.end(),
                                   [&](const Unit& u) { return u.suffix == suffix; });
    if (unit == quantity.units.end()) {
        if (suffix.empty() && text.find_first_not_of('0') == std::string_view::npos) {
            return std::uint64_t{0};
        }
        return suffix.empty() ? bad("it has no unit")
                              : bad(fmt::format("'{}' is not a unit", suffix));
    }
    std::uint64_t part = 0;
    if (!add_fraction(part, fraction, unit->worth)) {
        return bad(fmt::format("it is not a whole number of {}", quantity.units.front().suffix));
    }
    std::uint64_t total = part;
    if (!add_whole(total, whole, unit->worth) || total > quantity.most) {
        return bad("it is too large");
    }
    return total;
}

/// `value` in `unit`, exactly, with decimals where the unit is a power of ten.
std::string in_unit(std::uint64_t value, const Unit& unit) {
    std::string text = std::to_string(value / unit.worth);
    std::uint64_t rest = value % unit.worth;
    if (rest != 0) {
        text.push_back('.');
    }
    for (std::uint64_t worth = unit.worth / 10; rest != 0; worth /= 10) {
        text.push_back(static_cast<char>('0' + rest / worth));
        rest %= worth;
    }
    return text.append(unit.suffix);
}

constexpr bool is_power_of_ten(std::uint64_t value) {
    while (value % 10 == 0) {
        value /= 10;
    }
    return value == 1;
}

/// The shortest exact text; of equally short ones that with the larger unit.
std::string format_quantity(std::uint64_t value, std::span<const Unit> units) {
    if (value == 0) {
        return fmt::format("0{}", units.front().suffix);
    }
    std::string best = in_unit(value, units.front());
    for (const Unit& unit : units.subspan(1)) {
        if (value < unit.worth || (value % unit.worth != 0 && !is_power_of_ten(unit.worth))) {
            continue;
        }
        std::string text = in_unit(value, unit);
        if (text.size() <= best.size()) {
            best = std::move(text);
        }
    }
    return best;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
    auto count = parse_quantity(text, kDuration);
    if (!count) {
        return std::move(count).error();
    }
    return std::chrono::nanoseconds(static_cast<std::int64_t>(count.value()));
}

Result<std::uint64_t> parse_bytes(std::string_view text) { return parse_quantity(text, kBytes); }

Result<std::uint64_t> parse_bit_rate(std::string_view text) {
    return parse_quantity(text, kBitRate);
}

std::string format_duration(std::chrono::nanoseconds duration) {
    const auto count = static_cast<std::uint64_t>(duration.count());
    if (duration.count() < 0) {
        return fmt::format("-{}", format_quantity(0 - count, kDurationUnits));
    }
    return duration.count() == 0 ? "0s" : format_quantity(count, kDurationUnits);
}

std::string format_bytes(std::uint64_t bytes) { return format_quantity(bytes, kByteUnits); }

std::string format_bit_rate(std::uint64_t bits_per_second) {
    return format_quantity(bits_per_second, kBitRateUnits);
}

}  // namespace penstock
