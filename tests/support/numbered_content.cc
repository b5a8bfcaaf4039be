#include "support/numbered_content.h"

#include <gtest/gtest.h>

#include <numeric>

namespace penstock {
namespace {

unsigned consumer_number(const ParsedPacket& copy) {
    return copy.destination.ip.v4() - WorkerWorld::consumer(0).ip.v4();
}

}  // namespace

Bytes numbered(unsigned number, std::uint16_t udp_port) {
    PacketBuilder builder = WorkerWorld::content(kNumberedPayloadBytes, number, udp_port);
    Bytes payload = builder.payload_bytes();
    payload[0] = static_cast<std::uint8_t>(number >> 8U);
    payload[1] = static_cast<std::uint8_t>(number);
    return builder.payload(payload).bytes();
}

void receive_numbers(WorkerWorld& world, unsigned first, unsigned last) {
    for (unsigned number = first; number <= last; ++number) {
        world.receive(numbered(number));
    }
}

std::vector<unsigned> numbers(unsigned first, unsigned last) {
    std::vector<unsigned> all(last - first + 1);
    std::iota(all.begin(), all.end(), first);
    return all;
}

std::vector<unsigned> consumers_of(const std::vector<Bytes>& frames) {
    std::vector<unsigned> consumers;
    consumers.reserve(frames.size());
    for (const Bytes& frame : frames) {
        consumers.push_back(consumer_number(parse_packet(frame)));
    }
    return consumers;
}

std::map<unsigned, std::vector<unsigned>> numbers_by_consumer(const std::vector<Bytes>& frames) {
    std::map<unsigned, std::vector<unsigned>> numbers;
    for (const Bytes& frame : frames) {
        const ParsedPacket copy = parse_packet(frame);
        const unsigned number = std::uint32_t{copy.payload.at(0)} << 8U | copy.payload.at(1);
        EXPECT_TRUE(copy.ip_checksum_right && copy.udp_checksum_right && copy.lengths_right);
        EXPECT_EQ(frame.size(), numbered(number).size());
        EXPECT_EQ(copy.payload, parse_packet(numbered(number)).payload);
        numbers[consumer_number(copy)].push_back(number);
    }
    return numbers;
}

void collect_numbers(const std::vector<Bytes>& frames,
                     std::map<unsigned, std::vector<unsigned>>& got) {
    for (const auto& [consumer, more] : numbers_by_consumer(frames)) {
        got[consumer].insert(got[consumer].end(), more.begin(), more.end());
    }
}

}  // namespace penstock
