#include "presence/events.h"

#include <gtest/gtest.h>

namespace penstock::presence {
namespace {

LoggedEvent event_of(const std::string& stream) {
    LoggedEvent event;
    event.kind = EventKind::assigned;
    event.stream = stream;
    return event;
}

TEST(EventLog, NumbersEventsFromOneWithoutGaps) {
    EventLog log;
    log.append(event_of("a"));
    log.append(event_of("b"));
    const auto events = log.after(0, "", 10);
    ASSERT_EQ(events.size(), 2);
    EXPECT_EQ(events[0].sequence, 1);
    EXPECT_EQ(events[1].sequence, 2);
    EXPECT_EQ(log.newest(), 2);
}

TEST(EventLog, GivesWhatCameAfterASequenceOfOneStream) {
    EventLog log;
    for (const char* stream : {"a", "b", "a", "b", "a"}) {
        log.append(event_of(stream));
    }
    const auto events = log.after(1, "a", 10);
    ASSERT_EQ(events.size(), 2);
    EXPECT_EQ(events[0].sequence, 3);
    EXPECT_EQ(events[1].sequence, 5);
    EXPECT_EQ(log.after(0, "", 2).size(), 2) << "at most as many as asked for";
    EXPECT_TRUE(log.after(5, "", 10).empty());
    EXPECT_TRUE(log.after(99, "", 10).empty());
}

TEST(EventLog, ForgetsTheOldestBeyondItsBound) {
    EventLog log;
    for (std::size_t i = 0; i < EventLog::kEventsMax + 5; ++i) {
        log.append(event_of("a"));
    }
    const auto events = log.after(0, "", EventLog::kEventsMax * 2);
    ASSERT_EQ(events.size(), EventLog::kEventsMax);
    EXPECT_EQ(events.front().sequence, 6);
}

TEST(EventLog, GivesANewEventNothingOfTheOldestThatItReplaces) {
    EventLog log;
    for (std::size_t i = 0; i < EventLog::kEventsMax; ++i) {
        LoggedEvent event = event_of("a stream with a long name");
        event.detail = "a detail that is long, too";
        event.data_server = "rack1-data-server-1";
        event.publisher = PeerId{1};
        event.consumer = PeerId{2};
        log.append(event);
    }
    const LoggedEvent& made = log.append();
    EXPECT_EQ(made.sequence, EventLog::kEventsMax + 1);
    EXPECT_EQ(made.stream + made.detail + made.data_server, "");
    EXPECT_FALSE(made.publisher || made.consumer);
    EXPECT_EQ(log.after(0, "", EventLog::kEventsMax * 2).size(), EventLog::kEventsMax);
}

TEST(EventLog, KindsAreWords) {
    EXPECT_EQ(to_string(EventKind::server_attached), "server_attached");
    EXPECT_EQ(to_string(EventKind::publisher_gone), "publisher_gone");
}

}  // namespace
}  // namespace penstock::presence
