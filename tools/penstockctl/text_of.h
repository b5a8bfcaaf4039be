#pragma once

#include "presence.pb.h"

#include <cstdint>
#include <string>

/// How single values are written for people and in JSON.
namespace penstock::ctl {

std::string text_of(const v1::Endpoint& endpoint);  // "10.0.0.1:5000"; "-" if it is not there
std::string text_of_address(const std::string& bytes);
std::string text_of(const v1::Measure& measure);          // "0.125"; "-" if not supported
std::string text_of_id(std::uint64_t id);                 // 16 hexadecimal digits
std::string text_of_ms(std::uint64_t ms);                 // "250ms", "1.5s"
std::string text_of_share(double share);                  // "0.125"
std::string text_of_rate(std::uint64_t bits_per_second);  // "20Mbit"; "-" for 0
std::string text_or_dash(const std::string& text);        // "-" for ""

}  // namespace penstock::ctl
