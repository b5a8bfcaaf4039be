#include "data_server/presence_session.h"

#include "support/silent_listener.h"
#include "unit/client/scripted_presence.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <poll.h>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

TEST(PresenceSessionTest, PausesGrowOnlyWhileNobodyAnswers) {
    EXPECT_EQ(next_backoff(100ms, false, false), 200ms);
    EXPECT_EQ(next_backoff(1600ms, false, false), 2000ms);
    EXPECT_EQ(next_backoff(2000ms, true, false), 100ms);
    EXPECT_EQ(next_backoff(2000ms, false, true), 100ms);
}

class DialledPresence : public testing::Test {
  protected:
    void dial(const std::vector<std::string>& addresses) {
        PresenceSessionConfig config;
        config.addresses = addresses;
        config.hello.name = "ds1";
        config.hello.boot_id = 7;
        auto started = PresenceSession::start(std::move(config));
        ASSERT_TRUE(started.ok());
        session = std::move(started).value();
    }
    void hear_hello() { EXPECT_EQ(presence.data_servers.hear().hello().name(), "ds1"); }
    void refuse(const std::string& leader) {
        v1::DataServerDown down;
        down.mutable_reject()->set_reason("this presence server does not lead");
        down.mutable_reject()->set_retry_after_ms(1);
        down.mutable_reject()->set_leader(leader);
        presence.data_servers.say(down);
    }
    /// What the control thread gets next.
    DownMessage next() {
        while (received.empty()) {
            pollfd polled{.fd = session->fd(), .events = POLLIN, .revents = 0};
            if (::poll(&polled,
                       1,
                       static_cast<int>(std::chrono::milliseconds(kPatience).count())) <= 0) {
                ADD_FAILURE() << "nothing came";
                return Detached{};
            }
            received = session->receive();
        }
        DownMessage message = std::move(received.front());
        received.pop_front();
        return message;
    }
    /// Passes over what comes until a session has ended for a reason with these words in it.
    void wait_detached(const std::string& words) {
        for (bool is_over = false; !is_over && !HasFailure();) {
            const DownMessage message = next();
            const auto* const detached = std::get_if<Detached>(&message);
            is_over = detached != nullptr && detached->reason.find(words) != std::string::npos;
        }
    }

    ScriptedPresence presence;
    test::SilentListener silent;
    std::unique_ptr<PresenceSession> session;
    std::deque<DownMessage> received;
};

TEST_F(DialledPresence, IsLeftOutWhenItIsSilentHoweverOftenItIsSaidToLead) {
    ASSERT_TRUE(silent.is_listening());
    dial({silent.address(), presence.address()});
    wait_detached("presence " + silent.address() + ": no connection within 500 ms");
    hear_hello();
    EXPECT_GE(silent.connections(), 1);
    for (int times = 0; times < 2; ++times) {
        refuse(silent.address());
        wait_detached(": it rejects us: this presence server does not lead");
        hear_hello();
    }
    EXPECT_EQ(silent.connections(), 0);
}

TEST_F(DialledPresence, IsLeftAtOnceForTheLeaderItNames) {
    ScriptedPresence leader;
    dial({presence.address(), "127.0.0.1:1", leader.address()});
    hear_hello();
    refuse(leader.address());
    EXPECT_EQ(leader.data_servers.hear().hello().name(), "ds1");
    v1::DataServerDown down;
    down.mutable_welcome()->set_epoch(5);
    down.mutable_welcome()->set_ticket_key(std::string(sizeof(TicketKey), 'k'));
    leader.data_servers.say(down);
    wait_detached("it rejects us");
    DownMessage message = next();
    while (std::holds_alternative<Detached>(message) && !HasFailure()) {
        message = next();
    }
    ASSERT_TRUE(std::holds_alternative<Welcome>(message));
    EXPECT_EQ(std::get<Welcome>(message).presence, leader.address());
}

}  // namespace
}  // namespace penstock
