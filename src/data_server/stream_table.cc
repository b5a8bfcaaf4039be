#include "data_server/stream_table.h"

#include "base/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

/// The first of the least used.
std::uint8_t least(const std::vector<std::uint32_t>& used) noexcept {
    return static_cast<std::uint8_t>(std::ranges::min_element(used) - used.begin());
}

}  // namespace

StreamTable::StreamTable(StreamTableConfig config,
                         StreamMemory& memory,
                         std::span<WorkerCommands> workers)
    : config_(std::move(config)),
      memory_(memory),
      workers_(workers),
      udp_port_used_(config_.udp_port_last - config_.udp_port_first + 1U, false),
      worker_streams_(workers.size(), 0),
      port_streams_(config_.ports.size(), 0),
      port_has_link_(config_.ports.size(), true) {}

Result<std::uint16_t> StreamTable::take_udp_port() {
    // In rotation: a port just closed is the last to be used again, so that stragglers of the old
    // stream do not meet the new one.
    for (std::size_t tried = 0; tried < udp_port_used_.size(); ++tried) {
        const std::uint32_t offset = next_udp_port_;
        next_udp_port_ = (next_udp_port_ + 1) % static_cast<std::uint32_t>(udp_port_used_.size());
        if (!udp_port_used_[offset]) {
            udp_port_used_[offset] = true;
            return static_cast<std::uint16_t>(config_.udp_port_first + offset);
        }
    }
    return Error{ErrorCode::exhausted,
                 fmt::format("all UDP ports {}-{} are in use; widen --stream-ports",
                             config_.udp_port_first,
                             config_.udp_port_last)};
}

std::uint8_t StreamTable::port_for_stream() const noexcept {
    std::size_t best = 0;
    for (std::size_t port = 1; port < port_streams_.size(); ++port) {
        if (port_has_link_[port] != port_has_link_[best]
                ? port_has_link_[port]
                : port_streams_[port] < port_streams_[best]) {
            best = port;
        }
    }
    return static_cast<std::uint8_t>(best);
}

Result<Endpoint> StreamTable::open(StreamId stream, const std::string& name) {
    PENSTOCK_CHECK(!streams_.contains(stream));
    if (streams_.size() + closing_.size() >= config_.streams_max) {
        return Error{ErrorCode::exhausted,
                     fmt::format("{} streams are open; raise --streams-max", config_.streams_max)};
    }
    const std::uint8_t owner = least(worker_streams_);
    if (!workers_[owner].has_room()) {
        return Error{ErrorCode::exhausted, "workers do not keep up with commands; try again"};
    }
    const auto udp_port = take_udp_port();
    if (!udp_port) {
        return udp_port.error();
    }
    const auto made = memory_.make_stream({.udp_port = *udp_port,
                                           .owner = owner,
                                           .ring_packets = config_.ring_packets,
                                           .ring_bytes = config_.ring_bytes});
    if (!made) {
        udp_port_used_[*udp_port - config_.udp_port_first] = false;
        return made.error();
    }
    Entry& entry = streams_[stream];
    entry.stream = *made;
    entry.name = name;
    entry.home_port = port_for_stream();
    entry.endpoint = {config_.ports[entry.home_port].address, *udp_port};
    entry.awaited.assign(workers_.size(), 0);
    entry.awaited[owner] = workers_[owner].send(OpenStream{*made});
    entry.worker_flows.assign(workers_.size(), 0);
    ++worker_streams_[owner];
    ++port_streams_[entry.home_port];
    return entry.endpoint;
}

void StreamTable::close(StreamId stream) {
    const auto found = streams_.find(stream);
    PENSTOCK_CHECK(found != streams_.end());
    Entry& entry = found->second;
    Closing& closing = closing_.emplace_back(Closing{stream,
                                                     entry.stream,
                                                     entry.endpoint.port,
                                                     entry.home_port,
                                                     false,
                                                     {},
                                                     std::move(entry.shares)});
    closing.awaited.assign(workers_.size(), 0);
    if (entry.phase != Phase::opening_at_owner) {
        send_to_others(CloseStream{entry.stream}, entry.stream->owner, closing.awaited);
    }
    streams_.erase(found);
    advance_closing(closing);
}

void StreamTable::send_to_others(const WorkerCommand& command,
                                 std::uint8_t owner,
                                 std::vector<std::uint64_t>& awaited) {
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        if (worker != owner) {
            awaited[worker] = workers_[worker].send(command);
        }
    }
}

bool StreamTable::have_applied(const std::vector<std::uint64_t>& awaited) const {
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        if (!workers_[worker].has_applied(awaited[worker])) {
            return false;
        }
    }
    return true;
}

StreamTable::Settled StreamTable::advance() {
    Settled settled;
    for (WorkerCommands& worker : workers_) {
        worker.pump();
    }
    for (auto& [id, entry] : streams_) {
        if (entry.phase == Phase::opening_at_owner && have_applied(entry.awaited)) {
            send_to_others(OpenStream{entry.stream}, entry.stream->owner, entry.awaited);
            entry.phase = Phase::opening_elsewhere;
        }
        if (entry.phase == Phase::opening_elsewhere && have_applied(entry.awaited)) {
            entry.phase = Phase::open;
            settled.opened.push_back({id, entry.endpoint});
        }
        advance_shares(entry.shares, entry.stream->owner);
    }
    for (auto closing = closing_.begin(); closing != closing_.end();) {
        if (advance_closing(*closing)) {
            settled.closed.push_back(closing->id);
            closing = closing_.erase(closing);
        } else {
            ++closing;
        }
    }
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        memory_.reclaim(static_cast<std::uint8_t>(worker), workers_[worker].applied());
    }
    return settled;
}

/// Returns: whether it has been closed everywhere.
bool StreamTable::advance_closing(Closing& closing) {
    if (!have_applied(closing.awaited)) {
        return false;
    }
    const std::uint8_t owner = closing.stream->owner;
    if (!closing.at_owner) {
        closing.at_owner = true;
        const std::uint64_t command = workers_[owner].send(CloseStream{closing.stream});
        closing.awaited[owner] = command;
        for (Share& share : closing.shares.open) {
            if (share.stage == ShareStage::fed) {
                share.stage = ShareStage::stopping;
                share.awaited = command;
            }
        }
        return false;
    }
    advance_shares(closing.shares, owner);
    if (!closing.shares.open.empty()) {
        return false;
    }
    closed_copy_bytes_ += figures_of(*closing.stream, closing.shares).copy_bytes;
    memory_.retire_stream(*closing.stream, closing.awaited[owner]);
    udp_port_used_[closing.udp_port - config_.udp_port_first] = false;
    --worker_streams_[owner];
    --port_streams_[closing.home_port];
    return true;
}

/// Carries on those that end.
void StreamTable::advance_shares(Shares& shares, std::uint8_t owner) {
    std::erase_if(shares.open, [&](Share& share) {
        WorkerCommands& helper = workers_[share.stream->owner];
        if (share.stage == ShareStage::stopping && workers_[owner].has_applied(share.awaited)) {
            share.awaited = helper.send(CloseShare{share.stream});
            share.stage = ShareStage::closing;
        }
        if (share.stage != ShareStage::closing || !helper.has_applied(share.awaited)) {
            return false;
        }
        const StreamCounters& counters = share.stream->counters;
        shares.gone.copies += counters.copies.read();
        shares.gone.copy_bytes += counters.copy_bytes.read();
        shares.gone.dropped += counters.dropped.read();
        memory_.retire_stream(*share.stream, share.awaited);
        return true;
    });
}

const StreamTable::Share* StreamTable::share_at(const Shares& shares, std::uint8_t worker) {
    const auto share = std::ranges::find_if(shares.open, [worker](const Share& one) {
        return one.stage == ShareStage::fed && one.stream->owner == worker;
    });
    return share == shares.open.end() ? nullptr : &*share;
}

/// The stream, or the share of it, that the flows at `worker` are in.
Stream& StreamTable::stream_at(const Entry& entry, std::uint8_t worker) {
    const Share* share = share_at(entry.shares, worker);
    return share == nullptr ? *entry.stream : *share->stream;
}

/// The worker for one more flow; opens a further share if there are flows enough for one. Until a
/// share has what was stored before it opened, which takes some milliseconds, nobody joins there,
/// so that who does misses no history and hears no old packet as a live one.
std::uint8_t StreamTable::worker_for_flow(Entry& entry) {
    const std::uint8_t owner = entry.stream->owner;
    std::uint8_t best = owner;
    std::size_t parts = 1;
    bool filling = false;
    for (const Share& share : entry.shares.open) {
        if (share.stage != ShareStage::fed) {
            continue;
        }
        ++parts;
        const std::uint8_t helper = share.stream->owner;
        if (share.stream->progress.complete.read() == 0) {
            filling = true;
        } else if (entry.worker_flows[helper] < entry.worker_flows[best]) {
            best = helper;
        }
    }
    if (!filling && entry.flows.size() >= kSharedFrom * parts) {
        open_share(entry, entry.shares);
    }
    return entry.flows.size() < kSharedFrom ? owner : best;
}

/// At the first worker that has none and has room for commands. Without such a worker, or memory
/// for one more share, the stream goes on with those it has.
void StreamTable::open_share(const Entry& entry, Shares& shares) {
    const Stream& stream = *entry.stream;
    std::uint8_t helper = 0;
    while (helper < workers_.size() &&
           (helper == stream.owner || share_at(shares, helper) != nullptr ||
            !workers_[helper].has_room())) {
        ++helper;
    }
    if (helper == workers_.size() || !workers_[stream.owner].has_room()) {
        return;
    }
    const auto made = memory_.make_stream({.udp_port = stream.udp_port,
                                           .owner = helper,
                                           .fed_by = stream.owner,
                                           .ring_packets = config_.ring_packets,
                                           .ring_bytes = config_.ring_bytes});
    if (!made) {
        return;
    }
    workers_[helper].send(OpenShare{*made});
    workers_[stream.owner].send(FeedShare{entry.stream, *made});
    shares.open.push_back({*made});
}

/// A share without flows is fed for nothing; but while the stream has so many, the next is its own.
void StreamTable::stop_idle_shares(Entry& entry) {
    if (entry.flows.size() >= kSharedFrom / 2) {
        return;
    }
    const std::uint8_t owner = entry.stream->owner;
    for (Share& share : entry.shares.open) {
        if (share.stage == ShareStage::fed && entry.worker_flows[share.stream->owner] == 0) {
            share.awaited = workers_[owner].send(StopShare{entry.stream, share.stream});
            share.stage = ShareStage::stopping;
        }
    }
}

void StreamTable::set_publisher(StreamId stream, const Endpoint& address, FlowId flow) {
    if (Entry* entry = entry_of(stream)) {
        workers_[entry->stream->owner].send(SetPublisher{entry->stream, address, flow});
    }
}

FlowHeaders StreamTable::headers_of(const FlowPlace& place) const {
    return make_flow_headers({.source_mac = config_.ports[place.port].mac,
                              .next_hop_mac = place.next_hop,
                              .source = place.local,
                              .destination = place.address});
}

Result<void> StreamTable::add_flow(StreamId stream,
                                   const FlowPlace& place,
                                   std::uint32_t history_packets,
                                   std::uint32_t history_ms) {
    Entry* entry = entry_of(stream);
    if (entry == nullptr) {
        return Error{ErrorCode::not_found, "the stream is closed"};
    }
    const std::uint8_t at = worker_for_flow(*entry);
    Stream& part = stream_at(*entry, at);
    WorkerCommands& worker = workers_[at];
    if (!worker.has_room()) {
        return Error{ErrorCode::exhausted, "workers do not keep up with commands; try again"};
    }
    const auto grow = memory_.reserve_flow(part, place.port, worker.next());
    if (!grow) {
        return grow.error();
    }
    std::uint64_t newest = worker.next() - 1;
    if (*grow) {
        newest = worker.send(**grow);
    }
    const auto record = memory_.make_flow();
    if (!record) {
        memory_.retire_flow(part, place.port, nullptr, newest);
        return record.error();
    }
    entry->flows.emplace(place.flow, Flow{*record, place.port, at});
    ++entry->worker_flows[at];
    worker.send(AddFlow{.stream = &part,
                        .flow = *record,
                        .headers = headers_of(place),
                        .port = place.port,
                        .history_packets = history_packets,
                        .history_ms = history_ms});
    return {};
}

void StreamTable::move_flow(StreamId stream, const FlowPlace& place) {
    Entry* entry = entry_of(stream);
    if (entry == nullptr) {
        return;
    }
    const auto flow = entry->flows.find(place.flow);
    if (flow != entry->flows.end()) {
        const std::uint8_t at = flow->second.worker;
        workers_[at].send(
            UpdateFlow{&stream_at(*entry, at), flow->second.record, headers_of(place)});
    }
}

void StreamTable::remove_flow(StreamId stream, FlowId flow) {
    Entry* entry = entry_of(stream);
    if (entry == nullptr) {
        return;
    }
    const auto found = entry->flows.find(flow);
    if (found == entry->flows.end()) {
        return;
    }
    const Flow removed = found->second;
    entry->flows.erase(found);
    --entry->worker_flows[removed.worker];
    Stream& part = stream_at(*entry, removed.worker);
    const std::uint64_t command = workers_[removed.worker].send(RemoveFlow{&part, removed.record});
    memory_.retire_flow(part, removed.port, removed.record, command);
    stop_idle_shares(*entry);
}

StreamTable::Entry* StreamTable::entry_of(StreamId stream) {
    const auto found = streams_.find(stream);
    return found == streams_.end() ? nullptr : &found->second;
}

const StreamTable::Entry* StreamTable::entry_of(StreamId stream) const {
    const auto found = streams_.find(stream);
    return found == streams_.end() ? nullptr : &found->second;
}

std::vector<StreamTable::View> StreamTable::open_streams() const {
    std::vector<View> views;
    views.reserve(streams_.size());
    for (const auto& [id, entry] : streams_) {
        views.push_back({id, entry.name, entry.endpoint, figures_of(*entry.stream, entry.shares)});
    }
    return views;
}

std::optional<StreamTable::View> StreamTable::find(StreamId stream) const {
    const Entry* entry = entry_of(stream);
    if (entry == nullptr) {
        return std::nullopt;
    }
    return View{stream, entry->name, entry->endpoint, figures_of(*entry->stream, entry->shares)};
}

StreamTable::Figures StreamTable::figures_of(const Stream& stream, const Shares& shares) {
    const StreamCounters& own = stream.counters;
    Figures figures{.packets_in = own.packets_in.read(),
                    .bytes_in = own.bytes_in.read(),
                    .copies = own.copies.read() + shares.gone.copies,
                    .copy_bytes = own.copy_bytes.read() + shares.gone.copy_bytes,
                    .dropped = own.dropped.read() + shares.gone.dropped,
                    .ring_packets = own.ring_packets.read(),
                    .ring_bytes = own.ring_bytes.read()};
    for (const Share& share : shares.open) {
        const StreamCounters& its = share.stream->counters;
        figures.copies += its.copies.read();
        figures.copy_bytes += its.copy_bytes.read();
        figures.dropped += its.dropped.read();
    }
    return figures;
}

const FlowCounters* StreamTable::counters_of(StreamId stream, FlowId flow) const {
    const Entry* entry = entry_of(stream);
    if (entry == nullptr) {
        return nullptr;
    }
    const auto found = entry->flows.find(flow);
    return found == entry->flows.end() ? nullptr : &found->second.record->counters;
}

std::uint64_t StreamTable::copy_bytes() const {
    std::uint64_t bytes = closed_copy_bytes_;
    for (const auto& [id, entry] : streams_) {
        bytes += figures_of(*entry.stream, entry.shares).copy_bytes;
    }
    return bytes;
}

bool StreamTable::has_settled() const {
    const bool opened = std::ranges::all_of(
        streams_, [](const auto& one) { return one.second.phase == Phase::open; });
    const bool applied = std::ranges::all_of(workers_, [](const WorkerCommands& worker) {
        return worker.has_applied(worker.next() - 1);
    });
    const bool filled = std::ranges::all_of(streams_, [](const auto& one) {
        return std::ranges::all_of(one.second.shares.open, [](const Share& share) {
            return share.stage == ShareStage::fed && share.stream->progress.complete.read() != 0;
        });
    });
    return opened && applied && filled && closing_.empty();
}

std::uint8_t StreamTable::owner_of(StreamId stream) const {
    const Entry* entry = entry_of(stream);
    return entry == nullptr ? std::uint8_t{0} : entry->stream->owner;
}

}  // namespace penstock
