#pragma once

#include "base/net_address.h"
#include "presence/state.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <optional>
#include <string>
#include <vector>

namespace penstock::presence {

/// Everything penstock-presence is told at start; constant afterwards. The comment names the
/// option; units and ranges stand in config.cc, where --help and the check come from.
struct Config {
    Endpoint listen;  // --listen; port 0: chosen by the system
    TlsFiles tls;     // --tls-ca --tls-cert --tls-key: how we are called; none: in plaintext
    // --store: of one presence server, a file ("": default_store_path(), whose directory is made if
    // need be), or of several, etcd.
    std::string store;
    std::vector<std::string> etcd;  // HOST:PORT of its members; none: the store is a file
    TlsFiles etcd_tls;              // --etcd-ca --etcd-cert --etcd-key; none: plaintext
    std::string etcd_prefix;        // of the keys, without the last '/'
    std::string advertise;          // --advertise; "": what is listened at
    Settings settings;              // --recent-period --close-after --utilisation-limit --reserve
                        // --rebalance --ticket-lifetime --streams --consumers --server-streams
                        // --server-consumers --server-rate --stream-consumers

    std::string effective;  // the options in force as INI text, for the log
};

/// Reads argv, the environment and --config. nullopt: --help or --version has been answered.
/// Errors: invalid_argument, one line naming the option, what is wrong, and what to write instead.
/// Thread: main, at start.
Result<std::optional<Config>> parse_config(int argc, const char* const* argv);

}  // namespace penstock::presence
