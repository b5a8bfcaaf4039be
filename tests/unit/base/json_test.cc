#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace penstock {
namespace {

std::string string_of(std::string_view text) { return JsonWriter().value(text).text(); }

TEST(JsonWriter, WritesNestedContentOnOneLine) {
    JsonWriter json;
    json.begin_object()
        .member("ok", true)
        .member("driver", "net_af_xdp")
        .key("steps")
        .begin_array()
        .begin_object()
        .member("name", std::string("assign"))
        .member("ms", 1.5)
        .end_object()
        .begin_object()
        .end_object()
        .value(7)
        .null()
        .end_array()
        .key("consumers")
        .begin_array()
        .end_array()
        .member("lost", std::uint64_t{0})
        .end_object();
    EXPECT_EQ(json.text(),
              R"({"ok":true,"driver":"net_af_xdp","steps":[{"name":"assign","ms":1.5},{},7,null],)"
              R"("consumers":[],"lost":0})");
}

TEST(JsonWriter, WritesIntegersExactlyAtTheirEnds) {
    JsonWriter json;
    json.begin_array()
        .value(std::numeric_limits<std::uint64_t>::max())
        .value(std::numeric_limits<std::int64_t>::min())
        .value(std::uint8_t{200})
        .value(std::int16_t{-3})
        .value(false)
        .end_array();
    EXPECT_EQ(json.text(), "[18446744073709551615,-9223372036854775808,200,-3,false]");
}

TEST(JsonWriter, WritesRealsShortlyAndNothingThatIsNotANumber) {
    JsonWriter json;
    json.begin_array()
        .value(0.1)
        .value(1.0 / 3)
        .value(2.0)
        .value(1e300)
        .value(std::nan(""))
        .value(std::numeric_limits<double>::infinity())
        .end_array();
    EXPECT_EQ(json.text(), "[0.1,0.333333333,2,1e+300,null,null]");
}

TEST(JsonWriter, EscapesWhatAStringMayNotHold) {
    EXPECT_EQ(string_of("a\"b\\c/d"), R"("a\"b\\c/d")");
    EXPECT_EQ(string_of("\b\f\n\r\t"), R"("\b\f\n\r\t")");
    EXPECT_EQ(string_of(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
}

TEST(JsonWriter, EscapesKeys) {
    EXPECT_EQ(JsonWriter().begin_object().member("a\"\n", 1).end_object().text(), R"({"a\"\n":1})");
}

TEST(JsonWriter, KeepsUtf8AndReplacesWhatIsNot) {
    struct Case {
        std::string_view sentence;
        std::string_view text;
        std::string_view written;
    };
    constexpr Case kCases[] = {
        {"two bytes", "\xc3\xa9", "\xc3\xa9"},
        {"three bytes", "\xe2\x82\xac", "\xe2\x82\xac"},
        {"four bytes", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"largest code point", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"stray continuation", "a\x80z", "a\xef\xbf\xbdz"},
        {"cut short at the end", "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"cut short in the middle", "\xc3z", "\xef\xbf\xbdz"},
        {"overlong slash", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"overlong in three bytes", "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"never a first byte", "\xff", "\xef\xbf\xbd"},
        {"a quote behind half a sequence is still escaped", "\xe2\"", "\xef\xbf\xbd\\\""},
    };
    for (const Case& c : kCases) {
        EXPECT_EQ(string_of(c.text), '"' + std::string(c.written) + '"') << c.sentence;
    }
}

TEST(JsonWriter, AbortsWhenCallsDoNotNest) {
    EXPECT_DEATH(JsonWriter().key("a"), "check failed");
    EXPECT_DEATH(JsonWriter().begin_array().key("a"), "check failed");
    EXPECT_DEATH(JsonWriter().begin_object().value(1), "check failed");
    EXPECT_DEATH(JsonWriter().begin_object().key("a").key("b"), "check failed");
    EXPECT_DEATH(JsonWriter().begin_object().key("a").end_object(), "check failed");
    EXPECT_DEATH(JsonWriter().begin_object().end_array(), "check failed");
    EXPECT_DEATH(JsonWriter().end_object(), "check failed");
    EXPECT_DEATH(JsonWriter().value(1).value(2), "check failed");
    EXPECT_DEATH((void)JsonWriter().begin_array().text(), "check failed");
    EXPECT_DEATH((void)JsonWriter().text(), "check failed");
}

}  // namespace
}  // namespace penstock
