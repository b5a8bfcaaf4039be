// One stream fanned out by its owner and by workers that help it.
#include "data_path/shares.h"

#include "data_path/replicate.h"
#include "support/allocation_guard.h"
#include "support/numbered_content.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace penstock {
namespace {

constexpr std::uint8_t kOwner = 0;
constexpr std::uint8_t kHelper = 1;
/// Consumers of the owner are 1..99, of the helper 101..
constexpr unsigned kOfHelper = 100;

WorldOptions two_workers() {
    WorldOptions options;
    options.workers = 2;
    return options;
}

/// Two workers; a stream of the first, and a share of it at the second.
class Shares : public testing::Test {
  protected:
    /// The stream has its publisher; its share is not open yet.
    void open(const WorldOptions& options = two_workers(), std::uint32_t ring_packets = 512) {
        world_.emplace(options);
        stream_ = world().open_published(20000, ring_packets);
        world().settle();
    }
    void open_share() {
        share_ = world().open_share(stream_, kHelper);
        world().settle();
    }
    void open_both(const WorldOptions& options = two_workers(), std::uint32_t ring_packets = 512) {
        open(options, ring_packets);
        open_share();
    }
    [[nodiscard]] WorkerWorld& world() { return *world_; }

    void add_flows(unsigned of_each) {
        for (unsigned consumer = 1; consumer <= of_each; ++consumer) {
            world().add_flow(stream_, consumer);
            world().add_flow(share_, kOfHelper + consumer);
        }
        world().settle();
    }
    void receive(unsigned first, unsigned last) { receive_numbers(world(), first, last); }
    /// While the helper does not run.
    void turn_owner(unsigned turns) {
        for (unsigned turn = 0; turn < turns; ++turn) {
            world().turn(kOwner);
        }
    }
    /// Received and all their copies sent.
    void store(unsigned first, unsigned last) {
        receive(first, last);
        world().settle();
    }
    /// What consumers got since the last call, of both workers.
    std::map<unsigned, std::vector<unsigned>> got() {
        auto all = numbers_by_consumer(world().sent(0, kOwner));
        all.merge(numbers_by_consumer(world().sent(0, kHelper)));
        return all;
    }
    void collect(std::map<unsigned, std::vector<unsigned>>& heard) {
        collect_numbers(world().sent(0, kOwner), heard);
        collect_numbers(world().sent(0, kHelper), heard);
    }
    void catch_up() {
        const std::uint64_t patience_end = rte_rdtsc() + 20 * rte_get_tsc_hz();
        do {
            world().settle();
        } while (share_->catching_up > 0 && rte_rdtsc() < patience_end);
    }

    /// The pool is short, and the helper does not run: what waits for it must not be taken.
    void expect_nothing_evicted_that_waits(std::uint32_t ring_packets) {
        WorldOptions options = two_workers();
        options.payload_mbufs = 2047;
        options.payloads_low = 1700;
        open_both(options, ring_packets);
        add_flows(1);
        receive(1, 400);
        const std::uint64_t patience_end = rte_rdtsc() + 20 * rte_get_tsc_hz();
        while (world().counters(kOwner).pool_short.read() < 5 && rte_rdtsc() < patience_end) {
            world().turn(kOwner);
        }
        ASSERT_GE(world().counters(kOwner).pool_short.read(), 5U);
        EXPECT_LE(world().counters(kOwner).pool_evicted.read(), kShareWindowPackets);
        world().settle();
        const auto all = got();
        EXPECT_EQ(all.at(1), numbers(1, 400));
        EXPECT_EQ(all.at(101), numbers(1, 400));
        EXPECT_EQ(world().dropped(DropReason::helper_overrun, kHelper), 0U);
    }

    std::optional<WorkerWorld> world_;
    Stream* stream_ = nullptr;
    Stream* share_ = nullptr;
};

TEST_F(Shares, EveryConsumerGetsEveryPacketOnceAndInOrder) {
    open_both();
    add_flows(3);
    for (unsigned number = 1; number <= 100; ++number) {
        receive(number, number);
        world().turn(number % 3 == 0 ? kHelper : kOwner);
    }
    world().settle();
    const auto all = got();
    ASSERT_EQ(all.size(), 6U);
    for (const auto& [consumer, its] : all) {
        EXPECT_EQ(its, numbers(1, 100)) << consumer;
    }
    EXPECT_EQ(world().counters(kOwner).content.read(), 100U);
    EXPECT_EQ(world().counters(kHelper).content.read(), 0U);
    EXPECT_EQ(world().counters(kOwner).given_to_helpers.read(), 100U);
    EXPECT_EQ(world().counters(kHelper).taken_to_help.read(), 100U);
}

TEST_F(Shares, EachWorkerSendsToItsOwnFlows) {
    open_both();
    add_flows(2);
    store(1, 1);
    EXPECT_EQ(consumers_of(world().sent(0, kOwner)), (std::vector<unsigned>{1, 2}));
    EXPECT_EQ(consumers_of(world().sent(0, kHelper)), (std::vector<unsigned>{101, 102}));
}

TEST_F(Shares, CopiesAreCountedWhereTheyAreMade) {
    open_both();
    add_flows(2);
    FlowRecord* flow = world().add_flow(share_, 200);
    store(1, 30);
    world().publish_counters();
    EXPECT_EQ(stream_->counters.packets_in.read(), 30U);
    EXPECT_EQ(stream_->counters.copies.read(), 60U);
    EXPECT_EQ(stream_->counters.consumers.read(), 2U);
    EXPECT_EQ(share_->counters.packets_in.read(), 0U);
    EXPECT_EQ(share_->counters.copies.read(), 90U);
    EXPECT_EQ(share_->counters.copy_bytes.read(), 90U * kNumberedPayloadBytes);
    EXPECT_EQ(share_->counters.consumers.read(), 3U);
    EXPECT_EQ(flow->counters.copies.read(), 30U);
    EXPECT_EQ(flow->counters.lost.read(), 0U);
}

TEST_F(Shares, HelpersCopiesHoldOneReferenceOnThePacketTogether) {
    open_both();
    add_flows(5);
    store(1, 1);
    const rte_mbuf* stored = stream_->ring[0].packet;
    // In both rings, held by 5 copies of the owner's, and once by all of the helper's.
    EXPECT_EQ(stored->refcnt, 2 + 5 + 1);
    std::set<const rte_mbuf*> seconds;
    for (const rte_mbuf* copy : world().on_the_wire(0, kHelper)) {
        ASSERT_EQ(copy->nb_segs, 2);
        seconds.insert(copy->next);
    }
    ASSERT_EQ(seconds.size(), 1U);
    const rte_mbuf* own = *seconds.begin();
    EXPECT_EQ(own->pool, world().copies(kHelper));
    EXPECT_EQ(own->refcnt, 5);
    EXPECT_EQ(
        rte_mempool_in_use_count(world().copies(kHelper)) - world().worker(kHelper).ready_mbufs(),
        5U + 1);
    got();
    EXPECT_EQ(stored->refcnt, 2);
    EXPECT_EQ(rte_mempool_in_use_count(world().copies(kHelper)),
              world().worker(kHelper).ready_mbufs());
}

TEST_F(Shares, MbufsThatWereAttachedAreFreshAgain) {
    WorldOptions options = two_workers();
    options.copy_mbufs = 95;  // few, so that each is used as a header and as an attached one
    open_both(options);
    add_flows(2);
    for (unsigned number = 1; number <= 500; ++number) {
        store(number, number);
        const auto all = got();
        ASSERT_EQ(all.at(1), numbers(number, number));
        ASSERT_EQ(all.at(101), numbers(number, number));
    }
    EXPECT_EQ(world().dropped(DropReason::no_copy_mbuf, kHelper), 0U);
}

TEST_F(Shares, SmallPayloadsAreCopiedAndNothingIsAttached) {
    WorldOptions options = two_workers();
    options.inline_payload_bytes_max = 256;
    open_both(options);
    add_flows(2);
    store(1, 1);
    EXPECT_EQ(stream_->ring[0].packet->refcnt, 2);
    for (const rte_mbuf* copy : world().on_the_wire(0, kHelper)) {
        EXPECT_EQ(copy->nb_segs, 1);
    }
    EXPECT_EQ(got().at(102), numbers(1, 1));
}

TEST_F(Shares, HelperWithoutMbufsLosesCopiesByNameAndNoPacket) {
    WorldOptions options = two_workers();
    options.copy_mbufs = 70;
    open_both(options);
    FlowRecord* last = nullptr;
    for (unsigned consumer = 1; consumer <= 40; ++consumer) {
        last = world().add_flow(share_, kOfHelper + consumer);
    }
    world().settle();
    store(1, 4);  // nobody takes them off the wire
    EXPECT_GT(world().dropped(DropReason::no_copy_mbuf, kHelper), 0U);
    world().publish_counters();
    EXPECT_GT(last->counters.lost.read(), 0U);
    EXPECT_EQ(last->counters.lost.read() + last->counters.copies.read(), 4U);
    got();
    store(5, 5);
    EXPECT_EQ(got().size(), 40U);
}

TEST_F(Shares, FanOutOfSeveralQuantaReachesEachFlowOnceWhoeverComesAndGoes) {
    open_both();
    const std::vector<FlowRecord*> flows = world().add_flows(share_, 1, 600);
    world().settle();
    receive(1, 1);
    world().turn(kOwner);
    world().turn(kHelper);  // 256 of 600
    ASSERT_TRUE(share_->cursor.suspended);
    world().remove_flow(share_, flows[9]);    // has had it
    world().remove_flow(share_, flows[499]);  // has not
    world().add_flow(share_, 700);
    world().settle();
    const auto all = got();
    EXPECT_EQ(all.size(), 600U);
    EXPECT_EQ(all.count(500), 0U);
    for (const auto& [consumer, its] : all) {
        EXPECT_EQ(its, numbers(1, 1)) << consumer;
    }
}

TEST_F(Shares, SeveralHelpersHaveAllPackets) {
    WorldOptions options = two_workers();
    options.workers = 4;
    open_both(options);
    std::vector<Stream*> parts{share_};
    parts.push_back(world().open_share(stream_, 2));
    parts.push_back(world().open_share(stream_, 3));
    world().settle();
    for (Stream* part : parts) {
        world().add_flow(part, part->owner * 10U);
    }
    world().settle();
    store(1, 300);
    for (const Stream* part : parts) {
        EXPECT_EQ(numbers_by_consumer(world().sent(0, part->owner)).at(part->owner * 10U),
                  numbers(1, 300));
    }
    world().close_share(stream_, parts[1]);
    world().settle();
    store(301, 310);
    EXPECT_TRUE(world().sent(0, 2).empty());
    EXPECT_EQ(numbers_by_consumer(world().sent(0, 3)).at(30), numbers(301, 310));
}

TEST_F(Shares, WorkersHelpEachOther) {
    open_both();
    Stream* other = world().open_published(20001, 512, 1U << 30U, kHelper);
    Stream* others_share = world().open_share(other, kOwner);
    world().settle();
    add_flows(1);
    world().add_flow(others_share, 7);
    world().settle();
    for (unsigned number = 1; number <= 50; ++number) {
        world().receive(numbered(number), 0, kOwner);
        world().receive(numbered(number, 20001), 0, kOwner);  // at the wrong worker, too
        world().turn(kOwner);
        world().turn(kHelper);
    }
    world().settle();
    const auto by_owner = numbers_by_consumer(world().sent(0, kOwner));
    EXPECT_EQ(by_owner.at(1), numbers(1, 50));
    EXPECT_EQ(by_owner.at(7), numbers(1, 50));
    EXPECT_EQ(got().at(101), numbers(1, 50));
}

TEST_F(Shares, HistoryGoesBackToBeforeTheShareOpened) {
    open();
    store(1, 300);
    open_share();
    EXPECT_EQ(share_->progress.complete.read(), 1U);
    EXPECT_EQ(share_->ring.packets(), 300U);
    world().add_flow(share_, 101, 0, {.packets = 200});
    catch_up();
    store(301, 303);
    EXPECT_EQ(got().at(101), numbers(101, 303));
}

TEST_F(Shares, FlowWithoutHistoryHearsOnlyWhatComes) {
    open();
    store(1, 100);
    open_share();
    world().add_flow(share_, 101);
    world().settle();
    store(101, 110);
    EXPECT_EQ(got().at(101), numbers(101, 110));
}

TEST_F(Shares, ShareIsCompleteOnceItHasWhatWasStoredAndNotBefore) {
    open();
    store(1, 300);
    share_ = world().open_share(stream_, kHelper);
    world().turn(kHelper);
    world().turn(kOwner);
    world().turn(kHelper);
    EXPECT_GT(share_->ring.packets(), 0U);
    EXPECT_EQ(share_->progress.complete.read(), 0U);
    world().settle();
    EXPECT_EQ(share_->progress.complete.read(), 1U);
    EXPECT_EQ(share_->ring.packets(), 300U);
}

TEST_F(Shares, ShareOfAStreamThatHasNothingYetIsComplete) {
    open_both();
    EXPECT_EQ(share_->progress.complete.read(), 1U);
}

TEST_F(Shares, HelperThatDoesNotKeepUpCostsItsFlowsPacketsByName) {
    open_both(two_workers(), 64);
    world().add_flow(stream_, 1);
    FlowRecord* live = world().add_flow(share_, 101);
    world().settle();
    for (unsigned number = 1; number <= 300; ++number) {
        receive(number, number);
        world().turn(kOwner);
    }
    // The share was given as much as its ring holds, and the owner's ring has the newest.
    EXPECT_EQ(world().counters(kOwner).given_to_helpers.read(), 64U);
    EXPECT_EQ(numbers_by_consumer(world().sent(0, kOwner)).at(1), numbers(1, 300));
    world().settle();
    std::vector<unsigned> heard = numbers(1, 64);
    const std::vector<unsigned> newest = numbers(237, 300);
    heard.insert(heard.end(), newest.begin(), newest.end());
    EXPECT_EQ(got().at(101), heard);
    EXPECT_EQ(world().dropped(DropReason::helper_overrun, kHelper), 300U - 128);
    EXPECT_EQ(world().dropped_in_all(kOwner), 0U);
    world().publish_counters();
    EXPECT_EQ(live->counters.lost.read(), 300U - 128);
    EXPECT_EQ(live->counters.copies.read(), 128U);
    EXPECT_EQ(share_->counters.dropped.read(), 300U - 128);
    FlowRecord* later = world().add_flow(share_, 102);
    store(301, 310);
    world().publish_counters();
    EXPECT_EQ(later->counters.lost.read(), 0U);
    EXPECT_EQ(later->counters.copies.read(), 10U);
}

TEST_F(Shares, PacketsMissedInTheMiddleOfAHistoryAreItsLoss) {
    open_both(two_workers(), 256);
    store(1, 200);
    const auto second = static_cast<Ticks>(rte_get_tsc_hz() >> kTicksShift);
    for (Sequence sequence = 0; sequence < 100; ++sequence) {  // 4 s of the flow's time
        const_cast<Slot&>(share_->ring[sequence]).arrival_ticks -= 16 * second;
    }
    FlowRecord* flow = world().add_flow(share_, 101, 0, {.packets = 200});
    world().turn(kHelper);
    ASSERT_EQ(share_->catching_up, 1U);
    for (unsigned number = 201; number <= 800; ++number) {
        receive(number, number);
        world().turn(kOwner);
    }
    world().settle();
    EXPECT_GT(world().dropped(DropReason::helper_overrun, kHelper), 0U);
    catch_up();
    world().publish_counters();
    EXPECT_EQ(flow->counters.lost.read(), world().dropped_in_all(kHelper));
    EXPECT_EQ(got().at(101).size(), flow->counters.copies.read());
    EXPECT_EQ(flow->counters.copies.read() + flow->counters.lost.read(), 800U);
}

TEST_F(Shares, NoMoreIsGivenThanTheHelperHasSent) {
    open_both();
    world().add_flow(share_, 101);
    world().settle();
    receive(1, 400);
    turn_owner(40);
    EXPECT_EQ(world().counters(kOwner).given_to_helpers.read(), kShareWindowPackets);
    world().settle();
    EXPECT_EQ(got().at(101), numbers(1, 400));
}

TEST_F(Shares, ShortPoolDoesNotTakeWhatTheHelperHasYetToGet) {
    expect_nothing_evicted_that_waits(2048);
}

TEST_F(Shares, ShortPoolDoesNotTakeWhatTheHelperHasYetToGetOfAStreamWithoutHistory) {
    expect_nothing_evicted_that_waits(0);
}

TEST_F(Shares, OneTurnGivesAQuantumWhicheverHelpersItGoesTo) {
    constexpr std::uint8_t kHelpers = 7;
    WorldOptions options = two_workers();
    options.workers = kHelpers + 1;
    open(options);
    std::vector<Stream*> parts;
    for (std::uint8_t helper = 1; helper <= kHelpers; ++helper) {
        parts.push_back(world().open_share(stream_, helper));
    }
    world().settle();
    for (Stream* part : parts) {
        world().add_flow(part, part->owner * 10U);
    }
    world().settle();
    const auto turn_helpers = [this] {
        for (int turn = 0; turn < 8; ++turn) {  // enough for all that is on its way
            for (std::uint8_t helper = 1; helper <= kHelpers; ++helper) {
                world().turn(helper);
            }
        }
    };
    receive(1, 400);
    turn_owner(40);
    std::uint64_t given = kHelpers * std::uint64_t{kShareWindowPackets};
    ASSERT_EQ(world().counters(kOwner).given_to_helpers.read(), given);
    // All of them are ready for more than a turn gives: in four turns each is in front once.
    for (int turn = 0; turn < 4; ++turn) {
        turn_helpers();
        world().turn(kOwner);
        const std::uint64_t given_now = world().counters(kOwner).given_to_helpers.read();
        EXPECT_EQ(given_now - given, kQuantumCopies);
        given = given_now;
    }
    for (const Stream* part : parts) {
        EXPECT_GT(part->feed.given, kShareWindowPackets) << int{part->owner};
    }
    world().settle();
    for (const Stream* part : parts) {
        EXPECT_EQ(numbers_by_consumer(world().sent(0, part->owner)).at(part->owner * 10U),
                  numbers(1, 400));
    }
}

TEST_F(Shares, NothingIsAttachedToABufferOutsideThePacket) {
    open();
    std::array<std::uint8_t, 256> buffer{};
    auto bytes = static_cast<std::uint16_t>(buffer.size());
    rte_mbuf_ext_shared_info* shared = rte_pktmbuf_ext_shinfo_init_helper(
        buffer.data(), &bytes, [](void* /*buffer*/, void* /*of*/) {}, nullptr);
    rte_mbuf* packet = rte_pktmbuf_alloc(world().payloads());
    rte_pktmbuf_attach_extbuf(packet, buffer.data(), RTE_BAD_IOVA, bytes, shared);
    rte_pktmbuf_append(packet, 100);
    WorkerConfig config{};
    config.port_count = 1;
    config.ports[0].copies = world().copies(kHelper);
    const Slot slot{.packet = packet, .payload_bytes = 100, .payload_sum = 0, .arrival_ticks = 0};
    EXPECT_EQ(attach_own(slot, 1, config), nullptr);
    EXPECT_EQ(rte_mbuf_ext_refcnt_read(shared), 1);
    rte_pktmbuf_free(packet);
}

TEST_F(Shares, UnsentCopiesAreLostByTheFlowsTheyWereFor) {
    WorldOptions options = two_workers();
    options.wire_packets = 16;
    open_both(options);
    std::vector<FlowRecord*> flows;
    for (unsigned consumer = 1; consumer <= 10; ++consumer) {
        flows.push_back(world().add_flow(share_, kOfHelper + consumer));
    }
    world().settle();
    store(1, 3);  // the wire takes 15
    world().publish_counters();
    EXPECT_EQ(world().dropped(DropReason::tx_queue_full, kHelper), 15U);
    std::uint64_t lost = 0;
    for (const FlowRecord* flow : flows) {
        lost += flow->counters.lost.read();
        EXPECT_EQ(flow->counters.lost.read() + flow->counters.copies.read(), 3U);
    }
    EXPECT_EQ(lost, 15U);
    EXPECT_EQ(share_->counters.dropped.read(), 15U);
    EXPECT_EQ(share_->counters.copies.read(), 15U);
}

TEST_F(Shares, StreamClosesWithPacketsOnTheirWayToTheHelper) {
    open_both();
    add_flows(3);
    const std::uint32_t commands = 2;  // CloseStream for both, CloseShare for the helper
    const std::uint64_t applied = world().counters(kHelper).applied_commands.read();
    receive(1, 100);
    turn_owner(4);
    EXPECT_EQ(world().counters(kOwner).given_to_helpers.read(), 100U);
    EXPECT_EQ(world().counters(kHelper).taken_to_help.read(), 0U);
    world().close_stream(stream_);
    world().turn(kHelper);  // more is on its way than a turn takes
    EXPECT_EQ(world().counters(kHelper).taken_to_help.read(), 100U);
    world().settle();
    EXPECT_EQ(world().counters(kHelper).applied_commands.read(), applied + commands);
    EXPECT_TRUE(world().sent(0, kHelper).empty());
    got();
    world().reclaim();
    EXPECT_EQ(world().mbufs_in_use(), 0U);
    EXPECT_EQ(world().memory().retired(), 0U);
}

TEST_F(Shares, ShareClosesInTheMiddleOfAFanOutAndTheStreamGoesOn) {
    open_both();
    for (unsigned consumer = 1; consumer <= 600; ++consumer) {
        world().add_flow(share_, kOfHelper + consumer);
        world().turn(kHelper);
    }
    world().add_flow(stream_, 1);
    world().settle();
    receive(1, 2);
    world().turn(kOwner);
    world().turn(kHelper);
    ASSERT_TRUE(share_->cursor.suspended);
    world().close_share(stream_, share_);
    world().settle();
    store(3, 5);
    const auto all = got();
    EXPECT_EQ(all.at(1), numbers(1, 5));
    EXPECT_EQ(all.size(), 1U + 256);
    world().reclaim();
    EXPECT_EQ(world().mbufs_in_use(), stream_->ring.packets());
}

TEST_F(Shares, LargeShareClosesALittleAtATime) {
    open_both(two_workers(), 4096);
    for (unsigned number = 1; number <= 1000; ++number) {
        receive(number, number);
        world().turn(kOwner);
        world().turn(kHelper);
    }
    const std::uint64_t applied = world().counters(kHelper).applied_commands.read();
    world().close_share(stream_, share_);
    world().turn(kHelper);
    EXPECT_EQ(world().counters(kHelper).applied_commands.read(), applied);
    world().settle();
    EXPECT_EQ(world().counters(kHelper).applied_commands.read(), applied + 1);
}

TEST_F(Shares, WithoutHistoryAPacketGoesWhenAllHaveHadIt) {
    open_both(two_workers(), 0);
    add_flows(1);
    receive(1, 20);
    world().turn(kOwner);
    world().sent(0, kOwner);
    // Given away, so no longer the owner's.
    EXPECT_EQ(stream_->ring.packets(), 0U);
    EXPECT_EQ(world().mbufs_in_use(), 20U);
    world().settle();
    EXPECT_EQ(got().at(101), numbers(1, 20));
    EXPECT_EQ(world().mbufs_in_use(), 0U);
}

TEST_F(Shares, WithoutHistoryAPacketWaitsForTheHelper) {
    open_both(two_workers(), 0);
    add_flows(1);
    receive(1, 300);
    turn_owner(20);
    EXPECT_EQ(numbers_by_consumer(world().sent(0, kOwner)).at(1), numbers(1, 300));
    EXPECT_EQ(stream_->ring.packets(), 300U - kShareWindowPackets);
    world().settle();
    EXPECT_EQ(got().at(101), numbers(1, 300));
    EXPECT_EQ(stream_->ring.packets(), 0U);
}

TEST_F(Shares, WithoutHistoryTheOnlyConsumersPacketsAreNotRewrittenWhileAShareIsFed) {
    open(two_workers(), 0);
    world().add_flow(stream_, 1);
    world().settle();
    open_share();
    world().add_flow(share_, 101);
    world().settle();
    store(1, 10);
    auto all = got();
    EXPECT_EQ(all.at(1), numbers(1, 10));
    EXPECT_EQ(all.at(101), numbers(1, 10));
    world().close_share(stream_, share_);
    world().settle();
    receive(11, 20);
    world().turn(kOwner);
    for (const rte_mbuf* copy : world().on_the_wire(0, kOwner)) {
        EXPECT_EQ(copy->pool, world().payloads());  // in the mbuf it came in
    }
    EXPECT_EQ(got().at(1), numbers(11, 20));
}

TEST_F(Shares, ShareThatStopsNoLongerKeepsPacketsAtTheOwner) {
    open_both(two_workers(), 0);
    add_flows(1);
    receive(1, 300);
    turn_owner(20);
    ASSERT_GT(stream_->ring.packets(), 0U);
    world().close_share(stream_, share_);
    world().settle();
    EXPECT_EQ(stream_->ring.packets(), 0U);
    got();
}

/// Everything that can happen, in an order that is the same every time.
TEST_F(Shares, WhoStaysHasEveryPacketOnceAndInOrderWhateverElseHappens) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random{seed};
        const auto one_in = [&random](unsigned n) { return random() % n == 0; };
        open(two_workers(), seed % 2 == 0 ? 0 : 256);
        world().add_flow(stream_, 1);
        world().settle();
        std::vector<FlowRecord*> visitors;
        bool stays = false;
        std::map<unsigned, std::vector<unsigned>> heard;
        for (unsigned number = 1; number <= 600; ++number) {
            receive(number, number);
            if (share_ == nullptr && one_in(50)) {
                share_ = world().open_share(stream_, kHelper);
            } else if (share_ != nullptr && share_->progress.complete.read() != 0 && !stays) {
                stays = true;
                world().add_flow(share_, 101);
            } else if (stays && one_in(8)) {
                visitors.push_back(
                    world().add_flow(share_, 1000 + number, 0, {.packets = number % 64}));
            } else if (!visitors.empty() && one_in(8)) {
                world().remove_flow(share_, visitors.back());
                visitors.pop_back();
            }
            if (!one_in(3)) {
                world().turn(kOwner);
            }
            if (!one_in(3)) {
                world().turn(kHelper);
            }
            collect(heard);
        }
        ASSERT_TRUE(stays);
        world().settle();
        collect(heard);
        EXPECT_EQ(world().dropped_in_all(kOwner) + world().dropped_in_all(kHelper), 0U);
        EXPECT_EQ(heard.at(1), numbers(1, 600));
        EXPECT_EQ(heard.at(101).back(), 600U);
        for (const auto& [consumer, its] : heard) {  // no gap, no repeat
            ASSERT_EQ(its, numbers(its.front(), its.back())) << consumer;
        }
        share_ = nullptr;
    }
}

TEST_F(Shares, LoseNothingWhenEachWorkerHasAThreadOfItsOwn) {
    WorldOptions options = two_workers();
    options.wire_packets = 16384;
    open_both(options);
    add_flows(4);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (const std::uint8_t worker : {kOwner, kHelper}) {
        threads.emplace_back([&world = *world_, worker, &stop] {
            while (!stop.load(std::memory_order_acquire)) {
                world.worker(worker).run_once();
                std::this_thread::yield();  // they may share a CPU
            }
        });
    }
    constexpr unsigned kPackets = 5'000;
    std::map<unsigned, std::vector<unsigned>> heard;
    for (unsigned number = 1; number <= kPackets; ++number) {
        receive(number, number);
        if (number % 100 == 0) {  // no more on their way than the rings hold
            const std::uint64_t patience_end = rte_rdtsc() + 20 * rte_get_tsc_hz();
            do {
                collect(heard);
            } while (heard[104].size() + heard[4].size() < 2U * number &&
                     rte_rdtsc() < patience_end);
        }
    }
    stop.store(true, std::memory_order_release);
    for (std::thread& thread : threads) {
        thread.join();
    }
    world().settle();
    collect(heard);
    ASSERT_EQ(heard.size(), 8U);
    for (const auto& [consumer, its] : heard) {
        EXPECT_EQ(its, numbers(1, kPackets)) << consumer;
    }
}

TEST_F(Shares, AllocateNothing) {
    open_both(two_workers(), 64);
    add_flows(50);
    std::uint64_t allocations = 0;
    for (unsigned number = 1; number <= 500; ++number) {
        receive(number, number);
        const AllocationGuard guard;
        world().turn(kOwner);
        world().turn(kHelper);
        allocations += guard.allocations();
        world().sent(0, kOwner);
        world().sent(0, kHelper);
    }
    EXPECT_EQ(allocations, 0U);
}

TEST_F(Shares, OwnerLeavesPacketsOfOthersWhereTheyAreWhileItsRingsAreFull) {
    WorldOptions options = two_workers();
    options.control_packets = 64;
    options.copy_mbufs = 16383;
    options.wire_packets = 16384;
    open(options, 64);
    world().add_flows(stream_, 0, 127);
    world().settle();
    for (unsigned number = 0; number < 500; ++number) {
        world().receive(numbered(number), 0, kHelper);
    }
    while (world().counters(kHelper).ports[0].rx_packets.read() < 500) {
        world().turn(kHelper);
        world().turn(kOwner);
        world().sent(0, kOwner);
    }
    world().settle();
    world().sent(0, kOwner);
    // 2 packets a turn are sent, 32 come: most die at the sender, unread by the owner.
    EXPECT_GT(world().dropped(DropReason::hand_over_full, kHelper), 300U);
    EXPECT_LT(world().dropped(DropReason::fanout_overrun, kOwner), 128U * 50);
}

}  // namespace
}  // namespace penstock
