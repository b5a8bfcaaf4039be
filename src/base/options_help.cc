#include "base/option_entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace penstock {
namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kLeftColumnsMax = 36;  // a longer left side has its help on the next line

struct HelpRow {
    std::string left;
    std::string right;
};

std::string upper_case(std::string_view text) {
    std::string upper(text);
    std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) {
        return c == '-' ? '_' : static_cast<char>(std::toupper(c));
    });
    return upper;
}

HelpRow row_of(const OptionEntry& option) {
    HelpRow row;
    row.left = option.letter == '\0' ? fmt::format("  --{}", option.name)
                                     : fmt::format("  -{}, --{}", option.letter, option.name);
    if (!option.value.empty()) {
        row.left += fmt::format(" {}", option.value);
    }
    const std::string present = join(option.values(), " ");
    const bool shows_default = !option.value.empty() && !present.empty();
    row.right = option.help;
    if (!option.range.empty() || shows_default || option.repeatable) {
        std::vector<std::string> notes;
        if (!option.range.empty()) {
            notes.push_back(option.range);
        }
        if (shows_default) {
            notes.push_back(fmt::format("default {}", present));
        }
        if (option.repeatable) {
            notes.emplace_back("may be repeated");
        }
        row.right += fmt::format(" ({})", join(notes, "; "));
    }
    return row;
}

/// Appends `text` wrapped at spaces, its lines after the first indented by `indent`.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent) {
    std::size_t column = indent;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (column > indent && column + 1 + word.size() > kColumns) {
            out.append("\n").append(indent, ' ');
            column = indent;
        } else if (column > indent) {
            out.push_back(' ');
            ++column;
        }
        out.append(word);
        column += word.size();
    }
    out.push_back('\n');
}

void append_rows(std::string& out, std::span<const HelpRow> rows, std::size_t left_columns) {
    for (const HelpRow& row : rows) {
        out += row.left;
        if (row.left.size() + 2 > left_columns) {
            out.append("\n").append(left_columns, ' ');
        } else {
            out.append(left_columns - row.left.size(), ' ');
        }
        append_wrapped(out, row.right, left_columns);
    }
}

std::string usage_of(const PositionalEntry& positional) {
    const std::string name = argument_name(positional.name);
    if (positional.rest != nullptr) {
        return fmt::format(" [{}]...", name);
    }
    return positional.required ? fmt::format(" {}", name) : fmt::format(" [{}]", name);
}

}  // namespace

std::string join(std::span<const std::string> parts, std::string_view between) {
    std::string joined;
    for (const std::string& part : parts) {
        if (&part != &parts.front()) {
            joined += between;
        }
        joined += part;
    }
    return joined;
}

std::string argument_name(std::string_view name) { return upper_case(name); }

std::string variable_of(std::string_view name) { return "PENSTOCK_" + upper_case(name); }

std::string help_text(std::string_view program,
                      std::string_view summary,
                      std::span<const OptionEntry> options,
                      std::span<const PositionalEntry> positionals) {
    std::string out = fmt::format("Usage: {} [OPTION]...", program);
    std::vector<HelpRow> arguments;
    for (const PositionalEntry& positional : positionals) {
        out += usage_of(positional);
        arguments.push_back({"  " + argument_name(positional.name), positional.help});
    }
    out.push_back('\n');
    append_wrapped(out, summary, 0);
    std::vector<HelpRow> rows;
    std::transform(options.begin(), options.end(), std::back_inserter(rows), row_of);
    std::size_t left_columns = 0;
    for (const auto& table :
         {std::span<const HelpRow>(arguments), std::span<const HelpRow>(rows)}) {
        for (const HelpRow& row : table) {
            left_columns = std::max(left_columns, std::min(row.left.size() + 2, kLeftColumnsMax));
        }
    }
    if (!arguments.empty()) {
        out += "\nArguments:\n";
        append_rows(out, arguments, left_columns);
    }
    out += "\nOptions:\n";
    append_rows(out, rows, left_columns);
    out.push_back('\n');
    append_wrapped(
        out,
        "Each option can also be given as a variable (PENSTOCK_NAME, in capitals, - as _) "
        "or as a line 'name = value' of the --config file. A flag wins over a variable, a "
        "variable over the file.",
        0);
    return out;
}

std::size_t edit_distance(std::string_view left, std::string_view right) {
    // Rows of the usual table: for i letters of `left`, and for i-1 and i-2.
    std::vector<std::size_t> now(right.size() + 1);
    std::vector<std::size_t> before(now.size());
    std::vector<std::size_t> two_before(now.size());
    for (std::size_t j = 0; j <= right.size(); ++j) {
        now[j] = j;
    }
    for (std::size_t i = 1; i <= left.size(); ++i) {
        std::swap(two_before, before);
        std::swap(before, now);
        now[0] = i;
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const std::size_t replaced = before[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1);
            now[j] = std::min({before[j] + 1, now[j - 1] + 1, replaced});
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1]) {
                now[j] = std::min(now[j], two_before[j - 2] + 1);
            }
        }
    }
    return now[right.size()];
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string> candidates,
                                        std::size_t most) {
    std::optional<std::string_view> best;
    std::size_t best_distance = most + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate);
        if (distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

}  // namespace penstock
