"""A veth between two namespaces whose far end drops: only sending is measured."""

import contextlib
import json
import tempfile

from world import CommandFailed, World, run, sweep

from . import PeerError

# At ingress, before Linux looks at an address; counted, so that no sender can claim too much.
_DROP_ALL = """
table netdev sink {{
    counter arrived {{ }}
    chain drop_all {{
        type filter hook ingress device {interface} priority 0; policy drop;
        counter name arrived
    }}
}}
"""


class Wire:
    """The near end is `interface` of the host `near`; `address` is at the far end."""

    interface = "data0"

    def __init__(self, near, far):
        self.near = near
        self.address = far.data_address
        self._far = far
        words = ["ip", "netns", "exec", far.namespace, "nft", "-f", "-"]
        run(words, stdin_text=_DROP_ALL.format(interface=self.interface))

    def arrived(self):
        """Packets that came out at the far end so far."""
        return arrived_of(self._far.run(["nft", "-j", "list", "counters"]).stdout)

    @contextlib.contextmanager
    def linux_sending(self):
        """For the time of the `with` block Linux has the near end: an address, the MAC of the far
        end, which answers no ARP, and checksum offload, which leaves out what a NIC would do."""
        near, interface = self.near, self.interface
        near.run(["ip", "address", "add", f"{near.data_address}/24", "dev", interface])
        try:
            near.run(["ip", "neighbour", "replace", self.address, "lladdr", self._far.mac(),
                      "dev", interface, "nud", "permanent"])
            near.run(["ethtool", "-K", interface, "tx", "on"])
            yield
        finally:
            # DPDK takes no interface that has an address in Linux.
            near.run(["ip", "address", "flush", "dev", interface])


def arrived_of(text):
    """The packets of the one counter in `nft -j list counters`' answer."""
    for part in json.loads(text)["nftables"]:
        if "counter" in part:
            return part["counter"]["packets"]
    raise PeerError("nft shows no counter")


@contextlib.contextmanager
def dropping_wire():
    """A Wire for the time of the `with` block."""
    sweep()
    with tempfile.TemporaryDirectory() as directory, World(directory) as world:
        near = world.add_data_server("relay")
        far = world.add_host("sink")
        world.join_directly(near, far)
        yield Wire(near, far)
