#include "base/log.h"
#include "base/option_entry.h"

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

namespace penstock {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kConfigBytesMax = 1U << 20U;
constexpr std::string_view kVariablePrefix = "PENSTOCK_";
constexpr const char* kHelp = "help";
constexpr const char* kVersion = "version";
constexpr const char* kConfig = "config";

/// What one source gives, by option name, in its order.
using GivenValues = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Where values come from: spells an option with a value as one would write it there.
struct Source {
    enum class Kind { flag, variable, file } kind;
    std::string_view path;  // of the file

    [[nodiscard]] std::string spell(const OptionEntry& option, std::string_view value) const {
        switch (kind) {
            case Kind::flag:
                return fmt::format(
                    "--{}{}{}", option.name, option.value.empty() ? '=' : ' ', value);
            case Kind::variable:
                return fmt::format("{}={}", variable_of(option.name), value);
            case Kind::file:
                return fmt::format("{} = {}", option.name, value);
        }
        return {};
    }
    /// The same with the file's name in front.
    [[nodiscard]] std::string locate(const OptionEntry& option, std::string_view value) const {
        const std::string spelled = spell(option, printable(value));
        return kind == Kind::file ? fmt::format("{}: {}", path, spelled) : spelled;
    }
};

Error bad(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

const OptionEntry* find_option(std::span<const OptionEntry> options, std::string_view name) {
    const auto found = std::find_if(
        options.begin(), options.end(), [&](const OptionEntry& o) { return o.name == name; });
    return found == options.end() ? nullptr : &*found;
}

template <typename Predicate>
std::vector<std::string> names_of(std::span<const OptionEntry> options, Predicate wanted) {
    std::vector<std::string> names;
    for (const OptionEntry& option : options) {
        if (wanted(option)) {
            names.push_back(option.name);
        }
    }
    return names;
}

/// "; did you mean --ring-bytes?" or `otherwise`.
std::string suggestion(std::string_view word,
                       std::span<const std::string> names,
                       std::string_view prefix,
                       std::string_view otherwise) {
    const auto near = nearest(word, names, 1 + word.size() / 3);
    return near ? fmt::format("; did you mean {}{}?", prefix, *near) : std::string(otherwise);
}

Result<void> assign(std::span<const OptionEntry> options,
                    const GivenValues& given,
                    const Source& source) {
    for (const OptionEntry& option : options) {
        const auto values = given.find(option.name);
        if (values == given.end() || values->second.empty()) {
            continue;
        }
        if (!option.repeatable && values->second.size() > 1) {
            return bad(fmt::format("{}: given a second time; give it once",
                                   source.locate(option, values->second[1])));
        }
        if (!option.assign(values->second)) {
            return bad(fmt::format("{}: wants {}, for example {}",
                                   source.locate(option, values->second.front()),
                                   option.wants,
                                   source.spell(option, option.example)));
        }
    }
    return {};
}

struct CommandLine {
    GivenValues given;
    std::vector<std::string> positionals;
};

po::options_description describe(std::span<const OptionEntry> options) {
    po::options_description description;
    for (const OptionEntry& option : options) {
        auto* value = po::value<std::string>();
        if (option.value.empty()) {
            value->implicit_value("true");
        }
        const std::string name =
            option.letter == '\0' ? option.name : fmt::format("{},{}", option.name, option.letter);
        description.add_options()(name.c_str(), value, "");
    }
    return description;
}

std::string without_dashes(std::string_view flag) {
    return std::string(flag.substr(std::min(flag.find_first_not_of('-'), flag.size())));
}

Error missing_value(const OptionEntry& option) {
    return bad(fmt::format("--{}: wants {}, for example {}",
                           option.name,
                           option.wants,
                           Source{Source::Kind::flag, {}}.spell(option, option.example)));
}

bool is_flag(std::span<const OptionEntry> options, std::string_view name) {
    const OptionEntry* option = find_option(options, name);
    return option != nullptr && option->value.empty();
}

/// Whether Boost 1.74 took the flag behind a flag for its value, as in `--bind --insecure`.
bool took_a_flag(std::span<const OptionEntry> options, const po::option& option) {
    if (option.original_tokens.size() < 2 || !option.original_tokens[1].starts_with("--")) {
        return false;
    }
    const std::string& next = option.original_tokens[1];
    return find_option(options, next.substr(2, next.find('=') - 2)) != nullptr;
}

/// Sorts what one option of the command line was given into `line`.
void take(const po::option& option, bool is_flag, CommandLine& line) {
    const auto append = [&option](std::vector<std::string>& values) {
        values.insert(values.end(), option.value.begin(), option.value.end());
    };
    if (option.position_key >= 0) {
        append(line.positionals);
        return;
    }
    std::vector<std::string>& values = line.given[option.string_key];
    const bool has_own_value = option.original_tokens.size() == 1 && !option.value.empty();
    if (is_flag && !has_own_value) {
        values.emplace_back("true");
        // Boost lets a flag, whose value may be left out, take the next argument: give it back.
        append(line.positionals);
    } else {
        append(values);
    }
}

Result<CommandLine> read_command_line(std::span<const OptionEntry> options,
                                      int argc,
                                      const char* const* argv) {
    using Style = po::command_line_style::style_t;
    constexpr int kStyle = Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next |
                           Style::allow_short | Style::allow_dash_for_short |
                           Style::short_allow_adjacent | Style::allow_sticky;
    const po::options_description description = describe(options);
    CommandLine line;
    try {
        const auto parsed =
            po::command_line_parser(argc, argv).options(description).style(kStyle).run();
        for (const po::option& option : parsed.options) {
            if (took_a_flag(options, option)) {
                return missing_value(*find_option(options, option.string_key));
            }
            take(option, is_flag(options, option.string_key), line);
        }
    } catch (const po::unknown_option& unknown) {
        const std::string token = unknown.get_option_name();
        const std::string flag = token.substr(0, token.find('='));
        const auto names = names_of(options, [](const OptionEntry&) { return true; });
        return bad(fmt::format("{} is not an option{}",
                               printable(flag),
                               suggestion(without_dashes(flag), names, "--", "; see --help")));
    } catch (const po::error_with_option_name& wrong) {
        const std::string name = without_dashes(wrong.get_option_name());
        const OptionEntry* option = find_option(options, name);
        if (option == nullptr) {
            return bad(printable(wrong.what()));
        }
        return missing_value(*option);
    } catch (const po::error& wrong) {
        return bad(printable(wrong.what()));
    }
    return line;
}

std::vector<std::string> split_at_spaces(const std::string& text) {
    std::istringstream words(text);
    return {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
}

Result<GivenValues> read_environment(std::span<const OptionEntry> options) {
    const auto names = names_of(options, [](const OptionEntry& o) { return o.in_environment; });
    GivenValues given;
    std::optional<Error> error;
    const auto name_of = [&](const std::string& variable) -> std::string {
        if (!variable.starts_with(kVariablePrefix)) {
            return {};
        }
        std::string name = variable.substr(kVariablePrefix.size());
        std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
            return c == '_' ? '-' : static_cast<char>(std::tolower(c));
        });
        const auto known = std::find(names.begin(), names.end(), name);
        if (known != names.end() && variable == variable_of(name)) {
            return name;
        }
        // Other programs of the family read other variables: only a near miss is a mistake.
        if (const auto near = nearest(name, names, 1 + name.size() / 8); near && !error) {
            error = bad(fmt::format("{} is not a variable of this program; did you mean {}?",
                                    printable(variable),
                                    variable_of(*near)));
        }
        return {};
    };
    const auto parsed = po::parse_environment(po::options_description(),
                                              boost::function1<std::string, std::string>(name_of));
    if (error) {
        return *std::move(error);
    }
    for (const po::option& variable : parsed.options) {
        const std::string& value = variable.value.front();
        if (value.empty()) {
            continue;  // the shell's way to unset a variable for one command
        }
        const bool repeatable = find_option(options, variable.string_key)->repeatable;
        given[variable.string_key] =
            repeatable ? split_at_spaces(value) : std::vector<std::string>{value};
    }
    return given;
}

Result<std::string> read_text(const std::string& path) {
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::string text(kConfigBytesMax + 1, '\0');
    if (file) {
        file.read(text.data(), static_cast<std::streamsize>(text.size()));
    }
    if (!file.is_open() || file.bad()) {
        const int reason = errno == 0 ? EIO : errno;
        return bad(fmt::format("--config {}: cannot be read: {}; name a readable INI file",
                               printable(path),
                               std::generic_category().message(reason)));
    }
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > kConfigBytesMax) {
        return bad(fmt::format("--config {}: is longer than 1MiB; name an INI file", path));
    }
    return text;
}

Result<GivenValues> read_file(std::span<const OptionEntry> options, const std::string& path) {
    auto text = read_text(path);
    if (!text) {
        return std::move(text).error();
    }
    const auto names = names_of(options, [](const OptionEntry& o) { return o.in_file; });
    std::istringstream stream(text.value());
    GivenValues given;
    try {
        constexpr bool kAllowUnregistered = true;  // we say it better
        for (const auto& line :
             po::parse_config_file(stream, po::options_description(), kAllowUnregistered).options) {
            if (std::find(names.begin(), names.end(), line.string_key) == names.end()) {
                return bad(fmt::format("{}: {}: unknown key{}",
                                       path,
                                       printable(line.string_key),
                                       suggestion(line.string_key, names, "", "; see --help")));
            }
            auto& values = given[line.string_key];
            values.insert(values.end(), line.value.begin(), line.value.end());
        }
    } catch (const po::invalid_config_file_syntax& wrong) {
        return bad(
            fmt::format("{}: '{}' is not a line 'name = value'", path, printable(wrong.tokens())));
    } catch (const po::error& wrong) {
        return bad(fmt::format("{}: {}", path, printable(wrong.what())));
    }
    return given;
}

Result<void> assign_positionals(std::span<const PositionalEntry> positionals,
                                std::span<const std::string> given) {
    for (const PositionalEntry& positional : positionals) {
        if (positional.rest != nullptr) {
            positional.rest->assign(given.begin(), given.end());
            given = {};
        } else if (!given.empty()) {
            *positional.target = given.front();
            given = given.subspan(1);
        } else if (positional.required) {
            return bad(fmt::format(
                "{} is missing: {}; see --help", argument_name(positional.name), positional.help));
        }
    }
    if (!given.empty()) {
        return bad(
            fmt::format("'{}' is one argument too many; see --help", printable(given.front())));
    }
    return {};
}

}  // namespace

Result<CommandLineWish> assign_options(std::span<const OptionEntry> options,
                                       std::span<const PositionalEntry> positionals,
                                       const std::string& config_path,
                                       int argc,
                                       const char* const* argv) {
    auto line = read_command_line(options, argc, argv);
    if (!line) {
        return std::move(line).error();
    }
    if (line->given.contains(kHelp)) {
        return CommandLineWish::help;
    }
    if (line->given.contains(kVersion)) {
        return CommandLineWish::version;
    }
    auto environment = read_environment(options);
    if (!environment) {
        return std::move(environment).error();
    }
    const Source variables{Source::Kind::variable, {}};
    const Source flags{Source::Kind::flag, {}};
    // The file's name comes from the other two sources, so they are assigned first for its sake.
    const OptionEntry* config = find_option(options, kConfig);
    for (const auto& [given, source] :
         {std::pair(&environment.value(), variables), std::pair(&line->given, flags)}) {
        if (auto assigned = assign({config, 1}, *given, source); !assigned) {
            return std::move(assigned).error();
        }
    }
    if (!config_path.empty()) {
        auto file = read_file(options, config_path);
        if (!file) {
            return std::move(file).error();
        }
        if (auto done = assign(options, *file, {Source::Kind::file, config_path}); !done) {
            return std::move(done).error();
        }
    }
    if (auto done = assign(options, *environment, variables); !done) {
        return std::move(done).error();
    }
    if (auto done = assign(options, line->given, flags); !done) {
        return std::move(done).error();
    }
    if (auto done = assign_positionals(positionals, line->positionals); !done) {
        return std::move(done).error();
    }
    return CommandLineWish::run;
}

}  // namespace penstock
