#pragma once

#include "dpdk/eal.h"

#include <gtest/gtest.h>

#include <optional>

namespace penstock {

/// DPDK's environment for a test program: plain memory, no devices. Once per program, by
/// PENSTOCK_TEST_WITH_DPDK() at namespace scope of one of its files.
class DpdkEnvironment : public testing::Environment {
  public:
    void SetUp() override {
        EalOptions options;
        options.program = "penstock-test";
        options.memory_bytes = 64U << 20U;
        options.no_huge = true;
        options.worker_cpus = {0};  // for tests that run a worker on a thread of its own
        auto started = Eal::start(options);
        ASSERT_TRUE(started.ok()) << started.error().message;
        eal_.emplace(std::move(started).value());
    }
    void TearDown() override { eal_.reset(); }

  private:
    std::optional<Eal> eal_;
};

}  // namespace penstock
