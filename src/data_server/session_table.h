#pragma once

#include "base/net_address.h"
#include "wire/ticket.h"

#include <penstock/ids.h>

#include <cstdint>
#include <list>
#include <map>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace penstock {

/// A client that has proven its address: the publisher or a consumer of one stream.
struct ClientSession {
    FlowId flow;
    StreamId stream;
    PeerId peer;
    TicketRole role = TicketRole::consume;
    SessionKey key;
    std::uint64_t ticket_nonce = 0;
    Endpoint address;  // the client's
    Endpoint local;    // ours: data address, UDP port of the stream
    MacAddress next_hop;
    std::uint8_t port = 0;            // index of the NIC port
    std::uint64_t next_sequence = 0;  // lowest not seen yet
    std::uint64_t moved_at_ms = 0;
    std::uint64_t lease_end_ms = 0;
};

/// All sessions: by flow, by who they belong to, by stream, and in the order their leases end.
/// Every operation is O(log n) at most. References stay valid until their session is removed.
/// Thread: control.
class SessionTable {
  public:
    /// The lease must not end before that of any other session (all leases are equally long).
    /// There must be none of the same flow, nor of the same stream, peer and role.
    ClientSession& add(const ClientSession& session);
    void remove(FlowId flow);
    /// A lease that ends no earlier than any other.
    void renew(ClientSession& session, std::uint64_t lease_end_ms);

    [[nodiscard]] ClientSession* find(FlowId flow);
    [[nodiscard]] ClientSession* find(StreamId stream, PeerId peer, TicketRole role);
    /// The session whose lease ends next; nullptr if there is none.
    [[nodiscard]] ClientSession* next_to_end();
    /// In no particular order; valid until the next add or remove.
    [[nodiscard]] std::span<const FlowId> of_stream(StreamId stream) const;
    [[nodiscard]] std::size_t size() const noexcept { return sessions_.size(); }
    /// Calls `visit(ClientSession&)` for each.
    template <typename Visit>
    void for_each(Visit visit) {
        for (auto& [flow, node] : sessions_) {
            visit(node.session);
        }
    }

  private:
    using Owner = std::tuple<StreamId, PeerId, TicketRole>;
    struct Node {
        ClientSession session;
        std::list<FlowId>::iterator lease;
        std::size_t index_in_stream;
    };
    struct Hash {
        // Flow ids are our own random numbers: nobody else can make them collide.
        std::size_t operator()(FlowId flow) const noexcept { return flow.value; }
        std::size_t operator()(StreamId stream) const noexcept { return stream.value; }
    };

    static Owner owner_of(const ClientSession& session) {
        return {session.stream, session.peer, session.role};
    }

    std::unordered_map<FlowId, Node, Hash> sessions_;
    std::map<Owner, FlowId> by_owner_;
    std::unordered_map<StreamId, std::vector<FlowId>, Hash> by_stream_;
    std::list<FlowId> by_lease_;  // the first ends first
};

}  // namespace penstock
