#include "penstock_bench/environment.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

TEST(Environment, FindsTheCpuModel) {
    EXPECT_EQ(cpu_model_in("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: x\n"), "AMD EPYC");
    EXPECT_EQ(cpu_model_in("processor\t: 0\n"), "unknown");
}

TEST(Environment, KnowsNoNicBehindAVirtualPort) { EXPECT_EQ(nic_of("net_null0"), ""); }

TEST(Environment, NamesANicByItsAddress) {
    EXPECT_EQ(nic_of("ffff:ff:1f.7"), "ffff:ff:1f.7 (?:?)");
}

TEST(Environment, SaysThatAGovernorCannotBeRead) {
    EXPECT_EQ(governor_of({1'000'000}), "not readable");
}

TEST(Environment, SaysWhatEveryReportMustSay) {
    const Environment environment = environment_of({0});
    EXPECT_NE(environment.machine, "");
    EXPECT_NE(environment.cpu, "");
    EXPECT_GT(environment.cpus, 0U);
    EXPECT_NE(environment.kernel.find("Linux"), std::string::npos);
    EXPECT_NE(environment.dpdk.find("DPDK"), std::string::npos);
    EXPECT_NE(environment.commit, "");
}

}  // namespace
}  // namespace penstock::bench
