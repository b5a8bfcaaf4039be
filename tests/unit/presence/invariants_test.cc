#include "presence/placement.h"
#include "presence/turn.h"
#include "unit/presence/world.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <random>
#include <set>
#include <string>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::StartPolicy;

constexpr int kMoves = 3'000;
constexpr int kServers = 4;
constexpr int kStreams = 6;
constexpr int kPublishers = 9;
constexpr int kConsumers = 20;

/// Peers that come, go, refuse, fall silent and lie, drawn from a seed. What
/// must hold whatever they do is looked at after every move; what must come
/// about is looked at once they behave.
class Invariants : public testing::TestWithParam<std::uint64_t> {
  public:
    Invariants() : world(GetParam()), random(GetParam()) {
        for (int i = 0; i < kServers; ++i) {
            world.new_server("ds" + std::to_string(i));
        }
        for (int i = 0; i < kPublishers; ++i) {
            ScriptedPublisher& publisher =
                world.new_publisher("stream" + std::to_string(i % kStreams));
            publisher.start = i % 2 == 0 ? StartPolicy::publish : StartPolicy::demand;
            publisher.close_after_ms = i % 3 == 0 ? 700 : 0;
        }
        for (int i = 0; i < kConsumers; ++i) {
            const std::array<std::uint64_t, 3> waits{
                0, 2'000, std::numeric_limits<std::uint64_t>::max()};
            world.new_consumer("stream" + std::to_string(i % kStreams),
                               waits[static_cast<std::size_t>(i) % waits.size()]);
        }
    }

    std::uint64_t draw(std::uint64_t below) { return random() % below; }

    template <typename Peer>
    Peer& pick(std::list<Peer>& peers) {
        auto peer = peers.begin();
        std::advance(peer, static_cast<std::ptrdiff_t>(draw(peers.size())));
        return *peer;
    }

    void move_server() {
        ScriptedServer& server = pick(world.servers);
        switch (draw(8)) {
            case 0:
                if (server.session) {
                    world.cut(server.session);
                }
                break;
            case 1:  // the process is restarted
                if (server.session) {
                    world.cut(server.session);
                }
                server.boot_id += 2;
                server.open.clear();
                server.generation = 0;
                server.epoch_seen = 0;
                break;
            case 2:
                server.acknowledges = !server.acknowledges;
                break;
            case 3:
                server.utilisation = draw(20) == 0 ? std::numeric_limits<double>::quiet_NaN()
                                                   : static_cast<double>(draw(120)) / 100;
                break;
            case 4:
                server.refuses.empty()
                    ? void(server.refuses.insert("stream" + std::to_string(draw(kStreams))))
                    : server.refuses.clear();
                break;
            default:
                if (!server.session || draw(10) == 0) {
                    server.reports_load = true;
                    world.attach(server);
                }
        }
    }

    void command(const std::string& server, control::ServerDuty duty) {
        const std::chrono::milliseconds deadline(draw(20'000));
        world.take(FromOperator{1, {server, duty, deadline}});
    }

    void move_operator() {
        constexpr std::array kDuties{control::ServerDuty::none,
                                     control::ServerDuty::cordoned,
                                     control::ServerDuty::draining};
        command(pick(world.servers).name, kDuties.at(draw(kDuties.size())));
    }

    void move_publisher() {
        ScriptedPublisher& publisher = pick(world.publishers);
        switch (draw(5)) {
            case 0:
                if (publisher.session) {
                    world.cut(publisher.session);
                }
                break;
            case 1:
                publisher.acknowledges = !publisher.acknowledges;
                break;
            case 2:
                publisher.joins_other = !publisher.joins_other;
                break;
            default:
                world.publish(publisher);
        }
    }

    void move_consumer() {
        ScriptedConsumer& consumer = pick(world.consumers);
        switch (draw(5)) {
            case 0:
                if (consumer.session) {
                    world.cut(consumer.session);
                }
                break;
            case 1:
                world.leave(consumer);
                break;
            case 2:
                if (consumer.session && !consumer.told.empty()) {
                    world.take(FromConsumer{consumer.session,
                                            control::ConsumerRenew{consumer.told.back().version}});
                }
                break;
            case 3:
                if (consumer.session && consumer.state() == AssignmentState::ready &&
                    is_open(consumer)) {
                    world.join(consumer);
                }
                break;
            default:
                world.request(consumer);
        }
    }

    bool is_open(const ScriptedConsumer& consumer) {
        return world.server(consumer.told.back().data_server)
            .open.contains(stream_id_of(consumer.stream));
    }

    void expect_invariants() {
        for (const auto& [id, stream] : world.state.streams) {
            SCOPED_TRACE(stream.name);
            if (!stream.server.empty()) {
                EXPECT_TRUE(world.state.servers.at(stream.server).session)
                    << "on a data server that is not attached";
            }
            const bool is_running = stream.step == StreamStep::started && stream.publisher_session;
            if (is_running && !is_watched(stream)) {
                EXPECT_LE(world.now - stream.unwatched_since.value_or(world.now),
                          stream.close_after)
                    << "runs on although nobody watches";
            }
            const bool is_ready = stream.step == StreamStep::started && stream.publisher;
            for (const auto& [consumer_id, consumer] : stream.requests) {
                EXPECT_TRUE(!is_ready || consumer.told.state == AssignmentState::ready)
                    << "a consumer waits for a stream that is there";
                EXPECT_EQ(consumer.told, stream.outlook);
            }
        }
        for (const auto& [name, server] : world.state.servers) {
            expect_counts(server);
            for (const auto& [id, desired] : server.desired) {
                const Stream& stream = world.state.streams.at(id);
                EXPECT_TRUE(stream.server == name ||
                            (stream.move.has_value() && stream.move->server == name))
                    << "wanted open where the stream is not";
            }
        }
    }

    /// What is counted as it changes is what a count of everything finds.
    void expect_counts(const DataServer& server) {
        std::size_t flows = 0;
        std::size_t bytes = 0;
        Watchers watchers;
        std::set<StreamId> streams;
        std::set<StreamId> moving;
        for (const auto& [id, stream] : world.state.streams) {
            if (stream.server == server.name) {
                streams.insert(id);
                flows += stream.flows.size();
                watchers.consumers += stream.watchers.consumers;
                watchers.bits_per_second += stream.watchers.bits_per_second;
            }
            if (stream.move.has_value() && stream.move->server == server.name) {
                EXPECT_EQ(stream.step, StreamStep::started);
                EXPECT_NE(stream.server, server.name);
                moving.insert(id);
                watchers.consumers += stream.watchers.consumers;
                watchers.bits_per_second += stream.watchers.bits_per_second;
            }
        }
        for (const auto& [id, desired] : server.desired) {
            bytes += set_bytes_of(desired.name);
        }
        EXPECT_EQ(server.streams, streams);
        EXPECT_EQ(server.moving, moving);
        EXPECT_EQ(server.flows, flows);
        EXPECT_EQ(server.watchers, watchers);
        EXPECT_EQ(server.desired_bytes, bytes);
    }

    void let_all_behave() {
        for (const ScriptedServer& server : world.servers) {
            command(server.name, control::ServerDuty::none);
        }
        for (ScriptedServer& server : world.servers) {
            server.acknowledges = true;
            server.utilisation = 0.1;
            server.refuses.clear();
        }
        for (ScriptedPublisher& publisher : world.publishers) {
            publisher.acknowledges = true;
            publisher.joins_other = true;
        }
        world.pass(5s);  // who does not acknowledge is lost by now
        for (ScriptedServer& server : world.servers) {
            if (!server.session) {
                world.attach(server);
            }
        }
        for (ScriptedPublisher& publisher : world.publishers) {
            if (!publisher.session) {
                world.publish(publisher);
            }
        }
    }

    World world;
    std::mt19937_64 random;
};

TEST_P(Invariants, HoldWhateverPeersDo) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()));
    for (int move = 0; move < kMoves && !HasFailure(); ++move) {
        SCOPED_TRACE("move " + std::to_string(move));
        switch (draw(6)) {
            case 0:
                move_server();
                break;
            case 1:
                move_publisher();
                break;
            case 2:
            case 3:
                move_consumer();
                break;
            case 4:
                move_operator();
                break;
            default:
                world.pass(std::chrono::milliseconds(draw(10) == 0 ? draw(4'000) : draw(200)));
        }
        expect_invariants();
    }
    let_all_behave();
    for (ScriptedConsumer& consumer : world.consumers) {
        if (!consumer.session) {
            world.request(consumer);
        }
    }
    world.pass(3s);
    expect_invariants();
    for (const ScriptedConsumer& consumer : world.consumers) {
        EXPECT_EQ(consumer.state(), AssignmentState::ready) << consumer.stream;
    }
    for (ScriptedConsumer& consumer : world.consumers) {
        world.leave(consumer);
        world.cut(consumer.session);
    }
    world.pass(6s);
    for (const auto& [id, stream] : world.state.streams) {
        EXPECT_EQ(phase_of(stream), "waiting") << stream.name;
    }
    for (const ScriptedServer& server : world.servers) {
        EXPECT_TRUE(server.open.empty()) << server.name;
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Invariants, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace penstock::presence
