#pragma once

#include "base/options.h"

#include <penstock/tls.h>

namespace penstock {

/// Declares --tls-ca, --tls-cert and --tls-key of a program that calls presence.
void add_caller_tls_options(Options& options, TlsFiles& files);

}  // namespace penstock
