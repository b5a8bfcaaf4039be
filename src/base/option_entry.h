#pragma once

#include <penstock/result.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// One option as the parts of Options share it. Values travel as text; `assign` and `values` know
/// the bound variable and its type.
struct OptionEntry {
    std::string name;         // "ring-bytes"
    char letter = '\0';       // 'j' for -j; '\0' if there is none
    std::string value;        // names the value in --help ("SIZE"); "" for a flag
    std::string help;         // one sentence, without range and default
    std::string range;        // "1MiB to 4GiB", "publish or demand"; "" if every value is legal
    std::string wants;        // what is legal, for errors: "a size with its unit, 1MiB to 4GiB"
    std::string example;      // a legal value
    bool repeatable = false;  // several values may be given
    bool in_file = true;      // may be a key of the file and a part of effective()
    bool in_environment = true;

    /// Takes the values of one source, never none; false if one of them is not legal.
    std::function<bool(std::span<const std::string>)> assign;
    /// The bound variable's value as text, one element a value.
    std::function<std::vector<std::string>()> values;
};

/// A value without a flag.
struct PositionalEntry {
    std::string name;
    std::string help;
    bool required = true;
    std::string* target = nullptr;             // one value
    std::vector<std::string>* rest = nullptr;  // or all that is left
};

/// The parts with `between` between them. (fmt::join does not compile without a false warning of
/// g++ 12 about fmt 9 at -O3.)
std::string join(std::span<const std::string> parts, std::string_view between);

/// "ring-bytes" -> "PENSTOCK_RING_BYTES".
std::string variable_of(std::string_view name);

/// "stream" -> "STREAM": how --help and errors show a value without a flag.
std::string argument_name(std::string_view name);

/// What the command line asks for besides values.
enum class CommandLineWish { run, help, version };

/// Assigns all values: the file's, then the environment's, then the command line's, so that each
/// replaces the one before it and every one is judged. `options` includes --config, --help and
/// --version, whose variables the caller owns; `config_path` is the one bound to --config.
/// Errors: invalid_argument, one line.
Result<CommandLineWish> assign_options(std::span<const OptionEntry> options,
                                       std::span<const PositionalEntry> positionals,
                                       const std::string& config_path,
                                       int argc,
                                       const char* const* argv);

/// The text of --help, at most 100 columns wide. Shows each option's present value as its default.
std::string help_text(std::string_view program,
                      std::string_view summary,
                      std::span<const OptionEntry> options,
                      std::span<const PositionalEntry> positionals);

/// Changes needed to make one word of the other: letters added, dropped, replaced, or swapped with
/// their neighbour.
std::size_t edit_distance(std::string_view left, std::string_view right);

/// The candidate with the smallest edit distance to `word`, if that is at most `most`; the first of
/// several.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string> candidates,
                                        std::size_t most);

}  // namespace penstock
