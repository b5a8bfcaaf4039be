#include "base/options.h"

#include "base/option_entry.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace penstock {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

/// An environment variable for the life of this object.
class Variable {
  public:
    Variable(std::string name, const std::string& value) : name_(std::move(name)) {
        ::setenv(name_.c_str(), value.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): one thread
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;
    ~Variable() { ::unsetenv(name_.c_str()); }  // NOLINT(concurrency-mt-unsafe): one thread

  private:
    std::string name_;
};

/// A file with this text for the life of this object.
class File {
  public:
    explicit File(const std::string& text)
        : path(fmt::format("{}options_test_{}.conf", testing::TempDir(), ::getpid())) {
        std::ofstream(path) << text;
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() { ::unlink(path.c_str()); }

    const std::string path;
};

/// One option of every kind, with its defaults.
struct Program {
    std::string bind_address = "0.0.0.0";
    std::vector<std::string> presence{"127.0.0.1:7400"};
    bool insecure = false;
    bool json = false;
    std::uint64_t workers = 1;
    double limit = 0.8;
    nanoseconds lease = 15s;
    nanoseconds wait{0};
    std::uint64_t ring_bytes = 64U << 20U;
    std::uint64_t rate = 0;
    std::size_t poll = 0;
    std::string stream;
    std::vector<std::string> command;
    Options options{"penstock-test", "Tries every kind of option."};

    Program() {
        options.text("bind-address", bind_address, "ADDRESS", "local address");
        options.texts("presence", presence, "HOST:PORT", "presence servers, tried in turn");
        options.flag("insecure", insecure, "plaintext beyond loopback");
        options.flag("json,j", json, "print JSON");
        options.number("workers", workers, 1, 64, "polling threads");
        options.real("utilisation-limit", limit, 0, 1, "no more streams above this");
        options.duration("lease", lease, 500ms, 1min, "silence that ends a flow");
        options.duration("wait", wait, 0ns, nanoseconds::max(), "patience with an absent stream");
        options.bytes("ring-bytes",
                      ring_bytes,
                      1U << 20U,
                      std::numeric_limits<std::uint64_t>::max(),
                      "content kept of each stream");
        options.bit_rate("rate", rate, "largest rate");
        options.choice("poll", poll, {"adaptive", "busy"}, "how an idle worker waits");
        options.positional("stream", stream, "name of the stream", false);
        options.rest("command", command, "what to run");
    }

    Result<Options::Outcome> parse(std::vector<const char*> arguments) {
        arguments.insert(arguments.begin(), "penstock-test");
        return options.parse(static_cast<int>(arguments.size()), arguments.data());
    }
    Result<Options::Outcome> parse_file(const std::string& text) {
        const File file(text);
        return parse({"--config", file.path.c_str()});
    }
};

/// The message parse() fails with, or "" if it does not.
std::string error_of(const Result<Options::Outcome>& outcome) {
    return outcome ? std::string() : outcome.error().message;
}

std::string flag_error(std::vector<const char*> arguments) {
    return error_of(Program().parse(std::move(arguments)));
}

/// The same for a file, without the file's name in front.
std::string file_error(const std::string& text) {
    const File file(text);
    const std::string error = error_of(Program().parse({"--config", file.path.c_str()}));
    return error.starts_with(file.path + ": ") ? error.substr(file.path.size() + 2) : error;
}

TEST(Options, KeepDefaultsWhenNothingIsGiven) {
    Program program;
    ASSERT_EQ(error_of(program.parse({})), "");
    EXPECT_EQ(program.bind_address, "0.0.0.0");
    EXPECT_EQ(program.presence, std::vector<std::string>{"127.0.0.1:7400"});
    EXPECT_EQ(program.lease, 15s);
    EXPECT_EQ(program.stream, "");
}

void expect_all_given(const Program& program) {
    EXPECT_EQ(program.bind_address, "10.0.0.1");
    EXPECT_EQ(program.presence, (std::vector<std::string>{"a:1", "b:2"}));
    EXPECT_TRUE(program.insecure);
    EXPECT_TRUE(program.json);
    EXPECT_EQ(program.workers, 2U);
    EXPECT_EQ(program.limit, 0.5);
    EXPECT_EQ(program.lease, 1500ms);
    EXPECT_EQ(program.wait, 2s);
    EXPECT_EQ(program.ring_bytes, 1U << 30U);
    EXPECT_EQ(program.rate, 20'000'000U);
    EXPECT_EQ(program.poll, 1U);
}

TEST(Options, AreReadFromFlags) {
    Program program;
    ASSERT_EQ(error_of(program.parse({"--bind-address",
                                      "10.0.0.1",
                                      "--presence",
                                      "a:1",
                                      "--presence=b:2",
                                      "--insecure",
                                      "-j",
                                      "--workers=2",
                                      "--lease",
                                      "1.5s",
                                      "--wait",
                                      "2s",
                                      "--ring-bytes",
                                      "1GiB",
                                      "--rate",
                                      "20Mbit",
                                      "--poll",
                                      "busy",
                                      "--utilisation-limit",
                                      "0.5"})),
              "");
    expect_all_given(program);
}

TEST(Options, AreReadFromVariables) {
    const Variable variables[] = {{"PENSTOCK_BIND_ADDRESS", "10.0.0.1"},
                                  {"PENSTOCK_PRESENCE", " a:1  b:2 "},
                                  {"PENSTOCK_INSECURE", "1"},
                                  {"PENSTOCK_JSON", "yes"},
                                  {"PENSTOCK_WORKERS", "2"},
                                  {"PENSTOCK_UTILISATION_LIMIT", "0.5"},
                                  {"PENSTOCK_LEASE", "1.5s"},
                                  {"PENSTOCK_WAIT", "2s"},
                                  {"PENSTOCK_RING_BYTES", "1GiB"},
                                  {"PENSTOCK_RATE", "20Mbit"},
                                  {"PENSTOCK_POLL", "busy"}};
    Program program;
    ASSERT_EQ(error_of(program.parse({})), "");
    expect_all_given(program);
}

constexpr const char* kWholeFile =
    "# every kind of option\n"
    "bind-address = 10.0.0.1\n"
    "\n"
    "presence = a:1\n"
    "presence=b:2   # the second one\n"
    "insecure = true\n"
    "json = on\n"
    "workers = 2\n"
    "utilisation-limit = 0.5\n"
    "lease = 1.5s\n"
    "  wait = 2s\n"
    "ring-bytes = 1GiB\n"
    "rate = 20Mbit\n"
    "poll = busy\n";

TEST(Options, AreReadFromAFile) {
    Program program;
    ASSERT_EQ(error_of(program.parse_file(kWholeFile)), "");
    expect_all_given(program);
}

TEST(Options, TakeTheFileFromAVariableToo) {
    const File file("workers = 7\n");
    const Variable config("PENSTOCK_CONFIG", file.path);
    Program program;
    ASSERT_EQ(error_of(program.parse({})), "");
    EXPECT_EQ(program.workers, 7U);
}

TEST(Options, PreferFlagToVariableToFile) {
    const Variable workers("PENSTOCK_WORKERS", "3");
    const Variable presence("PENSTOCK_PRESENCE", "c:3");
    const Variable rate("PENSTOCK_RATE", "");  // empty: as if unset
    const File file("workers = 2\npresence = a:1\npresence = b:2\nlease = 2s\nrate = 1Gbit\n");
    Program program;
    ASSERT_EQ(error_of(program.parse({"--config", file.path.c_str(), "--workers", "4"})), "");
    EXPECT_EQ(program.workers, 4U);
    EXPECT_EQ(program.presence, std::vector<std::string>{"c:3"});
    EXPECT_EQ(program.lease, 2s);
    EXPECT_EQ(program.rate, 1'000'000'000U);
    EXPECT_EQ(program.poll, 0U);
}

TEST(Options, AreJudgedEvenWhereAnotherSourceWins) {
    const Variable workers("PENSTOCK_WORKERS", "0");
    EXPECT_EQ(flag_error({"--workers", "2"}),
              "PENSTOCK_WORKERS=0: wants a whole number, 1 to 64, for example PENSTOCK_WORKERS=1");
}

TEST(Options, TakeAWholeTextFromFlagAndFile) {
    Program program;
    ASSERT_EQ(error_of(program.parse({"--presence", "a b", "--bind-address", ""})), "");
    EXPECT_EQ(program.presence, std::vector<std::string>{"a b"});
    EXPECT_EQ(program.bind_address, "");
    Program other;
    ASSERT_EQ(error_of(other.parse_file("presence = a b\nbind-address =\n")), "");
    EXPECT_EQ(other.presence, std::vector<std::string>{"a b"});
    EXPECT_EQ(other.bind_address, "");
}

TEST(Options, TakeFlagsWithAValueButNeverTheNextArgument) {
    Program program;
    ASSERT_EQ(error_of(program.parse({"--insecure=no", "-j", "news"})), "");
    EXPECT_FALSE(program.insecure);
    EXPECT_TRUE(program.json);
    EXPECT_EQ(program.stream, "news");
}

TEST(Options, TakePositionalsInOrderAndTheRestBehindThem) {
    Program program;
    ASSERT_EQ(error_of(program.parse({"-", "--lease", "2s", "--", "ffmpeg", "-i", "--lease"})), "");
    EXPECT_EQ(program.stream, "-");
    EXPECT_EQ(program.command, (std::vector<std::string>{"ffmpeg", "-i", "--lease"}));
}

TEST(Options, MissAndRefusePositionals) {
    const auto parse = [](std::vector<const char*> arguments) {
        Options options("penstock-test", "Has one argument.");
        std::string stream;
        options.positional("stream-name", stream, "what to send");
        return error_of(options.parse(static_cast<int>(arguments.size()), arguments.data()));
    };
    EXPECT_EQ(parse({"p"}), "STREAM_NAME is missing: what to send; see --help");
    EXPECT_EQ(parse({"p", "a"}), "");
    EXPECT_EQ(parse({"p", "a", "b\n"}), "'b\\x0a' is one argument too many; see --help");
}

TEST(Options, RefuseAFlagTheyDoNotKnowAndNameTheNearest) {
    EXPECT_EQ(flag_error({"--ring-byte", "1GiB"}),
              "--ring-byte is not an option; did you mean --ring-bytes?");
    EXPECT_EQ(flag_error({"--laese=2s"}), "--laese is not an option; did you mean --lease?");
    EXPECT_EQ(flag_error({"--wombat"}), "--wombat is not an option; see --help");
    EXPECT_EQ(flag_error({"--hlep"}), "--hlep is not an option; did you mean --help?");
    EXPECT_EQ(flag_error({"-q"}), "-q is not an option; see --help");
    // No abbreviations: a new option could change what they mean.
    EXPECT_EQ(flag_error({"--lea", "2s"}), "--lea is not an option; did you mean --lease?");
}

TEST(Options, RefuseAKeyTheyDoNotKnowAndNameTheNearest) {
    EXPECT_EQ(file_error("leese = 2s\n"), "leese: unknown key; did you mean lease?");
    EXPECT_EQ(file_error("wombat = 2s\n"), "wombat: unknown key; see --help");
    EXPECT_EQ(file_error("[all]\nwombat = 1\n"), "all.wombat: unknown key; see --help");
    EXPECT_EQ(file_error("config = x\n"), "config: unknown key; see --help");
    EXPECT_EQ(file_error("help = true\n"), "help: unknown key; see --help");
    EXPECT_EQ(file_error("lease 2s\n"), "'lease 2s' is not a line 'name = value'");
}

TEST(Options, RefuseAVariableThatIsNearToOneTheyKnow) {
    {
        const Variable near("PENSTOCK_LEAS", "2s");
        EXPECT_EQ(flag_error({}),
                  "PENSTOCK_LEAS is not a variable of this program; did you mean PENSTOCK_LEASE?");
    }
    {
        const Variable small("PENSTOCK_lease", "2s");
        EXPECT_EQ(flag_error({}),
                  "PENSTOCK_lease is not a variable of this program; did you mean PENSTOCK_LEASE?");
    }
    const Variable of_another_program("PENSTOCK_RECENT_PERIOD", "2s");
    const Variable of_no_concern("PENSTOC_LEASE", "2s");
    const Variable command_line_only("PENSTOCK_VERSION", "1");
    EXPECT_EQ(flag_error({}), "");
}

TEST(Options, SayWhatIsLegalWhereTheValueWasWritten) {
    struct Case {
        const char* name;
        const char* value;
        const char* wants;
        const char* example;
    };
    constexpr Case kCases[] = {
        {"lease", "2", "a duration with its unit, 500ms to 1m", "15s"},
        {"lease", "499ms", "a duration with its unit, 500ms to 1m", "15s"},
        {"lease", "61s", "a duration with its unit, 500ms to 1m", "15s"},
        {"wait", "soon", "a duration with its unit", "2s"},
        {"ring-bytes", "1023KiB", "a size with its unit, at least 1MiB", "64MiB"},
        {"rate", "20", "a bit rate with its unit", "20Mbit"},
        {"workers", "65", "a whole number, 1 to 64", "1"},
        {"workers", "-1", "a whole number, 1 to 64", "1"},
        {"workers", "2.0", "a whole number, 1 to 64", "1"},
        {"workers", "99999999999999999999", "a whole number, 1 to 64", "1"},
        {"utilisation-limit", "1.01", "a number, 0 to 1", "0.8"},
        {"utilisation-limit", "nan", "a number, 0 to 1", "0.8"},
        {"poll", "bsy", "adaptive or busy", "adaptive"},
    };
    for (const Case& c : kCases) {
        EXPECT_EQ(flag_error({fmt::format("--{}", c.name).c_str(), c.value}),
                  fmt::format("--{0} {1}: wants {2}, for example --{0} {3}",
                              c.name,
                              c.value,
                              c.wants,
                              c.example));
        EXPECT_EQ(file_error(fmt::format("{} = {}\n", c.name, c.value)),
                  fmt::format("{0} = {1}: wants {2}, for example {0} = {3}",
                              c.name,
                              c.value,
                              c.wants,
                              c.example));
        const std::string variable = variable_of(c.name);
        const Variable set(variable, c.value);
        EXPECT_EQ(
            flag_error({}),
            fmt::format(
                "{0}={1}: wants {2}, for example {0}={3}", variable, c.value, c.wants, c.example));
    }
    EXPECT_EQ(flag_error({"--insecure=maybe"}),
              "--insecure=maybe: wants true or false, for example --insecure=true");
}

TEST(Options, TakeTheEndsOfARange) {
    for (const char* lease : {"500ms", "1m"}) {
        EXPECT_EQ(flag_error({"--lease", lease}), "");
    }
    for (const char* workers : {"1", "64"}) {
        EXPECT_EQ(flag_error({"--workers", workers}), "");
    }
}

TEST(Options, RefuseAMissingOrSecondValue) {
    EXPECT_EQ(flag_error({"--lease"}),
              "--lease: wants a duration with its unit, 500ms to 1m, for example --lease 15s");
    EXPECT_EQ(flag_error({"--lease="}),
              "--lease: wants a duration with its unit, 500ms to 1m, for example --lease 15s");
    EXPECT_EQ(flag_error({"--bind-address", "--insecure"}),
              "--bind-address: wants a value, for example --bind-address ADDRESS");
    EXPECT_EQ(flag_error({"--bind-address=--insecure"}), "");
    EXPECT_EQ(flag_error({"--workers", "1", "--workers", "2"}),
              "--workers 2: given a second time; give it once");
    EXPECT_EQ(file_error("workers = 1\nworkers = 2\n"),
              "workers = 2: given a second time; give it once");
}

TEST(Options, RefuseAFileTheyCannotRead) {
    EXPECT_EQ(flag_error({"--config", "/nonexistent/x.conf"}),
              "--config /nonexistent/x.conf: cannot be read: No such file or directory; name a "
              "readable INI file");
    EXPECT_EQ(flag_error({"--config", "/"}),
              "--config /: cannot be read: Is a directory; name a readable INI file");
    EXPECT_NE(file_error(std::string((1U << 20U) + 1, '#')).find("is longer than 1MiB"),
              std::string::npos);
}

TEST(Options, ReadBackTheirEffectiveValues) {
    Program first;
    ASSERT_EQ(error_of(first.parse_file(kWholeFile)), "");
    const std::string effective = first.options.effective();
    Program second;
    ASSERT_EQ(error_of(second.parse_file(effective)), "");
    expect_all_given(second);
    EXPECT_EQ(second.options.effective(), effective);
    EXPECT_EQ(effective.find("config"), std::string::npos);
    EXPECT_EQ(effective.find("help"), std::string::npos);
}

TEST(Options, ReadBackAnEmptyTextAndExtremeValues) {
    Program first;
    ASSERT_EQ(error_of(first.parse({"--bind-address",
                                    "",
                                    "--utilisation-limit=0.1234567890123456",
                                    "--wait=9223372036854775807ns",
                                    "--rate=18446744073709551615bit"})),
              "");
    Program second;
    ASSERT_EQ(error_of(second.parse_file(first.options.effective())), "");
    EXPECT_EQ(second.bind_address, "");
    EXPECT_EQ(second.limit, 0.1234567890123456);
    EXPECT_EQ(second.wait, nanoseconds::max());
    EXPECT_EQ(second.rate, std::numeric_limits<std::uint64_t>::max());
}

TEST(Options, ShowWhatAFileCannotHoldAsAComment) {
    Program program;
    ASSERT_EQ(error_of(program.parse({"--bind-address", "a # b", "--presence", "x\ny"})), "");
    const std::string effective = program.options.effective();
    EXPECT_NE(effective.find("# not for a file: bind-address = a # b\n"), std::string::npos);
    EXPECT_NE(effective.find("# not for a file: presence = x\\x0ay\n"), std::string::npos);
    EXPECT_EQ(error_of(Program().parse_file(effective)), "");
}

/// What parse() prints on standard output, which must make it return Outcome::exit.
std::string printed_by(std::vector<const char*> arguments) {
    testing::internal::CaptureStdout();
    const auto outcome = Program().parse(std::move(arguments));
    std::string printed = testing::internal::GetCapturedStdout();
    EXPECT_TRUE(outcome.ok() && *outcome == Options::Outcome::exit);
    return printed;
}

TEST(Options, PrintTheirVersion) { EXPECT_EQ(printed_by({"--version"}), "penstock-test 0.1.0\n"); }

TEST(Options, PrintHelpWithinAHundredColumns) {
    const Variable wrong("PENSTOCK_WORKERS", "0");  // help must come all the same
    const std::string help = printed_by({"--help"});
    EXPECT_EQ(printed_by({"-h"}), help);
    EXPECT_TRUE(
        help.starts_with("Usage: penstock-test [OPTION]... [STREAM] [COMMAND]...\n"
                         "Tries every kind of option.\n"));
    for (const char* line :
         {"  STREAM                      name of the stream\n",
          "  --bind-address ADDRESS      local address (default 0.0.0.0)\n",
          "  --presence HOST:PORT        presence servers, tried in turn (default "
          "127.0.0.1:7400; may be\n                              repeated)\n",
          "  --insecure                  plaintext beyond loopback\n",
          "  -j, --json                  print JSON\n",
          "  --workers NUMBER            polling threads (1 to 64; default 1)\n",
          "  --lease DURATION            silence that ends a flow (500ms to 1m; default 15s)\n",
          "  --wait DURATION             patience with an absent stream (default 0s)\n",
          "  --ring-bytes SIZE           content kept of each stream (at least 1MiB; default "
          "64MiB)\n",
          "  --poll WORD                 how an idle worker waits (adaptive or busy; default "
          "adaptive)\n",
          "  --config FILE               INI file",
          "  -h, --help                  print this text\n"}) {
        EXPECT_NE(help.find(line), std::string::npos) << line << "is not in\n" << help;
    }
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(line.size(), 100U) << line;
    }
}

TEST(Options, FailInOneLineOnStandardError) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(fail("penstock-test", {ErrorCode::system, "no\nhugepages"}), 1);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "penstock-test: no\\x0ahugepages\n");
}

TEST(Options, AbortOnADeclarationThatCannotBeMeant) {
    EXPECT_DEATH(
        {
            Options options("p", "");
            bool target = false;
            options.flag("json", target, "");
            options.flag("json", target, "");
        },
        "check failed");
}

TEST(Options, MeasureEditDistance) {
    EXPECT_EQ(edit_distance("", ""), 0U);
    EXPECT_EQ(edit_distance("", "abc"), 3U);
    EXPECT_EQ(edit_distance("lease", "lease"), 0U);
    EXPECT_EQ(edit_distance("lease", "lese"), 1U);
    EXPECT_EQ(edit_distance("lese", "lease"), 1U);
    EXPECT_EQ(edit_distance("lease", "laese"), 1U);
    EXPECT_EQ(edit_distance("lease", "leaze"), 1U);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
    EXPECT_EQ(nearest("lese", std::vector<std::string>{"wait", "lease", "leses"}, 1), "lease");
    EXPECT_EQ(nearest("lese", std::vector<std::string>{"wait"}, 2), std::nullopt);
}

}  // namespace
}  // namespace penstock
