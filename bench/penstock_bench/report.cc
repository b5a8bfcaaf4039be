#include "penstock_bench/report.h"

#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <type_traits>
#include <utility>

namespace penstock::bench {
namespace {

constexpr const char* kStandardOutput = "-";

Fields fields_of(const Environment& environment) {
    return {{"machine", environment.machine},
            {"cpu", environment.cpu},
            {"cpus", std::uint64_t{environment.cpus}},
            {"governor", environment.governor},
            {"kernel", environment.kernel},
            {"dpdk", environment.dpdk},
            {"commit", environment.commit},
            {"drivers", environment.drivers},
            {"nics", environment.nics},
            {"steal_share", environment.steal_share}};
}

void append(JsonWriter& json, const Fields& fields) {
    json.begin_object();
    for (const Field& field : fields) {
        json.key(field.key);
        std::visit(
            [&json](const auto& value) {
                if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Fields>) {
                    append(json, value);
                } else {
                    json.value(value);
                }
            },
            field.value);
    }
    json.end_object();
}

std::string cell_of(const Field& field) {
    if (const auto* truth = std::get_if<bool>(&field.value); truth != nullptr) {
        return *truth ? "true" : "false";
    }
    if (const auto* number = std::get_if<std::uint64_t>(&field.value); number != nullptr) {
        return fmt::format("{}", *number);
    }
    if (const auto* number = std::get_if<double>(&field.value); number != nullptr) {
        return fmt::format("{:.9g}", *number);
    }
    const auto* text = std::get_if<std::string>(&field.value);
    std::string cell = text == nullptr ? "" : *text;
    if (cell.find_first_of(",\"\r\n") == std::string::npos) {
        return cell;
    }
    for (std::size_t at = 0; (at = cell.find('"', at)) != std::string::npos; at += 2) {
        cell.insert(at, 1, '"');
    }
    return '"' + cell + '"';
}

using Cells = std::vector<std::pair<std::string, std::string>>;  // column, content

void flatten(const Fields& fields, const std::string& prefix, Cells& cells) {
    for (const Field& field : fields) {
        if (const auto* inner = std::get_if<Fields>(&field.value); inner != nullptr) {
            flatten(*inner, prefix + field.key + '_', cells);
        } else {
            cells.emplace_back(prefix + field.key, cell_of(field));
        }
    }
}

Error cannot_write(const std::string& path) {
    return {ErrorCode::system,
            fmt::format("{} cannot be written: {}; name another file or free some space",
                        path,
                        std::generic_category().message(errno))};
}

std::string joined(const std::vector<std::string>& cells) {
    return fmt::format("{}\n", fmt::join(cells, ","));
}

}  // namespace

std::string json_of(const Report& report) {
    JsonWriter json;
    json.begin_object().member("benchmark", report.benchmark).key("environment");
    append(json, fields_of(report.environment));
    json.key("rows").begin_array();
    for (const Fields& row : report.rows) {
        append(json, row);
    }
    json.end_array().end_object();
    return json.text() + '\n';
}

std::string csv_of(const Report& report) {
    std::string csv = fmt::format("# benchmark: {}\n", report.benchmark);
    for (const Field& field : fields_of(report.environment)) {
        csv += fmt::format("# {}: {}\n", field.key, cell_of(field));
    }
    std::vector<std::string> columns;
    std::vector<Cells> rows;
    for (const Fields& fields : report.rows) {
        rows.emplace_back();
        flatten(fields, "", rows.back());
        for (const auto& [column, content] : rows.back()) {
            if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
                columns.push_back(column);
            }
        }
    }
    csv += joined(columns);
    for (const Cells& row : rows) {
        std::vector<std::string> line;
        for (const std::string& column : columns) {
            const auto cell = std::find_if(
                row.begin(), row.end(), [&](const auto& one) { return one.first == column; });
            line.push_back(cell == row.end() ? "" : cell->second);
        }
        csv += joined(line);
    }
    return csv;
}

std::string text_of(const Environment& environment) {
    return fmt::format(
        "machine   {}, {} CPU(s) {}\n"
        "kernel    {}, governor {}\n"
        "DPDK      {}, Penstock {}\n",
        environment.machine,
        environment.cpus,
        environment.cpu,
        environment.kernel,
        environment.governor,
        environment.dpdk,
        environment.commit);
}

void Output::add_to(Options& options) {
    options.text("json", json_path_, "FILE", "write the report as JSON; - for standard output");
    options.text("csv", csv_path_, "FILE", "write the report as CSV; - for standard output");
}

Result<void> Output::open() {
    if (json_path_ == kStandardOutput && csv_path_ == kStandardOutput) {
        return Error{ErrorCode::invalid_argument,
                     "--json - and --csv - both want standard output; name a file for one"};
    }
    for (const auto& [path, file] :
         {std::pair{&json_path_, &json_}, std::pair{&csv_path_, &csv_}}) {
        if (path->empty() || *path == kStandardOutput) {
            continue;
        }
        file->reset(std::fopen(path->c_str(), "we"));
        if (!*file) {
            return cannot_write(*path);
        }
    }
    return {};
}

void Output::say(const std::string& line) const {
    if (json_path_ != kStandardOutput && csv_path_ != kStandardOutput) {
        fmt::print("{}\n", line);
        std::fflush(stdout);
    }
}

Result<void> Output::write(const Report& report) const {
    const auto put = [](const std::string& path, const File& file, const std::string& text) {
        std::FILE* to = path == kStandardOutput ? stdout : file.get();
        if (to == nullptr) {
            return Result<void>();
        }
        const bool written = std::fwrite(text.data(), 1, text.size(), to) == text.size();
        return written && std::fflush(to) == 0 ? Result<void>() : Result<void>(cannot_write(path));
    };
    if (auto written = put(json_path_, json_, json_of(report)); !written) {
        return written;
    }
    return put(csv_path_, csv_, csv_of(report));
}

void Output::Close::operator()(std::FILE* file) const noexcept { std::fclose(file); }

}  // namespace penstock::bench
