#include "dpdk/eal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_log.h>

#include <cstdio>
#include <string>
#include <vector>

namespace penstock {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Not;

TEST(EalArguments, HugepagesAreTakenInMemoryAndLeaveNoFile) {
    const auto arguments = eal_arguments({.program = "p",
                                          .memory_bytes = 256U << 20U,
                                          .no_huge = false,
                                          .devices = {},
                                          .worker_cpus = {1}},
                                         "prefix",
                                         {0, 1});
    EXPECT_EQ(arguments.front(), "p");
    EXPECT_THAT(arguments, AllOf(Contains("--in-memory"), Contains("--no-telemetry")));
    EXPECT_THAT(arguments, Not(Contains("--no-huge")));
    EXPECT_THAT(arguments, AllOf(Contains("-m"), Contains("256")));
}

TEST(EalArguments, PlainMemoryGoesWithoutSharedFiles) {
    const auto arguments = eal_arguments({.program = "p",
                                          .memory_bytes = 64U << 20U,
                                          .no_huge = true,
                                          .devices = {},
                                          .worker_cpus = {}},
                                         "prefix",
                                         {0});
    EXPECT_THAT(arguments, AllOf(Contains("--no-huge"), Contains("--no-shconf")));
    EXPECT_THAT(arguments, Contains("--file-prefix=prefix"));
    EXPECT_THAT(arguments, Not(Contains("--in-memory")));
}

TEST(EalArguments, MainRunsAnywhereAndWorkersArePinned) {
    const auto arguments = eal_arguments({.program = "p",
                                          .memory_bytes = 1U << 20U,
                                          .no_huge = true,
                                          .devices = {},
                                          .worker_cpus = {3, 2}},
                                         "prefix",
                                         {0, 2, 3});
    EXPECT_THAT(arguments, Contains("--lcores=0@(0,2,3),1@3,2@2"));
    EXPECT_EQ(lcore_of_worker(0), 1U);
}

TEST(EalArguments, DevicesGoByWhatTheyAre) {
    const auto arguments =
        eal_arguments({.program = "p",
                       .memory_bytes = 1U << 20U,
                       .no_huge = true,
                       .devices = {"0000:01:00.0,txqs_min_inline=0", "net_null0,copy=1"},
                       .worker_cpus = {}},
                      "prefix",
                      {0});
    EXPECT_THAT(arguments, Contains("0000:01:00.0,txqs_min_inline=0"));
    EXPECT_THAT(arguments, AllOf(Contains("--allow"), Contains("--vdev")));
    EXPECT_THAT(arguments, Not(Contains("--no-pci")));
    EXPECT_THAT(arguments, Not(Contains("--iova-mode=va")));
}

TEST(EalArguments, NoNicIsTouchedUnlessOneIsNamed) {
    const auto arguments = eal_arguments({.program = "p",
                                          .memory_bytes = 1U << 20U,
                                          .no_huge = true,
                                          .devices = {"net_null0"},
                                          .worker_cpus = {}},
                                         "prefix",
                                         {0});
    EXPECT_THAT(arguments, AllOf(Contains("--no-pci"), Contains("--iova-mode=va")));
}

TEST(EalDevices, PciAddressesAreToldFromVirtualDevices) {
    EXPECT_TRUE(is_pci_device("0000:01:00.0"));
    EXPECT_TRUE(is_pci_device("01:00.0,x=y"));
    EXPECT_FALSE(is_pci_device("net_null0"));
    EXPECT_FALSE(is_pci_device("net_memif0,socket=a:b"));
    EXPECT_FALSE(is_pci_device("net_pcap0,rx_pcap=/a:b"));
    EXPECT_FALSE(is_pci_device("decade"));
}

TEST(DpdkErrors, FirstOneIsKeptUntilTaken) {
    take_dpdk_error();
    rte_log(RTE_LOG_INFO, RTE_LOGTYPE_EAL, "EAL: all is well\n");
    EXPECT_EQ(take_dpdk_error(), "");
    rte_log(RTE_LOG_ERR, RTE_LOGTYPE_EAL, "EAL: the first\n");
    rte_log(RTE_LOG_ERR, RTE_LOGTYPE_EAL, "EAL: the last\n");
    rte_log(RTE_LOG_NOTICE, RTE_LOGTYPE_EAL, "EAL: well, then\n");
    EXPECT_EQ(take_dpdk_error(), "EAL: the first");
    EXPECT_EQ(take_dpdk_error(), "");
}

TEST(CaughtOutput, IsKeptFromTheTerminalAndItsLastLineTold) {
    testing::internal::CaptureStderr();
    {
        const CaughtOutput caught;
        EXPECT_EQ(caught.last_line(), "");
        std::fprintf(stderr, "libbpf: one\nlibbpf: two\n\n");
        std::fprintf(stdout, "three\n");
        EXPECT_EQ(caught.last_line(), "three");
    }
    std::fprintf(stderr, "after\n");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "after\n");
}

}  // namespace
}  // namespace penstock
