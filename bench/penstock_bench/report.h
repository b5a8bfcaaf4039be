#pragma once

#include "base/options.h"
#include "penstock_bench/environment.h"

#include <penstock/result.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace penstock::bench {

struct Field;
using Fields = std::vector<Field>;

/// A key and its value, as JSON knows them.
struct Field {
    std::string key;
    std::variant<bool, std::uint64_t, double, std::string, Fields> value;
};

/// What a benchmark found, one row a point of its sweep.
struct Report {
    std::string benchmark;
    Environment environment;
    std::vector<Fields> rows;
};

/// One object: "benchmark", "environment", "rows". Pure.
[[nodiscard]] std::string json_of(const Report& report);
/// RFC 4180 behind lines of `# name: value` with the environment. A column for every key of any
/// row, those of an object in a row joined by `_`; empty where a row does not have it. Pure.
[[nodiscard]] std::string csv_of(const Report& report);
/// The environment as lines for people. Pure.
[[nodiscard]] std::string text_of(const Environment& environment);

/// Where a report goes: to the terminal as it grows, and to the files it was asked for.
class Output {
  public:
    /// Adds --json and --csv to the options of a sub-command.
    void add_to(Options& options);
    /// Opens the files, so that no run is lost to one that cannot be written.
    /// Errors: invalid_argument, system.
    Result<void> open();

    /// For people: a line of text, unless standard output carries the report itself.
    void say(const std::string& line) const;
    /// Errors: system.
    Result<void> write(const Report& report) const;

  private:
    struct Close {
        void operator()(std::FILE* file) const noexcept;
    };
    using File = std::unique_ptr<std::FILE, Close>;

    std::string json_path_;
    std::string csv_path_;
    File json_;
    File csv_;
};

}  // namespace penstock::bench
