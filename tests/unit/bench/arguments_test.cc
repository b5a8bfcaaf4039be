#include "penstock_bench/arguments.h"

#include "data_server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Arguments, ReadsNumbersWithCommasBetween) {
    EXPECT_THAT(parse_numbers("consumers", "1,64,1000", 1, 1'000).value(),
                ElementsAre(1, 64, 1'000));
}

TEST(Arguments, RefusesWhatIsNoListOfNumbersInRange) {
    for (const char* text :
         {"", ",", "1,", "1,,2", "x", "1 2", "-1", "0", "1001", "99999999999999999999"}) {
        const auto numbers = parse_numbers("consumers", text, 1, 1'000);
        ASSERT_FALSE(numbers.ok()) << text;
        EXPECT_THAT(numbers.error().message, HasSubstr("--consumers")) << text;
    }
}

TEST(Arguments, GivesEveryWorkerACpuOfItsOwn) {
    const std::size_t count = usable_cpus().size();
    const auto cpus = choose_worker_cpus("", count);
    ASSERT_TRUE(cpus.ok());
    EXPECT_EQ(std::set<unsigned>(cpus->begin(), cpus->end()), usable_cpus());
    EXPECT_EQ(cpus->back(), *usable_cpus().begin()) << "where everything else runs comes last";
}

TEST(Arguments, RefusesMoreWorkersThanCpus) {
    const auto cpus = choose_worker_cpus("", usable_cpus().size() + 1);
    ASSERT_FALSE(cpus.ok());
    EXPECT_THAT(cpus.error().message, HasSubstr("--workers"));
}

TEST(Arguments, RefusesACpuThatIsNamedTwiceOrNotThere) {
    const std::string first = std::to_string(*usable_cpus().begin());
    EXPECT_THAT(choose_worker_cpus(first + "," + first, 1).error().message,
                HasSubstr("named twice"));
    EXPECT_THAT(choose_worker_cpus("1023", 1).error().message, HasSubstr("not one"));
}

}  // namespace
}  // namespace penstock::bench
