#pragma once

#include <penstock/publisher.h>
#include <penstock/result.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace penstock {

enum class SourceKind { input, udp, pcap, exec, generate };

/// What `penstock-publish` is to do, judged as a whole.
struct PublishOptions {
    PublisherOptions publisher;
    SourceKind source = SourceKind::generate;
    std::string from;  // of --input, --udp, --pcap, --exec
    std::uint64_t bits_per_second = 0;
    std::size_t payload_bytes = 1316;
    bool loop = false;
    std::string record;  // "": do not
    bool json = false;
};

/// Errors: invalid_argument, one line. nullopt after --help or --version.
Result<std::optional<PublishOptions>> parse_publish_options(int argc, const char* const* argv);

}  // namespace penstock
