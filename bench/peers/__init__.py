"""What somebody would run in Penstock's place, and the limits below it, each on one CPU.

    packages      the Debian packages a peer is in, installed when they are missing
    capture_file  the packets that net_pcap plays to peers without end
    testpmd       DPDK's forwarder: what the driver and the mbuf machinery alone cost
    open_vswitch  Open vSwitch with DPDK: one flow with N rewritten outputs
    wire          a veth whose far end drops everything
    socket_relay  sendmmsg, or io_uring, over that veth (socket_relay.cc is the program)

Run as root, with two CPUs and 512 hugepages of 2 MiB. `bench/peers/run PEER` runs one alone.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))


class PeerError(Exception):
    """A peer could not be installed, started or measured; the message says what and why."""
