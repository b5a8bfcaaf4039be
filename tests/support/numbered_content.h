#pragma once

#include "support/packet_builder.h"
#include "support/worker_world.h"

#include <cstdint>
#include <map>
#include <vector>

namespace penstock {

inline constexpr std::size_t kNumberedPayloadBytes = 200;

/// Content that carries its own number in its first two bytes.
Bytes numbered(unsigned number, std::uint16_t udp_port = WorkerWorld::kFirstStreamPort);

/// The packets first, first + 1, ... last arrive.
void receive_numbers(WorkerWorld& world, unsigned first, unsigned last);

/// first, first + 1, ... last.
std::vector<unsigned> numbers(unsigned first, unsigned last);

/// Which consumer each copy is for, in order of sending.
std::vector<unsigned> consumers_of(const std::vector<Bytes>& frames);

/// The numbers each consumer got, in order. Expects every copy to be right in all it says.
std::map<unsigned, std::vector<unsigned>> numbers_by_consumer(const std::vector<Bytes>& frames);

/// Adds the numbers of further copies to what each consumer has got.
void collect_numbers(const std::vector<Bytes>& frames,
                     std::map<unsigned, std::vector<unsigned>>& got);

}  // namespace penstock
