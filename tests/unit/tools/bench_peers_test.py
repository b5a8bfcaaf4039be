"""What bench/peers reads from its peers' output, as it was recorded, and what it tells them."""

import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

from peers import PeerError  # noqa: E402
from peers.capture_file import PACKETS, capture_octets  # noqa: E402
from peers.open_vswitch import relay_flow, sent_of  # noqa: E402
from peers.packages import missing_of  # noqa: E402
from peers.socket_relay import interval_of  # noqa: E402
from peers.testpmd import rates_of  # noqa: E402
from peers.wire import arrived_of  # noqa: E402

TESTPMD = """testpmd> show port stats 0

  ######################## NIC statistics for port 0  ########################
  RX-packets: 8412544    RX-missed: 0          RX-bytes:  538402816
  RX-errors: 0
  RX-nombuf:  0
  TX-packets: 8412544    TX-errors: 0          TX-bytes:  538402816

  Throughput (since last show)
  Rx-pps:            0          Rx-bps:            0
  Tx-pps:            0          Tx-bps:            0
  ############################################################################
testpmd> show port stats 0
  Throughput (since last show)
  Rx-pps:     48265400          Rx-bps:  24711884800
  Tx-pps:     48265392          Tx-bps:  24711880704
"""
DUMP_PORTS = """OFPST_PORT reply (OF1.3) (xid=0x2): 1 ports
  port  p2: rx pkts=0, bytes=0, drop=0, errs=0, frame=0, over=0, crc=0
           tx pkts=14406848, bytes=19564499584, drop=0, errs=0, coll=0
           duration=2.018s
"""
COUNTERS = """{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5",
"json_schema_version": 1}}, {"counter": {"family": "netdev", "name": "arrived", "table": "sink",
"handle": 2, "packets": 4988800, "bytes": 6705000000}}]}"""


def test_the_newest_rates_of_testpmd_count():
    assert rates_of(TESTPMD) == (48265400, 48265392)


def test_testpmd_without_rates_is_an_error():
    with pytest.raises(PeerError, match="no rates"):
        rates_of("testpmd> Command not found\n")


def test_packets_sent_by_open_vswitch_are_read():
    assert sent_of(DUMP_PORTS) == 14406848


def test_an_answer_of_open_vswitch_without_counts_is_quoted():
    with pytest.raises(PeerError, match="is not a bridge"):
        sent_of("ovs-ofctl: br0 is not a bridge or a socket\n")


def test_open_vswitch_rewrites_every_output_to_an_address_and_port_of_its_own():
    flow = relay_flow(300)
    outputs = flow.partition("actions=")[2].split(",output:2")[:-1]
    assert len(set(outputs)) == 300
    assert outputs[299] == (
        ",set_field:02:00:00:00:01:2b->eth_dst,set_field:10.1.1.43->ip_dst,set_field:10299->udp_dst"
    )


def test_an_interval_of_socket_relay_is_read():
    line = '{"began_ns":17000000123,"copies":43904,"copies_per_second":438871.33}'
    assert interval_of(line) == (17000000123, 438871.33)


@pytest.mark.parametrize("line", ["", "{", "{}", "[]", '{"began_ns":1,"copies_per_second":null}'])
def test_what_is_no_interval_of_socket_relay_is_an_error(line):
    with pytest.raises(PeerError, match="no interval"):
        interval_of(line)


def test_the_far_end_s_counter_is_read():
    assert arrived_of(COUNTERS) == 4988800


def test_a_far_end_without_a_counter_is_an_error():
    with pytest.raises(PeerError, match="no counter"):
        arrived_of('{"nftables": [{"metainfo": {}}]}')


def test_only_installed_packages_are_not_missing():
    listing = "installed dpdk\nconfig-files gnuplot-nox\nnot-installed valgrind\n"
    wanted = ["dpdk", "gnuplot-nox", "valgrind", "never-heard-of"]
    assert missing_of(wanted, listing) == ["gnuplot-nox", "valgrind", "never-heard-of"]


def test_a_capture_has_as_many_packets_as_net_pcap_is_to_play():
    capture = capture_octets(22)
    assert struct.unpack_from("<IHH", capture) == (0xA1B2C3D4, 2, 4)
    record_bytes = 16 + 42 + 22
    assert len(capture) == 24 + PACKETS * record_bytes
    last = capture[-record_bytes:]
    assert struct.unpack_from("<II", last, 8) == (64, 64)
    assert last[16 + 42 :][:8] == (PACKETS - 1).to_bytes(8, "big")
