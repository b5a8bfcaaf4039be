#include "data_server/session_table.h"

#include "base/check.h"

namespace penstock {

ClientSession& SessionTable::add(const ClientSession& session) {
    const auto lease = by_lease_.insert(by_lease_.end(), session.flow);
    auto& flows = by_stream_[session.stream];
    const auto [node, added] = sessions_.emplace(session.flow, Node{session, lease, flows.size()});
    PENSTOCK_CHECK(added);
    flows.push_back(session.flow);
    const bool first = by_owner_.emplace(owner_of(session), session.flow).second;
    PENSTOCK_CHECK(first);
    return node->second.session;
}

void SessionTable::remove(FlowId flow) {
    const auto found = sessions_.find(flow);
    PENSTOCK_CHECK(found != sessions_.end());
    const Node& node = found->second;
    const auto stream = by_stream_.find(node.session.stream);
    auto& flows = stream->second;
    flows[node.index_in_stream] = flows.back();
    sessions_.at(flows.back()).index_in_stream = node.index_in_stream;
    flows.pop_back();
    if (flows.empty()) {
        by_stream_.erase(stream);
    }
    by_owner_.erase(owner_of(node.session));
    by_lease_.erase(node.lease);
    sessions_.erase(found);
}

void SessionTable::renew(ClientSession& session, std::uint64_t lease_end_ms) {
    session.lease_end_ms = lease_end_ms;
    by_lease_.splice(by_lease_.end(), by_lease_, sessions_.at(session.flow).lease);
}

ClientSession* SessionTable::find(FlowId flow) {
    const auto found = sessions_.find(flow);
    return found == sessions_.end() ? nullptr : &found->second.session;
}

ClientSession* SessionTable::find(StreamId stream, PeerId peer, TicketRole role) {
    const auto found = by_owner_.find({stream, peer, role});
    return found == by_owner_.end() ? nullptr : find(found->second);
}

ClientSession* SessionTable::next_to_end() {
    return by_lease_.empty() ? nullptr : find(by_lease_.front());
}

std::span<const FlowId> SessionTable::of_stream(StreamId stream) const {
    const auto found = by_stream_.find(stream);
    return found == by_stream_.end() ? std::span<const FlowId>{}
                                     : std::span<const FlowId>(found->second);
}

}  // namespace penstock
