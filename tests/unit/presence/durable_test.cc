#include "presence/durable.h"

#include "rpc/operator_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace penstock::presence {
namespace {

using testing::HasSubstr;

Durable some_facts() {
    Durable durable;
    durable.epoch = 1'700'000'017;
    durable.master_key.bytes.fill(0xa5);
    durable.servers = {"ds1", "rack 2: ds/2"};
    durable.duties = {{"ds1", {Duty::Kind::draining, std::chrono::minutes(5)}},
                      {"ds2", {Duty::Kind::draining, control::kDeadlineMax}},
                      {"ds3", {}}};
    return durable;
}

std::string error_of(const Facts& facts) {
    const auto durable = from_facts(facts);
    return durable ? "" : durable.error().message;
}

TEST(Durable, ComesBackFromFactsAndText) {
    for (const Durable& durable : {Durable{}, some_facts()}) {
        const auto facts = facts_of(to_text(to_facts(durable)));
        ASSERT_TRUE(facts.ok());
        const auto again = from_facts(*facts);
        ASSERT_TRUE(again.ok());
        EXPECT_EQ(*again, durable);
    }
}

TEST(Durable, RefusesFactsOfWhichOneIsMissingOrWasChanged) {
    const Facts good = to_facts(some_facts());
    for (const auto& [name, value] : good) {
        Facts missing = good;
        missing.erase(name);
        EXPECT_NE(error_of(missing), "") << name;
        Facts changed = good;
        changed[name] += "1";
        EXPECT_THAT(error_of(changed), HasSubstr("checksum")) << name;
    }
}

TEST(Durable, RefusesAFactItDoesNotUnderstand) {
    Durable durable = some_facts();
    durable.epoch = control::kEpochMax + 1;
    EXPECT_THAT(error_of(to_facts(durable)), HasSubstr("fact epoch"));
    durable = some_facts();
    durable.duties["ds1"].deadline = control::kDeadlineMax + std::chrono::milliseconds(1);
    EXPECT_THAT(error_of(to_facts(durable)), HasSubstr("fact duty/ds1"));
}

TEST(Durable, RefusesTextThatIsNotWhole) {
    const std::string text = to_text(to_facts(some_facts()));
    for (std::size_t length = 0; length < text.size(); ++length) {
        const auto facts = facts_of(text.substr(0, length));
        EXPECT_TRUE(!facts || !from_facts(*facts)) << length;
    }
}

TEST(Durable, RaisesTheEpochWithEveryLeader) {
    Durable durable;
    EXPECT_EQ(next_epoch(durable, 0).value(), 1);
    durable.epoch = 41;
    EXPECT_EQ(next_epoch(durable, 0).value(), 42);
    EXPECT_EQ(next_epoch(durable, 100).value(), 100);
    durable.epoch = control::kEpochMax;
    EXPECT_EQ(next_epoch(durable, 0).error().code, ErrorCode::exhausted);
    EXPECT_THAT(next_epoch(durable, 0).error().message, HasSubstr("delete it to begin anew"));
}

}  // namespace
}  // namespace penstock::presence
