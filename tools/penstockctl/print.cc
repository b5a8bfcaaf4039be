#include "penstockctl/print.h"

#include "penstockctl/table.h"
#include "penstockctl/text_of.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <iterator>

namespace penstock::ctl {
namespace {

/// `name` and its value as a line of a page.
template <typename Value>
void add_line(std::string& page, const char* name, const Value& value) {
    fmt::format_to(std::back_inserter(page), "{:<20} {}\n", name, value);
}

std::string verdict_on(const v1::Candidate& candidate, std::uint64_t recent_period_ms) {
    if (candidate.chosen() && candidate.recent_over()) {
        return fmt::format("chosen: handed out {} ago, half of them since",
                           text_of_ms(candidate.handed_out_ms_ago()));
    }
    if (candidate.chosen()) {
        return candidate.recent() ? "chosen, although recent: all eligible ones are" : "chosen";
    }
    if (!candidate.eligible()) {
        return "not eligible: " + candidate.ineligible_reason();
    }
    if (candidate.recent()) {
        return fmt::format("skipped: handed out {} ago, recent period {}",
                           text_of_ms(candidate.handed_out_ms_ago()),
                           text_of_ms(recent_period_ms));
    }
    return "higher projected utilisation";
}

std::string recent_left(const v1::ServerInfo& server) {
    return server.recent() ? text_of_ms(server.recent_left_ms()) : "-";
}

}  // namespace

std::string table_of(const v1::ListServersReply& reply) {
    Table table({"SERVER",
                 "STATE",
                 "UTILISATION",
                 "BOTTLENECK",
                 "PROJECTED",
                 "AGE",
                 "RECENT FOR",
                 "STREAMS",
                 "CONSUMERS"});
    for (const v1::ServerInfo& server : reply.servers()) {
        table.add({server.name(),
                   server.state(),
                   server.has_load() ? text_of_share(server.load().utilisation()) : "-",
                   text_or_dash(server.load().bottleneck()),
                   text_of_share(server.projected()),
                   server.has_load() ? text_of_ms(server.report_age_ms()) : "-",
                   recent_left(server),
                   std::to_string(server.streams()),
                   std::to_string(server.consumers())});
    }
    return table.text();
}

std::string table_of(const v1::ListStreamsReply& reply) {
    Table table({"STREAM",
                 "STATE",
                 "SERVER",
                 "ENDPOINT",
                 "PUBLISHER",
                 "CONSUMERS",
                 "REQUESTS",
                 "HAND-OUTS",
                 "VERSION"});
    for (const v1::StreamInfo& stream : reply.streams()) {
        table.add({stream.name(),
                   stream.state(),
                   text_or_dash(stream.data_server()),
                   text_of(stream.endpoint()),
                   text_of(stream.publisher_address()),
                   std::to_string(stream.consumers()),
                   std::to_string(stream.requests()),
                   std::to_string(stream.hand_outs()),
                   std::to_string(stream.version())});
    }
    return table.text();
}

std::string table_of(const v1::ListConsumersReply& reply) {
    Table table(
        {"CONSUMER", "STREAM", "STATE", "SERVER", "ADDRESS", "COPIES", "BYTES", "LOST", "HISTORY"});
    for (const v1::ConsumerInfo& consumer : reply.consumers()) {
        const bool has_flow = consumer.has_flow();
        const auto count = [&](std::uint64_t value) {
            return has_flow ? std::to_string(value) : std::string("-");
        };
        table.add({text_of_id(consumer.consumer_id()),
                   consumer.stream(),
                   consumer.state(),
                   text_or_dash(consumer.data_server()),
                   text_of(consumer.address()),
                   count(consumer.flow().copies()),
                   count(consumer.flow().copy_bytes()),
                   count(consumer.flow().lost()),
                   count(consumer.flow().history_left())});
    }
    return table.text();
}

std::string text_of_link(v1::LinkState state) {
    switch (state) {
        case v1::LINK_STATE_UP:
            return "up";
        case v1::LINK_STATE_DOWN:
            return "down";
        default:
            return "not told";
    }
}

std::string page_of(const v1::ServerInfo& server) {
    const v1::LoadReport& load = server.load();
    std::string page;
    add_line(page, "server", server.name());
    add_line(page, "state", server.state());
    add_line(page, "trouble", text_or_dash(server.trouble()));
    add_line(page, "boot id", text_of_id(server.boot_id()));
    add_line(page,
             "utilisation",
             server.has_load() ? fmt::format("{} ({}), reported {} ago",
                                             text_of_share(load.utilisation()),
                                             text_or_dash(load.bottleneck()),
                                             text_of_ms(server.report_age_ms()))
                               : "not reported yet");
    add_line(page, "projected", text_of_share(server.projected()));
    add_line(page, "recent for", recent_left(server));
    add_line(page, "streams", server.streams());
    add_line(page, "consumers", server.consumers());
    add_line(
        page,
        "generation",
        fmt::format("{} sent, {} applied", server.generation_sent(), server.generation_applied()));
    add_line(page, "packets in", load.packets_in());
    add_line(page, "copies", fmt::format("{} ({} bytes)", load.copies(), load.copy_bytes()));
    add_line(page, "drops", load.drops());
    add_line(page, "packet pool in use", text_of(load.pool_use()));
    Table ports({"PORT", "DRIVER", "ADDRESS", "SPEED", "LINK", "SILENT FOR"});
    for (int i = 0; i < server.ports_size(); ++i) {
        const v1::Port& port = server.ports(i);
        const bool is_reported = i < load.ports_size();
        ports.add({port.name(),
                   port.driver(),
                   text_of_address(port.address()),
                   text_of_rate(port.link_bits_per_second()),
                   is_reported ? text_of_link(load.ports(i).link()) : "-",
                   is_reported ? text_of_ms(load.ports(i).silent_ms()) : "-"});
    }
    Table queues(
        {"QUEUE OF PORT", "WORKER", "BUSY", "RX FILL", "TX SHORTFALL", "MISSED", "EGRESS"});
    for (const v1::QueueLoad& queue : load.queues()) {
        queues.add({std::to_string(queue.port()),
                    std::to_string(queue.worker()),
                    text_of(queue.busy()),
                    text_of(queue.rx_fill()),
                    text_of(queue.tx_shortfall()),
                    text_of(queue.missed()),
                    text_of(queue.egress())});
    }
    return page + "\n" + ports.text() + "\n" + queues.text();
}

std::string page_of(const v1::StreamInfo& stream) {
    const v1::StreamLoad& load = stream.load();
    const bool is_demand = stream.start() == v1::START_POLICY_DEMAND;
    std::string page;
    add_line(page, "stream", stream.name());
    add_line(page, "id", text_of_id(stream.stream_id()));
    add_line(page, "state", stream.state());
    add_line(page, "server", text_or_dash(stream.data_server()));
    add_line(page, "endpoint", text_of(stream.endpoint()));
    add_line(page, "publisher", text_of_id(stream.publisher_id()));
    add_line(page, "publisher address", text_of(stream.publisher_address()));
    add_line(page, "start", is_demand ? "demand" : "publish");
    add_line(page, "close after", text_of_ms(stream.close_after_ms()));
    add_line(page, "maximum rate", text_of_rate(stream.max_bits_per_second()));
    add_line(page, "consumers", stream.consumers());
    add_line(page, "requests", stream.requests());
    add_line(page, "hand-outs", stream.hand_outs());
    add_line(page, "version", stream.version());
    add_line(page, "in", fmt::format("{} packets, {} bytes", load.packets_in(), load.bytes_in()));
    add_line(page, "copies", fmt::format("{} ({} bytes)", load.copies(), load.copy_bytes()));
    add_line(page, "dropped", load.dropped());
    add_line(
        page, "ring", fmt::format("{} packets, {} bytes", load.ring_packets(), load.ring_bytes()));
    return page;
}

std::string page_of(const v1::ExplainReply& explanation) {
    std::string page = fmt::format("stream {} is {}\n", explanation.stream(), explanation.state());
    if (!explanation.decided()) {
        return page + "no data server was looked for yet\n";
    }
    fmt::format_to(std::back_inserter(page),
                   "decided {} ago for a {}: {}\n{}\n\n",
                   text_of_ms(explanation.decided_ms_ago()),
                   explanation.trigger(),
                   explanation.chosen().empty() ? "nobody" : explanation.chosen(),
                   explanation.reason());
    if (explanation.candidates().empty()) {
        return page;  // there were none, or the decision is too old for presence to keep them
    }
    Table table({"SERVER", "UTILISATION", "BOTTLENECK", "AGE", "RESERVED", "PROJECTED", "VERDICT"});
    for (const v1::Candidate& candidate : explanation.candidates()) {
        table.add({candidate.server(),
                   text_of_share(candidate.utilisation()),
                   text_or_dash(candidate.bottleneck()),
                   text_of_ms(candidate.report_age_ms()),
                   text_of_share(candidate.reserved()),
                   text_of_share(candidate.projected()),
                   verdict_on(candidate, explanation.recent_period_ms())});
    }
    return page + table.text();
}

std::string page_of(const v1::RebalancePlan& plan) {
    const std::string what =
        plan.stream().empty()
            ? "nothing is to be moved"
            : fmt::format("{} is to be moved from {} to {}", plan.stream(), plan.from(), plan.to());
    return fmt::format("{}: {}\n{}\n",
                       what,
                       plan.reason(),
                       plan.is_on() ? "rebalancing is on: one stream a minute at most"
                                    : "rebalancing is off: nothing is moved without --rebalance");
}

std::string page_of(const v1::StatusReply& status) {
    std::string page;
    add_line(page, "version", status.version());
    add_line(page, "epoch", status.epoch());
    add_line(page, "up for", text_of_ms(status.uptime_ms()));
    add_line(page, "data servers", status.servers());
    add_line(page, "publishers", status.publishers());
    add_line(page, "consumers", status.consumers());
    add_line(page, "bytes received", status.bytes_received());
    add_line(page, "bytes sent", status.bytes_sent());
    return page;
}

std::string line_of(const v1::Event& event) {
    const auto seconds = static_cast<std::time_t>(event.unix_ms() / 1000);
    std::tm local{};
    localtime_r(&seconds, &local);
    std::string line =
        fmt::format("{:%H:%M:%S}.{:03} {:<18}", local, event.unix_ms() % 1000, event.kind());
    const auto add = [&](const char* label, const std::string& value) {
        if (!value.empty()) {
            fmt::format_to(std::back_inserter(line), " {}{}", label, value);
        }
    };
    add("", event.stream());
    add("server=", event.data_server());
    add("publisher=", event.publisher_id() == 0 ? "" : text_of_id(event.publisher_id()));
    add("consumer=", event.consumer_id() == 0 ? "" : text_of_id(event.consumer_id()));
    add(": ", event.detail());
    return line + "\n";
}

}  // namespace penstock::ctl
