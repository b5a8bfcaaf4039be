"""Open vSwitch with DPDK as a relay: one flow, each of its N outputs with rewritten addresses."""

import os
import re
import signal
import time

from world import CommandFailed, Process, ProcessFailed, eventually, run

from . import PeerError
from .capture_file import write_capture
from .packages import ensure_packages

PACKAGES = ["openvswitch-switch-dpdk"]
_DAEMON = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_MEMORY_MIB = 384  # beside it, ours has to find its own
_COMMAND_TIMEOUT_S = 30
_WARM_UP_S = 0.3
# Asking takes some ms, and nobody knows when in them the count was taken.
_WINDOW_MIN_S = 0.3
_OUTPUT = 2  # OpenFlow number of the port that drops: ports are numbered as they are added


def relay_flow(consumers):
    """The flow in ovs-ofctl's words: each copy to a consumer of its own."""
    outputs = []
    for i in range(consumers):
        high, low = divmod(i, 256)
        outputs += [
            f"set_field:02:00:00:00:{high:02x}:{low:02x}->eth_dst",
            f"set_field:10.1.{high}.{low}->ip_dst",
            f"set_field:{10000 + i}->udp_dst",
            f"output:{_OUTPUT}",
        ]
    return "in_port=1,udp,actions=" + ",".join(outputs)


def sent_of(text):
    """Packets sent by the one port of `ovs-ofctl dump-ports`' answer."""
    found = re.search(r"tx pkts=(\d+)", text)
    if not found:
        raise PeerError(f"ovs-ofctl dump-ports printed no packets sent: {text.strip()[:200]}")
    return int(found[1])


class OpenVswitch:
    """Open vSwitch relaying what net_pcap plays to net_null, its one PMD thread on CPU 1; a context
    manager. Stopped (SIGSTOP) but for the time it is measured, as its thread never sleeps.

    Thread: the main thread.
    """

    cpus = (1,)

    def __init__(self, directory, consumers, payload_bytes):
        ensure_packages(PACKAGES)
        self._directory = directory / f"open_vswitch_{consumers}_{payload_bytes}"
        self._directory.mkdir()
        self._processes = []
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")
        self._environment = dict.fromkeys(names, str(self._directory))
        self._database = f"unix:{self._directory}/db.sock"
        try:
            self._start(write_capture(directory, payload_bytes), consumers)
        except (CommandFailed, ProcessFailed, AssertionError) as error:
            self.close()
            raise PeerError(f"Open vSwitch did not start: {error}") from error
        except BaseException:
            self.close()
            raise

    def _start(self, capture, consumers):
        here = self._directory
        run(["ovsdb-tool", "create", here / "conf.db", _SCHEMA])
        words = [here / "conf.db", f"--remote=p{self._database}", f"--unixctl={here}/ovsdb.ctl"]
        self._process("ovsdb-server", ["ovsdb-server", *words])
        eventually((here / "db.sock").exists, what="the socket of ovsdb-server")
        self._ctl("--no-wait", "init")
        self._ctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                  "other_config:pmd-cpu-mask=2", "other_config:dpdk-lcore-mask=1",
                  f"other_config:dpdk-socket-mem={_MEMORY_MIB}",
                  f"other_config:dpdk-socket-limit={_MEMORY_MIB}",
                  "other_config:dpdk-extra=--no-pci --in-memory")
        self._switch = self._process("ovs-vswitchd", [_DAEMON, self._database,
                                                      f"--unixctl={here}/vswitchd.ctl"])
        self._ctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for number, devargs in enumerate(
            (f"net_pcap0,rx_pcap={capture},infinite_rx=1", "net_null1,no-rx=1"), start=1
        ):
            self._ctl("add-port", "br0", f"p{number}", "--", "set", "Interface", f"p{number}",
                      "type=dpdk", f"ofport_request={number}", f"options:dpdk-devargs={devargs}")
        flow = here / "flow"
        flow.write_text(relay_flow(consumers))
        self._of("del-flows")
        self._of("add-flows", flow)
        eventually(lambda: self._sent() > 0, what="the first copy")
        self._pause()

    def measure(self, watch, window_s):
        """Copies a second. `watch(pid, read)` calls read() as often as it likes."""
        self._switch.signal(signal.SIGCONT)
        time.sleep(_WARM_UP_S)
        try:
            return watch(self._switch.pid, lambda: self._rate(max(window_s, _WINDOW_MIN_S)))
        finally:
            self._pause()

    def _rate(self, window_s):
        first, started = self._sent_at()
        time.sleep(window_s)
        last, ended = self._sent_at()
        return (last - first) / (ended - started)

    def _pause(self):
        self._switch.signal(signal.SIGSTOP)

    def _sent_at(self):
        """(packets sent, the middle of the time it took to ask)."""
        before = time.monotonic()
        sent = self._sent()
        return sent, (before + time.monotonic()) / 2

    def _sent(self):
        return sent_of(self._of("dump-ports", str(_OUTPUT)).stdout)

    def _process(self, name, words):
        process = Process(name, words, self._directory, environment=self._environment)
        self._processes.append(process)
        return process

    def _ctl(self, *words):
        return self._run(["ovs-vsctl", f"--db={self._database}",
                          f"--timeout={_COMMAND_TIMEOUT_S}", *words])

    def _of(self, command, *words):
        management = f"unix:{self._directory}/br0.mgmt"
        return self._run(["ovs-ofctl", "-O", "OpenFlow13", command, management, *words])

    def _run(self, words):
        return run(words, _COMMAND_TIMEOUT_S + 5, environment=os.environ | self._environment)

    def close(self):
        for process in reversed(self._processes):
            process.close()
        self._processes.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
