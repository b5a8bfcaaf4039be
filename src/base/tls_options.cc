#include "base/tls_options.h"

namespace penstock {

void add_caller_tls_options(Options& options, TlsFiles& files) {
    options.text("tls-ca",
                 files.authority,
                 "FILE",
                 "call presence by TLS, and believe that it is presence if this authority says so");
    options.text("tls-cert",
                 files.certificate,
                 "FILE",
                 "certificate that we show to presence, for one that demands it");
    options.text("tls-key", files.key, "FILE", "private key of --tls-cert");
}

}  // namespace penstock
