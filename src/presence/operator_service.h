#pragma once

#include "presence/core_thread.h"
#include "presence/peer_service.h"

#include <memory>

namespace grpc {
class Service;
}

namespace penstock::presence {

/// The gRPC edge towards operators (penstockctl): every question is a query run on the core thread.
class OperatorService {
  public:
    OperatorService(CoreThread& core, const ByteCounters& bytes);
    /// All calls must have ended (the gRPC server is shut down).
    ~OperatorService();
    OperatorService(const OperatorService&) = delete;
    OperatorService& operator=(const OperatorService&) = delete;

    /// To be registered with the server. Owns: it stays this object's.
    [[nodiscard]] grpc::Service* service();

  private:
    class Service;
    std::unique_ptr<Service> service_;
};

}  // namespace penstock::presence
