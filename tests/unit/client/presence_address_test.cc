#include "client/presence_client.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

std::string trouble_with(std::vector<std::string> addresses, bool insecure = false) {
    const auto checked = check_presence({std::move(addresses), {}, insecure});
    return checked ? "" : checked.error().message;
}

TEST(PresenceAddressTest, TakesLoopbackInEveryForm) {
    EXPECT_EQ(trouble_with({"127.0.0.1:7400", "localhost:1", "[::1]:65535", "127.9.9.9:80"}), "");
}

TEST(PresenceAddressTest, TakesOthersOnlyWhenPlaintextIsWanted) {
    for (const char* address : {"10.0.0.1:7400", "presence.example:7400", "[2001:db8::1]:7400"}) {
        EXPECT_NE(trouble_with({"127.0.0.1:7400", address}).find("--insecure"), std::string::npos);
        EXPECT_EQ(trouble_with({address}, true), "");
    }
}

TEST(PresenceAddressTest, IsGoneToByTlsOnlyWithFilesThatAreGood) {
    const auto checked = check_presence({{"10.0.0.1:7400"}, {"/nonexistent", "", ""}, false});
    ASSERT_FALSE(checked.ok());
    EXPECT_EQ(checked.error().message, "--tls-ca /nonexistent: No such file or directory");
}

TEST(PresenceAddressTest, RefusesWhatIsNotHostAndPort) {
    EXPECT_NE(trouble_with({}).find("--presence"), std::string::npos);
    for (const char* address : {"",
                                "127.0.0.1",
                                ":7400",
                                "127.0.0.1:",
                                "127.0.0.1:0",
                                "127.0.0.1:65536",
                                "127.0.0.1:x",
                                "127.0.0.1:1x",
                                "::1:7400"}) {
        EXPECT_NE(trouble_with({address}, true).find("HOST:PORT"), std::string::npos) << address;
    }
}

TEST(ReconnectPauseTest, DoublesFromATenthOfASecondToTwoAndVaries) {
    const std::uint64_t high = std::numeric_limits<std::uint64_t>::max();
    const std::vector<std::chrono::milliseconds> wholes{
        100ms, 200ms, 400ms, 800ms, 1600ms, 2000ms, 2000ms};
    for (unsigned attempt = 1; attempt <= wholes.size(); ++attempt) {
        const auto whole = wholes[attempt - 1];
        EXPECT_EQ(reconnect_pause(attempt, 0), whole);
        for (const std::uint64_t random : {std::uint64_t{1}, std::uint64_t{12345}, high}) {
            EXPECT_LE(reconnect_pause(attempt, random), whole);
            EXPECT_GE(reconnect_pause(attempt, random), whole / 2);
        }
    }
    EXPECT_EQ(reconnect_pause(1'000'000, 0), 2000ms);
    EXPECT_NE(reconnect_pause(5, 17), reconnect_pause(5, 500));
}

TEST(ReconnectPauseTest, StaysShortWhileSomebodyAnswers) {
    EXPECT_EQ(next_attempt(7, true, false), 1U);
    unsigned attempt = 1;
    for (int times = 0; times < 20; ++times) {
        // Of three addresses one is dead, which may be named by another.
        attempt = next_attempt(attempt, false, times % 3 != 0);
        EXPECT_LE(reconnect_pause(attempt, 0), 800ms);
    }
    for (int times = 0; times < 20; ++times) {
        attempt = next_attempt(attempt, false, false);
    }
    EXPECT_EQ(reconnect_pause(attempt, 0), 2000ms);
}

TEST(VersionGateTest, LetsEachDesiredStateThroughOnce) {
    VersionGate gate;
    EXPECT_TRUE(gate.admit(5, 1));
    EXPECT_FALSE(gate.admit(5, 1));
    EXPECT_TRUE(gate.admit(5, 3));
    EXPECT_FALSE(gate.admit(5, 2));
    EXPECT_TRUE(gate.admit(6, 1)) << "a new epoch counts anew";
    EXPECT_FALSE(gate.admit(5, 9)) << "an old leader";
}

}  // namespace
}  // namespace penstock
