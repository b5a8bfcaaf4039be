#pragma once

#include "presence/core_thread.h"
#include "presence/peer_service.h"
#include "rpc/grpc_server.h"

#include <memory>
#include <string_view>
#include <unordered_set>

namespace penstock::presence {

/// The gRPC edge towards operators (penstockctl): every question is a query of the core's state.
/// Thread of all: core.
class OperatorService {
  public:
    /// Both must outlive this.
    OperatorService(CoreThread& core, const ByteCounters& bytes);

    /// The handler of a new call; nullptr: it is no method of operators, or `call` is refused.
    std::unique_ptr<control::CallHandler> open(std::string_view method, control::ServerCall& call);

    /// Breaks off calls that ask nothing, or do not take their answers. Once a second.
    void sweep(MonotonicTime now);

    static constexpr std::size_t kCallsMax = 128;

  private:
    class OperatorCall;
    template <typename Request, typename Reply, typename Ask>
    class Question;
    class Command;
    class EventStream;
    using Handler = std::unique_ptr<control::CallHandler>;

    template <typename Request, typename Reply, typename Query>
    Handler ask(control::ServerCall& call, Query query);
    Handler list_servers(control::ServerCall& call);
    Handler list_streams(control::ServerCall& call);
    Handler list_consumers(control::ServerCall& call);
    Handler explain(control::ServerCall& call);
    Handler status(control::ServerCall& call);
    Handler plan_rebalance(control::ServerCall& call);

    CoreThread& core_;
    const ByteCounters& bytes_;
    std::unordered_set<OperatorCall*> calls_;
};

}  // namespace penstock::presence
