#include "penstock_bench/arguments.h"

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

TEST(Arguments, ReadsAShareWithItsSign) {
    EXPECT_DOUBLE_EQ(parse_share("loss", "0.5%", 0, 0.5).value(), 0.005);
    EXPECT_DOUBLE_EQ(parse_share("loss", "0", 0, 0.5).value(), 0);
    EXPECT_DOUBLE_EQ(parse_share("loss", "50%", 0, 0.5).value(), 0.5);
}

TEST(Arguments, RefusesWhatIsNoShareInRange) {
    for (const char* text : {"", "%", "0.5", "51%", "-1%", "nan%", "1%%", "1 %"}) {
        const auto share = parse_share("loss", text, 0, 0.5);
        ASSERT_FALSE(share.ok()) << text;
        EXPECT_THAT(share.error().message, HasSubstr("--loss")) << text;
    }
}

}  // namespace
}  // namespace penstock::bench
