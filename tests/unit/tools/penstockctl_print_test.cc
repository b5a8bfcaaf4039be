#include "penstockctl/json_of.h"
#include "penstockctl/print.h"
#include "penstockctl/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace penstock::ctl {
namespace {

using testing::HasSubstr;

std::string json_of(const google::protobuf::Message& message) {
    JsonWriter json;
    append_json(json, message);
    return json.text();
}

v1::ExplainReply decision() {
    v1::ExplainReply reply;
    reply.set_stream("news");
    reply.set_state("transmitting");
    reply.set_decided(true);
    reply.set_decided_ms_ago(3'200);
    reply.set_trigger("publish request");
    reply.set_chosen("ds2");
    reply.set_reason("because");
    reply.set_recent_period_ms(10'000);
    v1::Candidate& recent = *reply.add_candidates();
    recent.set_server("ds1");
    recent.set_utilisation(0.05);
    recent.set_bottleneck("worker 0 busy");
    recent.set_eligible(true);
    recent.set_recent(true);
    recent.set_handed_out_ms_ago(1'500);
    v1::Candidate& chosen = *reply.add_candidates();
    chosen.set_server("ds2");
    chosen.set_utilisation(0.1);
    chosen.set_reserved(0.01);
    chosen.set_projected(0.11);
    chosen.set_report_age_ms(40);
    chosen.set_eligible(true);
    chosen.set_chosen(true);
    v1::Candidate& busy = *reply.add_candidates();
    busy.set_server("ds3");
    busy.set_ineligible_reason("it is not attached");
    return reply;
}

TEST(PenstockctlPrint, ShowsWhatADataServerSuffersFrom) {
    v1::ListServersReply reply;
    v1::ServerInfo& server = *reply.add_servers();
    server.set_name("ds1");
    server.set_state("degraded");
    server.set_trouble("port net0 (10.0.0.1) has no link; worker 3 does not move");
    server.add_ports()->set_name("net0");
    server.mutable_load()->add_ports()->set_link(v1::LINK_STATE_DOWN);
    server.mutable_load()->add_stuck_workers(3);
    EXPECT_THAT(json_of(server), HasSubstr(R"("stuck_workers":[3])"));
    const std::string page = page_of(server);
    EXPECT_THAT(page, HasSubstr("worker 3 does not move"));
    EXPECT_THAT(page, HasSubstr("down"));
    server.mutable_load()->mutable_ports(0)->set_link(v1::LINK_STATE_UNKNOWN);
    EXPECT_THAT(page_of(server), HasSubstr("not told"));
}

TEST(PenstockctlPrint, AlignsNumbersToTheRightAndTextToTheLeft) {
    Table table({"NAME", "COUNT"});
    table.add({"a", "5"});
    table.add({"bcdefg", "1200"});
    table.add({"h", "-"});
    EXPECT_EQ(table.text(),
              "NAME    COUNT\n"
              "a           5\n"
              "bcdefg   1200\n"
              "h           -\n");
}

TEST(PenstockctlPrint, ExplainsEveryCandidate) {
    EXPECT_EQ(page_of(decision()),
              "stream news is transmitting\n"
              "decided 3.2s ago for a publish request: ds2\n"
              "because\n"
              "\n"
              "SERVER  UTILISATION  BOTTLENECK      AGE  RESERVED  PROJECTED  VERDICT\n"
              "ds1           0.050  worker 0 busy   0ms     0.000      0.000  skipped: handed out "
              "1.5s ago, recent period 10.0s\n"
              "ds2           0.100  -              40ms     0.010      0.110  chosen\n"
              "ds3           0.000  -               0ms     0.000      0.000  not eligible: it is "
              "not attached\n");
}

TEST(PenstockctlPrint, SaysThatTheChosenOnesRecentPeriodEndedEarly) {
    v1::ExplainReply reply = decision();
    v1::Candidate& chosen = *reply.mutable_candidates(1);
    chosen.set_recent_over(true);
    chosen.set_handed_out_ms_ago(2'500);
    EXPECT_NE(page_of(reply).find("chosen: handed out 2.5s ago, half of them since\n"),
              std::string::npos);
}

TEST(PenstockctlPrint, SaysWhatRebalancingWouldMoveAndWhetherItDoes) {
    v1::RebalancePlan plan;
    plan.set_reason("because");
    EXPECT_EQ(page_of(plan),
              "nothing is to be moved: because\n"
              "rebalancing is off: nothing is moved without --rebalance\n");
    plan.set_stream("news");
    plan.set_from("ds1");
    plan.set_to("ds2");
    plan.set_is_on(true);
    EXPECT_EQ(page_of(plan),
              "news is to be moved from ds1 to ds2: because\n"
              "rebalancing is on: one stream a minute at most\n");
}

TEST(PenstockctlPrint, SaysThatNothingWasDecidedYet) {
    v1::ExplainReply reply;
    reply.set_stream("news");
    reply.set_state("waiting");
    EXPECT_EQ(page_of(reply), "stream news is waiting\nno data server was looked for yet\n");
}

TEST(PenstockctlPrint, WritesJsonWithTheNamesOfTheProto) {
    v1::StreamInfo stream;
    stream.set_name("news");
    stream.set_stream_id(0xab);
    stream.mutable_endpoint()->set_ip(std::string("\x0a\x5b\x00\x01", 4));
    stream.mutable_endpoint()->set_port(20'000);
    stream.set_start(v1::START_POLICY_DEMAND);
    stream.set_close_after_ms(5'000);
    EXPECT_EQ(json_of(stream),
              R"({"name":"news","stream_id":"00000000000000ab","state":"","data_server":"",)"
              R"("endpoint":"10.91.0.1:20000","publisher_id":"0000000000000000",)"
              R"("publisher_address":null,"consumers":0,"requests":0,"version":0,)"
              R"("close_after_ms":5000,"start":"demand","max_bits_per_second":0,"load":null,)"
              R"("hand_outs":0})");
}

TEST(PenstockctlPrint, WritesAnUnsupportedMeasureAsNull) {
    v1::ServerInfo server;
    v1::Port& port = *server.add_ports();
    port.set_address(std::string("\x0a\x5b\x00\x01", 4));
    v1::QueueLoad& queue = *server.mutable_load()->add_queues();
    queue.mutable_busy()->set_supported(true);
    queue.mutable_busy()->set_share(0.5);
    queue.mutable_missed();
    const std::string json = json_of(server);
    EXPECT_THAT(json, HasSubstr(R"("address":"10.91.0.1")"));
    EXPECT_THAT(json, HasSubstr(R"("busy":0.5,"rx_fill":null,"tx_shortfall":null,"missed":null)"));
}

TEST(PenstockctlPrint, WritesAnEventAsOneLine) {
    v1::Event event;
    event.set_kind("assigned");
    event.set_stream("news");
    event.set_data_server("ds1");
    event.set_consumer_id(2);
    event.set_unix_ms(1'700'000'000'123);
    event.set_detail("because");
    EXPECT_THAT(line_of(event),
                HasSubstr(".123 assigned           news server=ds1 consumer=0000000000000002 : "
                          "because\n"));
}

}  // namespace
}  // namespace penstock::ctl
