#include "base/protocol.h"

namespace penstock {

/// What the version after this one speaks: linked in the place of base/protocol.cc.
constinit const Protocols kProtocols{.newest = 2, .oldest = 1};

}  // namespace penstock
