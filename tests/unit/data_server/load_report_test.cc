#include "data_server/load_report.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace penstock {
namespace {

constexpr LoadLimits kLimits{
    .tsc_hz = 1'000'000'000, .rx_descriptors = 1'000, .pool_packets = 10'000};

/// One port of 1 Gbit/s and as many workers as asked, nothing counted, at second `second`.
LoadSnapshot snapshot(unsigned workers, std::uint64_t tenths) {
    LoadSnapshot snapshot;
    snapshot.tsc = tenths * 100'000'000;
    snapshot.ports.push_back({.missed = {}, .link_bits_per_second = 1'000'000'000});
    for (unsigned worker = 0; worker < workers; ++worker) {
        snapshot.workers.push_back({});
        QueueSnapshot queue;
        queue.worker = worker;
        snapshot.queues.push_back(queue);
    }
    return snapshot;
}

TEST(LoadReport, NothingDoneIsNoLoad) {
    const LoadReport report = make_load_report(snapshot(1, 0), snapshot(1, 1), kLimits);
    EXPECT_EQ(report.utilisation, 0.0);
    ASSERT_EQ(report.queues.size(), 1U);
    EXPECT_EQ(report.queues[0].busy, 0.0);
    EXPECT_EQ(report.queues[0].egress, 0.0);
}

TEST(LoadReport, WhatTheDriverCannotSayIsNotZero) {
    LoadSnapshot before = snapshot(1, 0);
    LoadSnapshot now = snapshot(1, 1);
    before.ports[0].link_bits_per_second = now.ports[0].link_bits_per_second = 0;
    const QueueLoad load = make_load_report(before, now, kLimits).queues.at(0);
    EXPECT_FALSE(load.rx_fill.has_value());
    EXPECT_FALSE(load.missed.has_value());
    EXPECT_FALSE(load.egress.has_value());
    EXPECT_TRUE(load.busy.has_value());
    EXPECT_TRUE(load.tx_shortfall.has_value());
}

TEST(LoadReport, BusyIsTheShareOfCyclesWithWork) {
    LoadSnapshot before = snapshot(1, 0);
    before.workers[0] = {1'000, 9'000};
    LoadSnapshot now = snapshot(1, 1);
    now.workers[0] = {1'300, 9'700};
    const LoadReport report = make_load_report(before, now, kLimits);
    EXPECT_DOUBLE_EQ(*report.queues[0].busy, 0.3);
    EXPECT_DOUBLE_EQ(report.utilisation, 0.3);
    EXPECT_EQ(report.bottleneck, "worker 0 busy");
}

/// Looks every 100 ms for `ms`, while the clock and what `change` does go on.
LoadReport look(Liveness& liveness, LoadSnapshot& now, std::uint64_t& clock_ms, unsigned ms) {
    LoadReport report;
    for (unsigned passed = 0; passed < ms; passed += 100) {
        clock_ms += 100;
        report = LoadReport{};
        liveness.look(now, clock_ms, report);
    }
    return report;
}

TEST(Liveness, SaysForHowLongAPortHasReceivedNothing) {
    Liveness liveness;
    LoadSnapshot now = snapshot(2, 1);
    now.ports[0].link = LinkState::up;
    std::uint64_t clock_ms = 5'000;
    LoadReport report = look(liveness, now, clock_ms, 100);
    EXPECT_EQ(report.ports.at(0).silent_ms, 0U);
    report = look(liveness, now, clock_ms, 1'000);
    EXPECT_EQ(report.ports.at(0).silent_ms, 1'000U);
    EXPECT_EQ(report.ports.at(0).link, control::LinkState::up);
    ++now.queues[1].rx_packets;
    report = look(liveness, now, clock_ms, 100);
    EXPECT_EQ(report.ports.at(0).silent_ms, 0U) << "by whichever worker";
}

TEST(Liveness, NamesAWorkerThatComesToNoEndOfItsTurn) {
    Liveness liveness;
    LoadSnapshot now = snapshot(2, 1);
    std::uint64_t clock_ms = 5'000;
    LoadReport report;
    for (int looks = 0; looks < 7; ++looks) {
        ++now.workers[0].turns;
        report = look(liveness, now, clock_ms, 100);
        EXPECT_TRUE(liveness.do_workers_move());
    }
    ++now.workers[0].turns;
    report = look(liveness, now, clock_ms, 100);
    EXPECT_EQ(report.stuck_workers, std::vector<std::uint32_t>{1});
    EXPECT_FALSE(liveness.do_workers_move());
    ++now.workers[1].turns;
    report = look(liveness, now, clock_ms, 100);
    EXPECT_TRUE(report.stuck_workers.empty());
    EXPECT_TRUE(liveness.do_workers_move());
}

TEST(Liveness, BlamesNobodyForATimeInWhichItDidNotLookItself) {
    Liveness liveness;
    const LoadSnapshot now = snapshot(1, 1);
    LoadReport report;
    liveness.look(now, 1'000, report);
    report = LoadReport{};
    liveness.look(now, 61'000, report);
    EXPECT_TRUE(report.stuck_workers.empty());
    EXPECT_LT(report.ports.at(0).silent_ms, 1'000U);
}

TEST(LoadReport, UtilisationIsTheLargestShareNotAnAverage) {
    LoadSnapshot now = snapshot(2, 1);
    now.workers[0] = {10, 90};
    now.workers[1] = {80, 20};
    const LoadReport report = make_load_report(snapshot(2, 0), now, kLimits);
    EXPECT_DOUBLE_EQ(report.utilisation, 0.8);
    EXPECT_EQ(report.bottleneck, "worker 1 busy");
}

TEST(LoadReport, EgressCountsWhatAFrameCostsOnTheWire) {
    LoadSnapshot now = snapshot(1, 1);
    // 1,000 frames of 1,226 bytes and 24 bytes around each in 0.1 s: 100 Mbit/s of 1 Gbit/s.
    now.queues[0].tx_packets = 1'000;
    now.queues[0].tx_bytes = 1'226'000;
    const LoadReport report = make_load_report(snapshot(1, 0), now, kLimits);
    EXPECT_DOUBLE_EQ(*report.queues[0].egress, 0.1);
    EXPECT_EQ(report.bottleneck, "port 0 egress");
}

TEST(LoadReport, EgressOfOnePortIsThatOfAllItsQueues) {
    LoadSnapshot now = snapshot(2, 1);
    for (QueueSnapshot& queue : now.queues) {
        queue.tx_packets = 1'000;
        queue.tx_bytes = 1'226'000;
    }
    EXPECT_DOUBLE_EQ(make_load_report(snapshot(2, 0), now, kLimits).utilisation, 0.2);
}

TEST(LoadReport, ReceiveQueueFillsUpToItsDescriptors) {
    LoadSnapshot now = snapshot(1, 1);
    now.queues[0].rx_waiting = 600;
    const LoadReport report = make_load_report(snapshot(1, 0), now, kLimits);
    EXPECT_DOUBLE_EQ(*report.queues[0].rx_fill, 0.6);
    EXPECT_EQ(report.bottleneck, "port 0 worker 0 receive queue");
}

TEST(LoadReport, OnePacketInAHundredNotSentIsFull) {
    LoadSnapshot now = snapshot(1, 1);
    now.queues[0].tx_packets = 995;
    now.queues[0].tx_unsent = 5;
    LoadReport report = make_load_report(snapshot(1, 0), now, kLimits);
    EXPECT_DOUBLE_EQ(*report.queues[0].tx_shortfall, 0.5);
    EXPECT_EQ(report.bottleneck, "port 0 worker 0 transmit queue");
    now.queues[0].tx_unsent = 500;
    report = make_load_report(snapshot(1, 0), now, kLimits);
    EXPECT_DOUBLE_EQ(report.utilisation, 1.0);
}

TEST(LoadReport, MissedPacketsCountWhereTheDriverCountsThem) {
    LoadSnapshot before = snapshot(1, 0);
    before.ports[0].missed = 100;
    LoadSnapshot now = snapshot(1, 1);
    now.ports[0].missed = 105;
    now.queues[0].rx_packets = 995;
    const LoadReport report = make_load_report(before, now, kLimits);
    EXPECT_DOUBLE_EQ(*report.queues[0].missed, 0.5);
    EXPECT_EQ(report.bottleneck, "port 0 missed");
}

TEST(LoadReport, PacketPoolIsABottleneckLikeAnyOther) {
    LoadSnapshot now = snapshot(1, 1);
    now.pool_packets_used = 9'500;
    const LoadReport report = make_load_report(snapshot(1, 0), now, kLimits);
    EXPECT_DOUBLE_EQ(*report.pool_use, 0.95);
    EXPECT_EQ(report.bottleneck, "packet pool");
}

TEST(LoadReport, CountersThatWentBackAreNoLoad) {
    LoadSnapshot before = snapshot(1, 0);
    before.ports[0].missed = 1'000;
    before.queues[0].tx_bytes = 1'000'000;
    before.queues[0].tx_packets = 1'000;
    LoadSnapshot now = snapshot(1, 1);
    now.ports[0].missed = 0;
    EXPECT_EQ(make_load_report(before, now, kLimits).utilisation, 0.0);
}

TEST(LoadReport, NoTimeBetweenSnapshotsIsNoLoad) {
    LoadSnapshot now = snapshot(1, 0);
    now.queues[0].tx_bytes = 1'000'000;
    EXPECT_EQ(make_load_report(snapshot(1, 0), now, kLimits).utilisation, 0.0);
}

std::vector<StreamLoad> loads(std::size_t count, std::uint64_t packets) {
    std::vector<StreamLoad> result(count);
    for (std::size_t i = 0; i < count; ++i) {
        result[i].stream = StreamId{i + 1};
        result[i].packets_in = packets;
    }
    return result;
}

TEST(StreamLoads, OnlyChangedOnesAreReported) {
    StreamLoadDiff diff;
    std::vector<StreamLoad> now = loads(3, 5);
    EXPECT_EQ(diff.changed(now).size(), 3U);
    EXPECT_TRUE(diff.changed(now).empty());
    now[1].copies = 7;
    const auto changed = diff.changed(now);
    ASSERT_EQ(changed.size(), 1U);
    EXPECT_EQ(changed[0].stream, StreamId{2});
}

TEST(StreamLoads, BeyondTheLimitEveryoneHasATurn) {
    StreamLoadDiff diff;
    std::set<StreamId> seen;
    for (std::uint64_t round = 1; round <= 3; ++round) {
        const auto changed = diff.changed(loads(2 * control::kLoadStreamsMax + 500, round));
        EXPECT_EQ(changed.size(), control::kLoadStreamsMax);
        for (const StreamLoad& load : changed) {
            seen.insert(load.stream);
        }
    }
    EXPECT_EQ(seen.size(), 2 * control::kLoadStreamsMax + 500);
}

TEST(StreamLoads, AStreamThatCameBackIsNew) {
    StreamLoadDiff diff;
    diff.changed(loads(1, 5));
    diff.changed({});
    EXPECT_EQ(diff.changed(loads(1, 5)).size(), 1U);
}

}  // namespace
}  // namespace penstock
