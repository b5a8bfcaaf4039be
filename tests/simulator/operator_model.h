#pragma once

#include "presence/durable.h"
#include "rpc/operator_messages.h"
#include "simulator/node.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock::simulator {

class PresenceModel;

/// An operator with penstockctl: wants data servers cordoned, drained or in use again, asks whoever
/// leads, and asks again until an answer settles it.
class OperatorModel {
  public:
    OperatorModel(Surroundings& around,
                  const std::vector<std::unique_ptr<PresenceModel>>& presences)
        : around_(around), presences_(presences) {}

    /// From now on; what was wanted of the same data server before is not any more.
    void want(const std::string& server, control::ServerDuty duty, milliseconds deadline);
    /// All data servers in use.
    void want_all_back();
    /// The answer of a presence server that leads by this epoch, when `facts` are durable.
    void on_answer(std::uint64_t question,
                   const control::CommandResult& result,
                   std::uint64_t epoch,
                   const presence::Durable& facts);
    /// What was done stays: to be called often.
    void watch(const presence::Durable& facts) const;

  private:
    enum class Standing : std::uint8_t { asked, done, refused };
    struct Wish {
        control::ServerCommand command;
        std::uint64_t question = 0;  // the newest about it
        Standing standing = Standing::asked;
    };

    void ask(const std::string& server, std::uint64_t question);
    static bool is_in(const presence::Durable& facts, const control::ServerCommand& command);

    Surroundings& around_;
    const std::vector<std::unique_ptr<PresenceModel>>& presences_;
    std::map<std::string, Wish> wishes_;  // by data server
    std::uint64_t questions_ = 0;
};

}  // namespace penstock::simulator
