#include "dpdk/port.h"

#include "dpdk/packet_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_ethdev.h>

namespace penstock {
namespace {

using testing::HasSubstr;

TEST(Devargs, AfPacketGetsAQueuePairPerWorkerAndARingForBursts) {
    EXPECT_EQ(complete_devargs("net_af_packet0,iface=data0", 2, 1500),
              "net_af_packet0,iface=data0,qpairs=2,blocksz=262144,framesz=2048,framecnt=4096,"
              "qdisc_bypass=1");
}

TEST(Devargs, AfPacketsFramesHoldTheMtu) {
    EXPECT_THAT(complete_devargs("net_af_packet0,iface=data0", 1, 9000),
                HasSubstr(",blocksz=1163264,framesz=9088,framecnt=4096,"));
}

TEST(Devargs, AfXdpGetsAQueuePerWorker) {
    EXPECT_EQ(complete_devargs("net_af_xdp0,iface=data0", 1, 1500),
              "net_af_xdp0,iface=data0,start_queue=0,queue_count=1");
}

TEST(Devargs, AfXdpBecomesADevicePerWorker) {
    EXPECT_EQ(devices_of("net_af_xdp0,iface=data0", 2, 1500),
              (std::vector<std::string>{"net_af_xdp0,iface=data0,start_queue=0,queue_count=1",
                                        "net_af_xdp0_1,iface=data0,start_queue=1,queue_count=1"}));
    EXPECT_EQ(devices_of("net_af_xdp0,iface=data0,queue_count=2", 2, 1500).size(), 1);
    EXPECT_EQ(devices_of("net_af_packet0,iface=data0", 2, 1500).size(), 1);
}

TEST(Devargs, AnInterfaceNeedsAQueuePerAfXdpDevice) {
    EXPECT_TRUE(check_interface_queues("net_af_xdp0,iface=lo", 1));
    EXPECT_TRUE(check_interface_queues("net_af_packet0,iface=lo", 64));
    const auto checked = check_interface_queues("net_af_xdp0,iface=lo", 64);
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().message,
                HasSubstr("interface lo has 1 RX queue(s) for 64 workers"));
}

TEST(Devargs, NameTheInterfaceTheyShareWithLinux) {
    EXPECT_EQ(interface_of("net_af_packet0,iface=data0,qpairs=1"), "data0");
    EXPECT_EQ(interface_of("net_af_xdp0,start_queue=1,iface=data1"), "data1");
    EXPECT_EQ(interface_of("net_null0,copy=1"), "");
}

TEST(Devargs, WhatTheOperatorSaysStands) {
    EXPECT_EQ(
        complete_devargs("net_af_packet0,iface=data0,qpairs=4,framecnt=64,qdisc_bypass=0", 2, 1500),
        "net_af_packet0,iface=data0,qpairs=4,framecnt=64,qdisc_bypass=0");
    EXPECT_EQ(complete_devargs("net_af_xdp0,iface=data0,start_queue=3,queue_count=2", 1, 1500),
              "net_af_xdp0,iface=data0,start_queue=3,queue_count=2");
}

TEST(Devargs, OtherDriversAreLeftAlone) {
    EXPECT_EQ(complete_devargs("net_null0", 2, 1500), "net_null0");
    EXPECT_EQ(complete_devargs("0000:01:00.0", 2, 1500), "0000:01:00.0");
}

TEST(Devargs, NameStandsBeforeTheFirstComma) {
    EXPECT_EQ(device_name("net_null0,copy=1"), "net_null0");
    EXPECT_EQ(device_name("0000:01:00.0"), "0000:01:00.0");
}

TEST(CopyModes, FollowTheDriverAndWhatTheOperatorAsks) {
    EXPECT_EQ(copy_mode_of("mlx5_pci", {}).inline_payload_bytes_max, 256U);
    EXPECT_EQ(copy_mode_of("net_af_packet", {}).inline_payload_bytes_max, 256U);
    EXPECT_EQ(copy_mode_of("net_ena", {}).inline_payload_bytes_max, 512U);
    EXPECT_EQ(copy_mode_of("net_virtio", {}).inline_payload_bytes_max, 512U);
    EXPECT_EQ(copy_mode_of("net_gve", {}).inline_payload_bytes_max, 65535U);
    EXPECT_EQ(copy_mode_of("mlx5_pci", 1000).inline_payload_bytes_max, 1000U);
}

TEST(CopyModes, WhatADriverCannotDoIsNotAskedOfIt) {
    EXPECT_EQ(copy_mode_of("net_af_xdp", 0).inline_payload_bytes_max, 65535U);
    EXPECT_EQ(copy_mode_of("net_gve", 256).inline_payload_bytes_max, 65535U);
    // Padding drivers would write into the shared payload.
    EXPECT_EQ(copy_mode_of("net_bnxt", 0).inline_payload_bytes_max, 64U);
}

TEST(CopyModes, OnlyAfXdpSendsFromThePoolItReceivesInto) {
    EXPECT_TRUE(copies_from_rx_pool("net_af_xdp"));
    EXPECT_FALSE(copies_from_rx_pool("net_gve"));
    EXPECT_FALSE(copies_from_rx_pool("mlx5_pci"));
}

class NullPort : public testing::Test {
  protected:
    NullPort() : pool_(PacketPool::create("port_test", 2047, 2176, 0).value()) {
        EXPECT_EQ(rte_eal_hotplug_add("vdev", "net_null_port_test", ""), 0);
        options_.devargs = "net_null_port_test";
    }
    ~NullPort() override { rte_eal_hotplug_remove("vdev", "net_null_port_test"); }

    PacketPool pool_;
    PortOptions options_;
};

TEST_F(NullPort, RunsAndSaysWhatItIs) {
    Result<Port> port = Port::open(options_, pool_.get());
    ASSERT_TRUE(port.ok()) << port.error().message;
    EXPECT_EQ(port->info().driver, "net_null");
    EXPECT_EQ(port->info().name, "net_null_port_test");
    EXPECT_EQ(port->info().interface_index, 0U);
    EXPECT_EQ(port->copy_mode().inline_payload_bytes_max, 256U);
    EXPECT_EQ(port->link_bits_per_second(), 10'000'000'000U);
    ASSERT_TRUE(port->start().ok());
    EXPECT_EQ(port->link(), LinkState::unknown) << "its driver says up whatever happens";
    EXPECT_FALSE(port->losses().missed.has_value());
}

TEST_F(NullPort, RefusesMoreWorkersThanQueuesNamingTheLimit) {
    options_.workers = 5000;
    const Result<Port> port = Port::open(options_, pool_.get());
    ASSERT_FALSE(port.ok());
    EXPECT_THAT(port.error().message, HasSubstr("port net_null_port_test (net_null)"));
    EXPECT_THAT(port.error().message, HasSubstr("1024 RX and 1024 TX queues"));
    EXPECT_THAT(port.error().message, HasSubstr("--workers"));
}

TEST_F(NullPort, RefusesAnMtuThatDoesNotFitThePool) {
    options_.mtu = 9000;
    const Result<Port> port = Port::open(options_, pool_.get());
    ASSERT_FALSE(port.ok());
    EXPECT_THAT(port.error().message, HasSubstr("MTU of 9000"));
}

TEST(AbsentPort, IsNamedWithWhatToCheck) {
    PortOptions options;
    options.devargs = "net_null_nowhere,copy=1";
    const Result<PortInfo> info = Port::describe(options);
    ASSERT_FALSE(info.ok());
    EXPECT_EQ(info.error().code, ErrorCode::not_found);
    EXPECT_THAT(info.error().message, HasSubstr("--port net_null_nowhere,copy=1"));
}

}  // namespace
}  // namespace penstock
