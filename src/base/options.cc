#include "base/options.h"

#include "base/check.h"
#include "base/log.h"
#include "base/option_entry.h"
#include "base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <limits>
#include <optional>
#include <tuple>

namespace penstock {
namespace {

/// "1MiB to 4GiB", "at least 1MiB", "at most 4GiB", or "" if all values are legal.
template <typename T, typename Format>
std::string range_of(T least, T most, Format format) {
    constexpr T kLeast{};
    constexpr T kMost = std::numeric_limits<T>::max();
    if (most == kMost) {
        return least == kLeast ? std::string() : fmt::format("at least {}", format(least));
    }
    return fmt::format("{} to {}", format(least), format(most));
}

std::string with_range(std::string_view kind, std::string_view range) {
    return range.empty() ? std::string(kind) : fmt::format("{}, {}", kind, range);
}

template <typename T>
std::optional<T> parse_plain(const std::string& text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

template <typename T>
std::optional<T> value_of(Result<T> parsed) {
    return parsed ? std::optional<T>(*parsed) : std::nullopt;
}

std::optional<bool> parse_bool(std::string_view text) {
    for (const std::string_view yes : {"true", "yes", "on", "1"}) {
        if (text == yes) {
            return true;
        }
    }
    for (const std::string_view no : {"false", "no", "off", "0"}) {
        if (text == no) {
            return false;
        }
    }
    return std::nullopt;
}

/// Gives `option` the means to set and to show a variable with a legal range.
template <typename T, typename Parse, typename Format>
void bind(OptionEntry& option, T& target, T least, T most, Parse parse, Format format) {
    option.assign = [&target, least, most, parse](std::span<const std::string> values) {
        const std::optional<T> value = parse(values.front());
        // NaN is in no range.
        if (!value || !(*value >= least && *value <= most)) {
            return false;
        }
        target = *value;
        return true;
    };
    option.values = [&target, format] { return std::vector<std::string>{format(target)}; };
}

/// A line of the file cannot hold what the file's syntax takes for itself.
bool fits_in_file(std::string_view value) {
    return value.find_first_of("#\r\n") == std::string_view::npos &&
           (value.empty() || (value.front() != ' ' && value.front() != '\t' &&
                              value.back() != ' ' && value.back() != '\t'));
}

}  // namespace

struct Options::State {
    std::string program;
    std::string summary;
    std::vector<OptionEntry> options;
    std::vector<PositionalEntry> positionals;
    std::string config_path;
    bool help = false;
    bool version = false;

    /// A new option; the `name` of one without a value may end in ",x" for the letter -x.
    OptionEntry& add(std::string name, std::string value, std::string help_sentence) {
        char letter = '\0';
        if (name.size() > 2 && name[name.size() - 2] == ',') {
            letter = name.back();
            name.resize(name.size() - 2);
        }
        PENSTOCK_CHECK(std::none_of(options.begin(), options.end(), [&](const OptionEntry& o) {
            return o.name == name || (letter != '\0' && o.letter == letter);
        }));
        OptionEntry& option = options.emplace_back();
        option.name = std::move(name);
        PENSTOCK_CHECK(letter == '\0' || value.empty());
        option.letter = letter;
        option.value = std::move(value);
        option.help = std::move(help_sentence);
        return option;
    }
};

Options::Options(std::string program, std::string summary) : state_(std::make_unique<State>()) {
    state_->program = std::move(program);
    state_->summary = std::move(summary);
}

Options::~Options() = default;

void Options::text(std::string name, std::string& target, std::string value, std::string help) {
    OptionEntry& option = state_->add(std::move(name), std::move(value), std::move(help));
    option.wants = "a value";
    option.example = option.value;
    option.assign = [&target](std::span<const std::string> values) {
        target = values.front();
        return true;
    };
    option.values = [&target] { return std::vector<std::string>{target}; };
}

void Options::texts(std::string name,
                    std::vector<std::string>& target,
                    std::string value,
                    std::string help) {
    OptionEntry& option = state_->add(std::move(name), std::move(value), std::move(help));
    option.wants = "a value";
    option.example = option.value;
    option.repeatable = true;
    option.assign = [&target](std::span<const std::string> values) {
        target.assign(values.begin(), values.end());
        return true;
    };
    option.values = [&target] { return target; };
}

void Options::flag(std::string name, bool& target, std::string help) {
    OptionEntry& option = state_->add(std::move(name), "", std::move(help));
    option.wants = "true or false";
    option.example = "true";
    bind(option, target, false, true, parse_bool, [](bool value) {
        return std::string(value ? "true" : "false");
    });
}

void Options::number(std::string name,
                     std::uint64_t& target,
                     std::uint64_t least,
                     std::uint64_t most,
                     std::string help) {
    OptionEntry& option = state_->add(std::move(name), "NUMBER", std::move(help));
    const auto format = [](std::uint64_t value) { return std::to_string(value); };
    option.range = range_of(least, most, format);
    option.wants = with_range("a whole number", option.range);
    option.example = format(std::max(target, least));
    bind(option, target, least, most, parse_plain<std::uint64_t>, format);
}

void Options::real(std::string name, double& target, double least, double most, std::string help) {
    OptionEntry& option = state_->add(std::move(name), "NUMBER", std::move(help));
    const auto format = [](double value) { return fmt::format("{}", value); };
    option.range = fmt::format("{} to {}", format(least), format(most));
    option.wants = with_range("a number", option.range);
    option.example = format(target);
    bind(option, target, least, most, parse_plain<double>, format);
}

void Options::duration(std::string name,
                       std::chrono::nanoseconds& target,
                       std::chrono::nanoseconds least,
                       std::chrono::nanoseconds most,
                       std::string help) {
    using Nanoseconds = std::chrono::nanoseconds;
    OptionEntry& option = state_->add(std::move(name), "DURATION", std::move(help));
    option.range = range_of(least.count(), most.count(), [](Nanoseconds::rep count) {
        return format_duration(Nanoseconds(count));
    });
    option.wants = with_range("a duration with its unit", option.range);
    const Nanoseconds example = target > Nanoseconds{0} ? target : least;
    option.example = example > Nanoseconds{0}     ? format_duration(example)
                     : most == Nanoseconds::max() ? "2s"
                                                  : format_duration(most);
    const auto parse = [](const std::string& text) { return value_of(parse_duration(text)); };
    bind(option, target, least, most, parse, format_duration);
}

void Options::bytes(std::string name,
                    std::uint64_t& target,
                    std::uint64_t least,
                    std::uint64_t most,
                    std::string help) {
    OptionEntry& option = state_->add(std::move(name), "SIZE", std::move(help));
    option.range = range_of(least, most, format_bytes);
    option.wants = with_range("a size with its unit", option.range);
    option.example = format_bytes(target > 0 ? target : most);
    const auto parse = [](const std::string& text) { return value_of(parse_bytes(text)); };
    bind(option, target, least, most, parse, format_bytes);
}

void Options::bit_rate(std::string name, std::uint64_t& target, std::string help) {
    OptionEntry& option = state_->add(std::move(name), "RATE", std::move(help));
    option.wants = "a bit rate with its unit";
    option.example = target > 0 ? format_bit_rate(target) : "20Mbit";
    const auto parse = [](const std::string& text) { return value_of(parse_bit_rate(text)); };
    bind(option,
         target,
         std::uint64_t{0},
         std::numeric_limits<std::uint64_t>::max(),
         parse,
         format_bit_rate);
}

void Options::choice(std::string name,
                     std::size_t& target,
                     std::vector<std::string> words,
                     std::string help) {
    PENSTOCK_CHECK(target < words.size());
    OptionEntry& option = state_->add(std::move(name), "WORD", std::move(help));
    option.range = join(words, " or ");
    option.wants = option.range;
    option.example = words[target];
    option.assign = [&target, words](std::span<const std::string> values) {
        const auto found = std::find(words.begin(), words.end(), values.front());
        if (found == words.end()) {
            return false;
        }
        target = static_cast<std::size_t>(found - words.begin());
        return true;
    };
    option.values = [&target, words] { return std::vector<std::string>{words.at(target)}; };
}

void Options::positional(std::string name, std::string& target, std::string help, bool required) {
    PENSTOCK_CHECK(state_->positionals.empty() || state_->positionals.back().rest == nullptr);
    state_->positionals.push_back({std::move(name), std::move(help), required, &target, nullptr});
}

void Options::rest(std::string name, std::vector<std::string>& target, std::string help) {
    PENSTOCK_CHECK(state_->positionals.empty() || state_->positionals.back().rest == nullptr);
    state_->positionals.push_back({std::move(name), std::move(help), false, nullptr, &target});
}

Result<Options::Outcome> Options::parse(int argc, const char* const* argv) {
    State& state = *state_;
    text("config", state.config_path, "FILE", "INI file with these options as keys");
    state.options.back().in_file = false;
    for (const auto& [name, target, help] :
         {std::tuple("help,h", &state.help, "print this text"),
          std::tuple("version", &state.version, "print the version")}) {
        flag(name, *target, help);
        state.options.back().in_file = false;
        state.options.back().in_environment = false;
    }
    auto wish = assign_options(state.options, state.positionals, state.config_path, argc, argv);
    if (!wish) {
        return std::move(wish).error();
    }
    if (*wish == CommandLineWish::help) {
        const std::string text =
            help_text(state.program, state.summary, state.options, state.positionals);
        std::fputs(text.c_str(), stdout);
    } else if (*wish == CommandLineWish::version) {
        std::fputs(fmt::format("{} {}\n", state.program, PENSTOCK_VERSION).c_str(), stdout);
    }
    return *wish == CommandLineWish::run ? Outcome::run : Outcome::exit;
}

std::string Options::effective() const {
    std::string out;
    for (const OptionEntry& option : state_->options) {
        if (!option.in_file) {
            continue;
        }
        for (const std::string& value : option.values()) {
            out += fmt::format("{}{} = {}\n",
                               fits_in_file(value) ? "" : "# not for a file: ",
                               option.name,
                               fits_in_file(value) ? value : printable(value));
        }
    }
    return out;
}

int fail(std::string_view program, const Error& error) {
    const std::string line = fmt::format("{}: {}\n", program, printable(error.message));
    std::fputs(line.c_str(), stderr);
    return 1;
}

}  // namespace penstock
