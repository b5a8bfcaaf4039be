#pragma once

#include "base/unique_fd.h"

#include <penstock/result.h>

#include <string>

namespace penstock {

/// Claims a Linux interface against other data servers, for as long as the descriptor is open: two
/// of them on one interface would both answer for it, which net_af_packet does not prevent. The
/// claim is the name of an abstract Unix socket, which ends with the process however that ends and
/// lives in one network namespace, as the index of the interface does.
/// Errors: already_exists; system. Source: unix(7), "Abstract sockets".
Result<UniqueFd> claim_interface(const std::string& interface, unsigned if_index);

}  // namespace penstock
