#pragma once

#include <string>

namespace penstock {

/// The files, all PEM, by which the two ends of a connection know each other. A caller reads them
/// anew for every connection, so renewed ones need no restart. All "": plaintext.
struct TlsFiles {
    std::string authority;    // whose signature the other end's certificate must bear
    std::string certificate;  // our own, followed by those between it and its authority; "": none
    std::string key;          // of our certificate; must be closed to all but its owner and group

    [[nodiscard]] bool any() const noexcept {
        return !authority.empty() || !certificate.empty() || !key.empty();
    }
};

}  // namespace penstock
