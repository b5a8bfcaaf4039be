#include "data_path/active_streams.h"

#include <gtest/gtest.h>

#include <array>

namespace penstock {
namespace {

TEST(ActiveStreams, ComeInOrderAndOnce) {
    std::array<Stream, 3> streams;
    ActiveStreams active;
    active.append(streams[0]);
    active.append(streams[1]);
    active.append(streams[0]);
    active.append(streams[2]);
    EXPECT_EQ(active.size(), 3U);
    EXPECT_EQ(&active.take_first(), &streams[0]);
    active.append(streams[0]);
    EXPECT_EQ(&active.take_first(), &streams[1]);
    EXPECT_EQ(&active.take_first(), &streams[2]);
    EXPECT_EQ(&active.take_first(), &streams[0]);
    EXPECT_EQ(active.size(), 0U);
    active.append(streams[1]);
    EXPECT_EQ(&active.take_first(), &streams[1]);
}

TEST(ActiveStreams, LoseOneAndKeepTheOrderOfTheOthers) {
    for (std::size_t gone = 0; gone < 3; ++gone) {
        std::array<Stream, 3> streams;
        ActiveStreams active;
        for (Stream& stream : streams) {
            active.append(stream);
        }
        active.remove(streams[gone]);
        EXPECT_FALSE(streams[gone].active);
        for (std::size_t i = 0; i < 3; ++i) {
            if (i != gone) {
                EXPECT_EQ(&active.take_first(), &streams[i]);
            }
        }
        EXPECT_EQ(active.size(), 0U);
    }
}

}  // namespace
}  // namespace penstock
