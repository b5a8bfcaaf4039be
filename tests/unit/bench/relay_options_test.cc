#include "penstock_bench/relay_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr TrialPlan kDefaults{
    .trials = 5, .trial_time = milliseconds{300}, .warm_up = milliseconds{200}};

Result<void> parse(RelayOptions& relay, std::vector<const char*> words) {
    Options options("test", "");
    relay.add_to(options);
    words.insert(words.begin(), "test");
    if (auto parsed = options.parse(static_cast<int>(words.size()), words.data()); !parsed) {
        return parsed.error();
    }
    return relay.check(1);
}

TEST(RelayOptions, KeepWhatASubCommandWants) {
    RelayOptions relay(kDefaults);
    ASSERT_TRUE(parse(relay, {}).ok());
    EXPECT_EQ(relay.trials().trials, 5U);
    EXPECT_EQ(relay.trials().trial_time, milliseconds{300});
    EXPECT_EQ(relay.rig(1, true).worker_cpus.size(), 1U);
    EXPECT_FALSE(relay.rig(1, true).copy_threshold_bytes.has_value());
}

TEST(RelayOptions, AreCappedByQuick) {
    RelayOptions relay(kDefaults);
    ASSERT_TRUE(parse(relay, {"--quick", "--trials", "2"}).ok());
    EXPECT_EQ(relay.trials().trials, 2U);
    EXPECT_EQ(relay.trials().trial_time, milliseconds{100});
    EXPECT_EQ(relay.trials().warm_up, milliseconds{50});
}

TEST(RelayOptions, ReachTheRig) {
    RelayOptions relay(kDefaults);
    ASSERT_TRUE(parse(relay, {"--memory", "64MiB", "--no-huge", "--copy-threshold", "512"}).ok());
    const RigOptions rig = relay.rig(1, true);
    EXPECT_EQ(rig.memory_bytes, 64U << 20U);
    EXPECT_TRUE(rig.no_huge);
    EXPECT_EQ(rig.copy_threshold_bytes, 512);
    EXPECT_EQ(rig.ring_packets, 4096U);
    EXPECT_EQ(relay.rig(1, false).ring_packets, 0U) << "no history is a ring of none";
}

TEST(RelayOptions, RefuseAThresholdThatIsNone) {
    RelayOptions relay(kDefaults);
    const auto parsed = parse(relay, {"--copy-threshold", "small"});
    ASSERT_FALSE(parsed.ok());
    EXPECT_THAT(parsed.error().message, HasSubstr("--copy-threshold small"));
}

TEST(RelayOptions, HaveHistoryOnOffOrBoth) {
    EXPECT_THAT(parse_histories("on").value(), ElementsAre(true));
    EXPECT_THAT(parse_histories("off").value(), ElementsAre(false));
    EXPECT_THAT(parse_histories("on,off").value(), ElementsAre(true, false));
    EXPECT_THAT(parse_histories("off,on").value(), ElementsAre(false, true));
    EXPECT_FALSE(parse_histories("on,on").ok());
    EXPECT_FALSE(parse_histories("").ok());
}

TEST(RelayOptions, HavePatienceForEveryRepeatedTrial) {
    EXPECT_GT(patience_for(kDefaults), milliseconds{300} * 5 * (1 + kRepeatsPerTrial));
}

}  // namespace
}  // namespace penstock::bench
