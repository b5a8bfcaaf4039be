#include "base/protocol.h"

namespace penstock {

constinit const Protocols kProtocols{.newest = 1, .oldest = 1};

}  // namespace penstock
