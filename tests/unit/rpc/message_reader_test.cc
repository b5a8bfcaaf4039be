#include "rpc/message_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock::control {
namespace {

constexpr std::size_t kMost = 300;

std::string framed(const std::string& message) {
    std::string out;
    const std::size_t begin = begin_message(out);
    out += message;
    end_message(out, begin);
    return out;
}

/// All messages that come of `portions`.
std::vector<std::string> read(const std::vector<std::string>& portions) {
    MessageReader reader(kMost);
    std::vector<std::string> messages;
    for (const std::string& portion : portions) {
        reader.add(portion);
        std::string_view message;
        while (reader.next(message) == MessageReader::Found::message) {
            messages.emplace_back(message);
        }
        reader.keep_rest();
    }
    return messages;
}

MessageReader::Found first_of(const std::string& bytes) {
    MessageReader reader(kMost);
    std::string_view message;
    reader.add(bytes);
    return reader.next(message);
}

TEST(MessageReader, HasALengthOfFourBytesInNetworkOrderAfterTheFlag) {
    EXPECT_EQ(framed("abc"), std::string("\0\0\0\0\3abc", 8));
    EXPECT_EQ(framed(std::string(0x1'02'03, 'x')).substr(0, 5), std::string("\0\0\1\2\3", 5));
}

TEST(MessageReader, FindsMessagesHoweverTheirBytesAreCut) {
    const std::vector<std::string> messages{"one", "", std::string(kMost, 'x'), "four"};
    std::string all;
    for (const std::string& message : messages) {
        all += framed(message);
    }
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        EXPECT_EQ(read({all.substr(0, cut), all.substr(cut)}), messages) << cut;
    }
    std::vector<std::string> bytes;
    for (const char byte : all) {
        bytes.emplace_back(1, byte);
    }
    EXPECT_EQ(read(bytes), messages);
}

TEST(MessageReader, KeepsWhatWasNotAskedFor) {
    MessageReader reader(kMost);
    std::string_view message;
    {
        const std::string bytes = framed("one") + framed("two") + framed("three").substr(0, 6);
        reader.add(bytes);
        ASSERT_EQ(reader.next(message), MessageReader::Found::message);
        reader.keep_rest();
    }
    ASSERT_EQ(reader.next(message), MessageReader::Found::message);
    EXPECT_EQ(message, "two");
    EXPECT_EQ(reader.next(message), MessageReader::Found::nothing);
    reader.keep_rest();
    const std::string rest = framed("three").substr(6);
    reader.add(rest);
    ASSERT_EQ(reader.next(message), MessageReader::Found::message);
    EXPECT_EQ(message, "three");
}

TEST(MessageReader, RefusesWhatIsTooLongBeforeItHasCome) {
    EXPECT_EQ(first_of(framed(std::string(kMost, 'x'))), MessageReader::Found::message);
    EXPECT_EQ(first_of(framed(std::string(kMost + 1, 'x')).substr(0, kMessagePrefixBytes)),
              MessageReader::Found::too_long);
    EXPECT_EQ(first_of(std::string("\0\xff\xff\xff\xff", 5)), MessageReader::Found::too_long);
}

TEST(MessageReader, RefusesWhatIsCompressed) {
    std::string bytes = framed("abc");
    bytes[0] = 1;
    EXPECT_EQ(first_of(bytes), MessageReader::Found::compressed);
}

}  // namespace
}  // namespace penstock::control
