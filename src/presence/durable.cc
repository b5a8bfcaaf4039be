#include "presence/durable.h"

#include "rpc/operator_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::string_view kEpoch = "epoch";
constexpr std::string_view kMasterKey = "master-key";
constexpr std::string_view kServer = "server/";
constexpr std::string_view kDuty = "duty/";
constexpr std::string_view kCordoned = "cordoned";
constexpr std::string_view kDraining = "draining ";  // then milliseconds
constexpr std::string_view kChecksum = "checksum";

/// Against damage, not against malice: who can write the store can write this, too.
std::string checksum_of(const Facts& facts) {
    Facts others = facts;
    others.erase(std::string(kChecksum));
    const std::string text = to_text(others);
    return fmt::format("{:016x}", siphash(SessionKey{}, std::as_bytes(std::span(text))));
}

std::optional<std::uint64_t> number_in(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

std::string hex_of(const TicketKey& key) {
    std::string text;
    for (const std::uint8_t byte : key.bytes) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

std::optional<TicketKey> key_in(std::string_view text) {
    TicketKey key;
    if (text.size() != 2 * key.bytes.size()) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < key.bytes.size(); ++i) {
        const char* const digits = text.data() + 2 * i;
        const auto [end, error] = std::from_chars(digits, digits + 2, key.bytes[i], 16);
        if (error != std::errc{} || end != digits + 2) {
            return std::nullopt;
        }
    }
    return key;
}

std::optional<Duty> duty_in(std::string_view text) {
    if (text == kCordoned) {
        return Duty{};
    }
    const auto deadline =
        text.starts_with(kDraining) ? number_in(text.substr(kDraining.size())) : std::nullopt;
    if (!deadline || *deadline > static_cast<std::uint64_t>(control::kDeadlineMax.count())) {
        return std::nullopt;
    }
    return Duty{Duty::Kind::draining, std::chrono::milliseconds(*deadline)};
}

/// One fact. False if it is none.
bool take(Durable& durable, std::string_view name, const std::string& value) {
    if (name == kEpoch) {
        const auto epoch = number_in(value);
        durable.epoch = epoch.value_or(0);
        return epoch.has_value() && *epoch <= control::kEpochMax;
    }
    if (name == kMasterKey) {
        const auto key = key_in(value);
        durable.master_key = key.value_or(TicketKey{});
        return key.has_value();
    }
    if (name.starts_with(kServer)) {
        durable.servers.emplace(name.substr(kServer.size()));
        return value.empty();
    }
    if (name.starts_with(kDuty)) {
        const auto duty = duty_in(value);
        durable.duties.emplace(name.substr(kDuty.size()), duty.value_or(Duty{}));
        return duty.has_value();
    }
    return name == kChecksum;
}

}  // namespace

Facts to_facts(const Durable& durable) {
    Facts facts;
    facts.emplace(kEpoch, std::to_string(durable.epoch));
    facts.emplace(kMasterKey, hex_of(durable.master_key));
    for (const std::string& server : durable.servers) {
        facts.emplace(std::string(kServer) + server, "");
    }
    for (const auto& [server, duty] : durable.duties) {
        facts.emplace(std::string(kDuty) + server,
                      duty.kind == Duty::Kind::draining
                          ? fmt::format("{}{}", kDraining, duty.deadline.count())
                          : kCordoned);
    }
    facts.emplace(kChecksum, checksum_of(facts));
    return facts;
}

Result<Durable> from_facts(const Facts& facts) {
    for (const std::string_view needed : {kEpoch, kMasterKey, kChecksum}) {
        if (!facts.contains(std::string(needed))) {
            return Error{ErrorCode::invalid_argument, fmt::format("it has no {}", needed)};
        }
    }
    if (facts.at(std::string(kChecksum)) != checksum_of(facts)) {
        return Error{ErrorCode::invalid_argument, "its checksum is not that of its facts"};
    }
    Durable durable;
    for (const auto& [name, value] : facts) {
        if (!take(durable, name, value)) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("its fact {} is not understood", name)};
        }
    }
    return durable;
}

std::string to_text(const Facts& facts) {
    std::string text;
    for (const auto& [name, value] : facts) {
        // Names of data servers are printable ASCII: neither a tabulator nor a line's end.
        text += name + '\t' + value + '\n';
    }
    return text;
}

Result<Facts> facts_of(const std::string& text) {
    Facts facts;
    for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
        end = text.find('\n', at);
        const std::size_t tab = text.find('\t', at);
        if (end == std::string::npos || tab == std::string::npos || tab > end) {
            return Error{ErrorCode::invalid_argument, "a line of it is no fact"};
        }
        facts.insert_or_assign(text.substr(at, tab - at), text.substr(tab + 1, end - tab - 1));
    }
    return facts;
}

Result<std::uint64_t> next_epoch(const Durable& durable, std::uint64_t floor) {
    const std::uint64_t next = std::max(durable.epoch + 1, floor);
    if (next > control::kEpochMax) {
        return Error{ErrorCode::exhausted,
                     fmt::format("its epoch {} is the last one there is: delete it to begin anew "
                                 "without the drains in it, then restart all data servers, "
                                 "publishers and consumers",
                                 durable.epoch)};
    }
    return next;
}

}  // namespace penstock::presence
