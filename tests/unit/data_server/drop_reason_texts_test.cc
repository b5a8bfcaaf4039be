#include "data_server/drop_reason_texts.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <set>
#include <string_view>

namespace penstock {
namespace {

TEST(DropReasons, EachHasANameOfItsOwnAndASentence) {
    std::set<std::string_view> names;
    for (const DropReasonText& text : kDropReasonTexts) {
        EXPECT_TRUE(names.insert(text.name).second) << text.name;
        EXPECT_GT(text.sentence.size(), 15U) << text.name;
    }
    EXPECT_EQ(kDropReasonTexts[static_cast<std::size_t>(DropReason::port_unknown)].name,
              "port_unknown");
}

}  // namespace
}  // namespace penstock
