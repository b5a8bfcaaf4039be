#pragma once

#include <penstock/result.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock {

/// The options of one program: each is a flag (`--ring-bytes 64MiB`), a key of an INI file named by
/// --config (`ring-bytes = 64MiB`, comments behind #) and an environment variable
/// (`PENSTOCK_RING_BYTES`); the flag wins over the variable, the variable over the file. Unknown
/// flags and keys are errors that name the nearest known one; so are unknown PENSTOCK_ variables
/// that are near to a known one.
/// --help, --version and --config are always there. An empty variable counts as unset. Thread:
/// main, at start.
class Options {
  public:
    /// `summary`: one line under the usage line of --help.
    Options(std::string program, std::string summary);
    ~Options();
    Options(const Options&) = delete;
    Options& operator=(const Options&) = delete;

    /// Each binds a variable, whose value at parse() is the default and is shown by --help.
    /// `name` is lower-case with dashes; `value` names the value in --help ("ADDRESS").
    void text(std::string name, std::string& target, std::string value, std::string help);
    /// May be given several times, each value whole, as flag and as key; in a variable, separated
    /// by spaces.
    void texts(std::string name,
               std::vector<std::string>& target,
               std::string value,
               std::string help);
    /// `--json`, or with a value as in a file: `--json=false`. A `name` like "json,j" also gives
    /// -j.
    void flag(std::string name, bool& target, std::string help);
    void number(std::string name,
                std::uint64_t& target,
                std::uint64_t least,
                std::uint64_t most,
                std::string help);
    void real(std::string name, double& target, double least, double most, std::string help);
    void duration(std::string name,
                  std::chrono::nanoseconds& target,
                  std::chrono::nanoseconds least,
                  std::chrono::nanoseconds most,
                  std::string help);
    void bytes(std::string name,
               std::uint64_t& target,
               std::uint64_t least,
               std::uint64_t most,
               std::string help);
    void bit_rate(std::string name, std::uint64_t& target, std::string help);
    /// One of several words; `target` gets its index in `words`.
    void choice(std::string name,
                std::size_t& target,
                std::vector<std::string> words,
                std::string help);
    /// A value without a flag, in the order declared; `required` ones must be given.
    void positional(std::string name, std::string& target, std::string help, bool required = true);
    /// Everything after the declared positional ones.
    void rest(std::string name, std::vector<std::string>& target, std::string help);

    enum class Outcome { run, exit };
    /// Reads argv (argv[0] skipped), the environment and --config; once. Every source is judged,
    /// also where another one wins. Outcome::exit after --help or
    /// --version, whose text has been printed on standard output.
    /// Errors: invalid_argument, one line naming the option, the range, and a suggestion.
    Result<Outcome> parse(int argc, const char* const* argv);

    /// The values in force after parse() as INI text, one `name = value` a line; what `--config`
    /// would read. A value that no such line can hold (with # or a line break) is shown in a
    /// comment.
    [[nodiscard]] std::string effective() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Prints `PROGRAM: message` on standard error and returns 1, for `return fail(...)` in main().
int fail(std::string_view program, const Error& error);

}  // namespace penstock
