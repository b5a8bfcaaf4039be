#pragma once

#include "base/net_address.h"
#include "base/spsc_ring.h"
#include "data_path/flow_group.h"

#include <penstock/ids.h>

#include <cstdint>
#include <variant>

namespace penstock {

struct Stream;

/// Control → worker. Memory named by a command belongs to the worker from the moment the command is
/// sent until the command that takes it away has been applied (WorkerCounters::applied_commands).
/// Commands that name a stream go to its owner, except OpenStream and CloseStream, which go to all
/// workers: open at the owner first, close at the owner last. A share is a stream owned by its
/// helper, to whom the commands for flows in it go.

/// From now on `stream->udp_port` is this stream's.
struct OpenStream {
    Stream* stream;
};
/// No longer. The owner drops what the ring holds and forgets every flow.
struct CloseStream {
    Stream* stream;
};
/// A share of a stream begins at its helper.
struct OpenShare {
    Stream* share;
};
/// To the owner of the stream: it gives the share what its ring holds, and all that comes.
struct FeedShare {
    Stream* stream;
    Stream* share;
};
/// To the owner of the stream: no longer. CloseStream says so for all its shares.
struct StopShare {
    Stream* stream;
    Stream* share;
};
/// To the helper, once the owner has applied StopShare or CloseStream: as CloseStream.
struct CloseShare {
    Stream* share;
};
/// Content is accepted from this address only, and session messages from it only if they carry
/// `flow`. An unspecified address (default) accepts from nobody.
struct SetPublisher {
    Stream* stream;
    Endpoint address;
    FlowId flow;
};
/// Room for more flows on one port: see FlowGroup::grow(). The memory it replaces, of few flows or
/// of the old directory, comes back by applied_commands.
struct GrowFlows {
    Stream* stream;
    std::uint8_t port;
    FlowChunk chunk;
    FlowChunk* directory;
    std::uint32_t directory_chunks;
};
/// A consumer from now on: first its history, then every packet. Control has made room before.
struct AddFlow {
    Stream* stream;
    FlowRecord* flow;
    FlowHeaders headers;
    std::uint8_t port;
    std::uint32_t history_packets;  // as HistoryRequest
    std::uint32_t history_ms;
};
struct RemoveFlow {
    Stream* stream;
    FlowRecord* flow;
};
/// New headers: the consumer's address or its next hop changed.
struct UpdateFlow {
    Stream* stream;
    FlowRecord* flow;
    FlowHeaders headers;
};

using WorkerCommand = std::variant<OpenStream,
                                   CloseStream,
                                   OpenShare,
                                   FeedShare,
                                   StopShare,
                                   CloseShare,
                                   SetPublisher,
                                   GrowFlows,
                                   AddFlow,
                                   RemoveFlow,
                                   UpdateFlow>;

inline constexpr std::size_t kMailboxCommands = 1024;

/// Applied between bursts, at most kCommandsPerIteration of them at a time.
using Mailbox = SpscRing<WorkerCommand>;

}  // namespace penstock
