#include "penstock_bench/cpus.h"

#include "data_server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

using testing::HasSubstr;

TEST(Cpus, LeavesTheGeneratorACpu) {
    EXPECT_EQ(choose_generator_cpu({}).value(), *usable_cpus().begin());
    const std::set<unsigned> all = usable_cpus();
    EXPECT_FALSE(choose_generator_cpu({all.begin(), all.end()}).ok());
}

TEST(Cpus, GivesEveryWorkerACpuOfItsOwn) {
    const std::size_t count = usable_cpus().size();
    const auto cpus = choose_worker_cpus("", count);
    ASSERT_TRUE(cpus.ok());
    EXPECT_EQ(std::set<unsigned>(cpus->begin(), cpus->end()), usable_cpus());
    EXPECT_EQ(cpus->back(), *usable_cpus().begin()) << "where everything else runs comes last";
}

TEST(Cpus, RefusesMoreWorkersThanCpus) {
    const auto cpus = choose_worker_cpus("", usable_cpus().size() + 1);
    ASSERT_FALSE(cpus.ok());
    EXPECT_THAT(cpus.error().message, HasSubstr("--workers"));
}

TEST(Cpus, RefusesACpuThatIsNamedTwiceOrNotThere) {
    const std::string first = std::to_string(*usable_cpus().begin());
    EXPECT_THAT(choose_worker_cpus(first + "," + first, 1).error().message,
                HasSubstr("named twice"));
    EXPECT_THAT(choose_worker_cpus("1023", 1).error().message, HasSubstr("not one"));
}

}  // namespace
}  // namespace penstock::bench
