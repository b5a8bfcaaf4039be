#include "base/log.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock {
namespace {

TEST(Log, WritesOneLineWhateverTheMessageHolds) {
    testing::internal::CaptureStderr();
    log_warning("peer said \"x\n\x1b[2J\xc3\xa9\"");
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "warning: peer said \"x\\x0a\\x1b[2J\\xc3\\xa9\"\n");
}

TEST(Log, CutsALongMessage) {
    testing::internal::CaptureStderr();
    log_error(std::string(5000, 'x'));
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "error: " + std::string(kLogLineBytesMax, 'x') + '\n');
}

TEST(Log, ShowsTextUncut) {
    EXPECT_EQ(printable(std::string(5000, '\t')).size(), 4 * 5000U);
    EXPECT_EQ(printable("plain ~text"), "plain ~text");
    EXPECT_EQ(printable("\x7f"), "\\x7f");
}

}  // namespace
}  // namespace penstock
