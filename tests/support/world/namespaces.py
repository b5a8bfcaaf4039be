"""World: hosts as network namespaces, joined by two bridges, removed whatever happens.

    control 10.90.0.0/24   presence .1   data servers .11 …   other hosts .101 …   interface ctl0
    data    10.91.0.0/24   –             data servers .11 …   other hosts .101 …   interface data0

A data server's data0 has no address: DPDK takes the interface, and the data address lives on the
TAP that penstock-data makes. Offloads are off on the data network, so that every frame carries the
checksums a wire would carry. IPv6 is off.

Every name begins with `penstock-<pid>-<start time of that process>-`: a namespace whose maker is no
longer alive is a leftover, and sweep() removes it.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .processes import CommandFailed, Process, run

DRIVERS = ("net_af_xdp", "net_af_packet")
XDP_PROGRAM = "/usr/lib/x86_64-linux-gnu/bpf/xsk_def_xdp_prog.o"  # of package libxdp1
PREFIX_BITS = 24
_OFFLOADS_OFF = ["tx", "off", "gro", "off", "gso", "off", "tso", "off"]
_DATA_SERVERS_MAX = 80  # .11 to .90
_HOSTS_MAX = 150  # .101 to .250
_PRESENCE, _DATA_SERVER_FIRST, _HOST_FIRST = 1, 11, 101
_GRACE_S = 5  # from SIGTERM to SIGKILL, for all processes of a world together
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CLONE_NEWNET = 0x40000000  # setns(2)
_NAME = re.compile(r"penstock-(?P<pid>\d+)-(?P<start>\d+)-")
_libc = ctypes.CDLL(None, use_errno=True)
_worlds = itertools.count(1)


class WorldError(Exception):
    """A world could not be made, used or removed; the message says what and why."""


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP came while a World was up; `number` says which.

    A KeyboardInterrupt, so that pytest ends and tears down for each of them.
    """

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def _start_time_of(pid):
    """Start time of a process in clock ticks since boot, None if there is none: with the pid, a
    name no later process can have. Source: proc(5), /proc/[pid]/stat field 22."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _namespaces():
    listed = run(["ip", "-j", "netns", "list"]).stdout.strip()
    return [entry["name"] for entry in json.loads(listed)] if listed else []


def _remove_namespace(name):
    """Ends what still runs in a namespace and removes it, its veths with it."""
    for pid in run(["ip", "netns", "pids", name]).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run(["ip", "netns", "delete", name])


def sweep():
    """Removes the namespaces left by runs that are dead, with the processes in them.

    Returns their names. Those of living runs, and anything that is not ours, are not touched.
    """
    swept = []
    for name in _namespaces():
        made_by = _NAME.match(name)
        if made_by and _start_time_of(int(made_by["pid"])) != int(made_by["start"]):
            # Two sweeps may meet here: it is enough that one of them removes it.
            with contextlib.suppress(CommandFailed):
                _remove_namespace(name)
                swept.append(name)
    return swept


@dataclass
class Host:
    """One namespace. `data_address` is None where there is no data0 (presence)."""

    name: str
    namespace: str
    directory: Path
    control_address: str
    data_address: str | None = None
    _processes: list = field(default_factory=list, repr=False)

    def run(self, arguments, timeout_s=10, check=True):
        """Runs a command in this namespace to its end; see processes.run()."""
        return run(["ip", "netns", "exec", self.namespace, *arguments], timeout_s, check)

    def start(self, name, arguments, environment=None, stdin=None):
        """Starts a program in this namespace; the World ends it at the latest at its own end."""
        options = {} if stdin is None else {"stdin": stdin}
        process = Process(
            f"{self.name}.{name}",
            arguments,
            self.directory,
            namespace=self.namespace,
            environment=environment,
            **options,
        )
        self._processes.append(process)
        return process

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0):
        """A socket of this namespace, for use by this process: a socket stays where it was made.
        Owns: the caller closes it."""
        made = []

        def enter_and_make():  # in a thread of its own: setns(2) moves the calling thread only
            try:
                with open(f"/run/netns/{self.namespace}", "rb") as handle:
                    if _libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                        raise WorldError(f"setns: {os.strerror(ctypes.get_errno())}")
                made.append(socket.socket(family, kind, protocol))
            except (OSError, WorldError) as error:
                made.append(error)

        thread = threading.Thread(target=enter_and_make)
        thread.start()
        thread.join()
        if isinstance(made[0], Exception):
            raise WorldError(f"{self.name}: no socket: {made[0]}") from made[0]
        return made[0]

    def _link(self, interface):
        shown = run(["ip", "-n", self.namespace, "-j", "-d", "-s", "link", "show", interface])
        return json.loads(shown.stdout)[0]

    def mac(self, interface="data0"):
        return self._link(interface)["address"]

    def xdp_mode(self, interface="data0"):
        """None, "native" or "skb": how an XDP program is attached to the interface now."""
        modes = {0: None, 1: "native", 2: "skb"}  # if_link.h XDP_ATTACHED_…
        return modes[self._link(interface).get("xdp", {"mode": 0})["mode"]]

    def interface_bytes(self, interface):
        """(received, sent) bytes of an interface since it was made, by the kernel's counters."""
        counters = self._link(interface)["stats64"]
        return counters["rx"]["bytes"], counters["tx"]["bytes"]

    def ping(self, address, count=1, timeout_s=5):
        """Number of echo replies to `count` requests sent 0.2 s apart, within `timeout_s`."""
        words = ["ping", "-n", "-q", "-c", count, "-i", "0.2", "-w", timeout_s, address]
        shown = self.run([str(word) for word in words], timeout_s + 5, check=False).stdout
        return int(re.search(r"(\d+) received", shown)[1])


@dataclass
class DataServerHost(Host):
    """The namespace of one data server, its data0 prepared for `driver` and `queues`."""

    driver: str = DRIVERS[0]
    queues: int = 1

    def ports(self):
        """DPDK devargs, one per port of the data server; what else the driver wants for several
        workers, penstock-data adds itself."""
        return [f"{self.driver}0,iface=data0"]


class World:
    """Namespaces and processes for one test or one demonstration; a context manager.

    Ends at the end of the `with` block, by an exception in it, and by SIGINT, SIGTERM or SIGHUP,
    which are held back while things are being removed. Thread: the main thread.
    """

    def __init__(self, directory):
        """`directory` exists, gets the outputs of all processes, and is the caller's to remove."""
        self.directory = Path(directory)
        self.hosts = {}
        self.presence = None
        self.killed = []  # names of processes that had to be killed at the end
        self._prefix = f"penstock-{os.getpid()}-{_start_time_of(os.getpid())}-{next(_worlds)}-"
        self._net = f"{self._prefix}net"
        self._old_handlers = {}

    def __enter__(self):
        if os.geteuid() != 0:
            raise WorldError("namespaces need root; run as root")
        for number in _END_SIGNALS:
            self._old_handlers[number] = signal.signal(number, self._on_signal)
        try:
            self._make_namespace(self._net)
            self._keep_netfilter_off_bridges()
            for bridge in ("control", "data"):
                self._ip(
                    self._net,
                    f"link add {bridge} type bridge mcast_snooping 0 stp_state 0",
                    f"link set {bridge} up",
                )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends all processes and removes all namespaces; may be called again, changes nothing then.

        Goes on past a step that fails, and raises WorldError at the end if something was left.
        """
        problems = []
        held_before = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
        try:
            self._end_processes(problems)
            existing = set(_namespaces())
            for name in [host.namespace for host in self.hosts.values()] + [self._net]:
                if name in existing:
                    try:
                        _remove_namespace(name)
                    except CommandFailed as error:
                        problems.append(str(error))
        finally:
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            self._old_handlers = {}
            signal.pthread_sigmask(signal.SIG_SETMASK, held_before)
        if problems:
            raise WorldError("not everything was removed: " + "; ".join(problems))

    def add_presence(self):
        """The presence server's host: on the control network only."""
        self.presence = self._add(Host, "presence", _PRESENCE, data=False)
        return self.presence

    def add_data_server(self, name, driver=DRIVERS[0], queues=1, mode="native"):
        """A data server's host. `queues` 1 or 2; `mode` "native" or "skb" (net_af_xdp only)."""
        if driver not in DRIVERS:
            raise WorldError(f"{name}: driver {driver!r} is none of {', '.join(DRIVERS)}")
        count = sum(isinstance(host, DataServerHost) for host in self.hosts.values())
        if count >= _DATA_SERVERS_MAX:
            raise WorldError(f"{name}: more than {_DATA_SERVERS_MAX} data servers")
        number = _DATA_SERVER_FIRST + count
        host = self._add(DataServerHost, name, number, driver=driver, queues=queues)
        if mode == "skb":
            # net_af_xdp takes a program that is attached already, and its mode with it.
            words = ["xdpgeneric", "obj", XDP_PROGRAM, "sec", "xdp"]
            run(["ip", "-n", host.namespace, "link", "set", "data0", *words])
        return host

    def add_host(self, name):
        """A host for publishers, consumers, operators or attackers: on both networks."""
        count = sum(type(host) is Host and host.name != "presence" for host in self.hosts.values())
        if count >= _HOSTS_MAX:
            raise WorldError(f"{name}: more than {_HOSTS_MAX} hosts")
        host = self._add(Host, name, _HOST_FIRST + count)
        address = f"{host.data_address}/{PREFIX_BITS}"
        self._ip(host.namespace, f"address add {address} dev data0")
        return host

    def join_directly(self, server, host):
        """Puts one wire between a data server and a host in the place of their two to the bridge:
        for rates at which the bridge would take the time the test is about. Before either runs
        anything; neither reaches any other host afterwards."""
        for end in (server, host):
            self._ip(end.namespace, "link delete data0")
        address = f"{host.data_address}/{PREFIX_BITS}"
        self._ip(
            server.namespace,
            f"link add data0 type veth peer name data0 netns {host.namespace}",
            "link set data0 up",
        )
        self._ip(host.namespace, f"address add {address} dev data0", "link set data0 up")
        for end in (server, host):
            end.run(["ethtool", "-K", "data0", *_OFFLOADS_OFF])

    def stop_learning(self, host):
        """The data network no longer learns MAC addresses from what `host` sends: a false source
        then leads nothing astray, as on a network with port security."""
        bridge_end = self._bridge_end(host, "data")
        run(["bridge", "-n", self._net, "link", "set", "dev", bridge_end, "learning", "off"])

    def plug(self, host, is_in, network="data"):
        """Pulls the wire of a host out of a network, or puts it back in: both ends see that there
        is no carrier. "control" or "data"."""
        state = "up" if is_in else "down"
        self._ip(self._net, f"link set {self._bridge_end(host, network)} {state}")

    def carry(self, host, does, network="data"):
        """Has a network pass nothing on from and to a host, or again, as a switch does that has the
        port in no VLAN: the carrier stays."""
        end = self._bridge_end(host, network)
        state = "3" if does else "0"  # forwarding, disabled: if_bridge.h, BR_STATE_…
        run(["bridge", "-n", self._net, "link", "set", "dev", end, "state", state])

    def deafen(self, host, sender, is_deaf):
        """A host no longer hears the control network from another one, which hears it; or again."""
        self._drop(host, "deaf", {"input": f"ip saddr {sender.control_address} "}, is_deaf)

    def darken(self, host, is_dark):
        """Nothing gets into a host or out of it any more, not even what its kernel says when one of
        its programs is killed: as if its power had failed. Or again."""
        self._drop(host, "dark", {"input": "", "output": ""}, is_dark)

    @staticmethod
    def _drop(host, table, matches, does):
        """`matches`: by hook, what is dropped there, in words of nft(8)."""
        chains = " ".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; {match}drop; }};"
            for hook, match in matches.items()
        )
        made = f"table ip {table} {{ {chains} }}"
        host.run(["nft", made] if does else ["nft", "delete", "table", "ip", table])

    def _add(self, kind, name, number, data=True, **extra):
        if name in self.hosts or not re.fullmatch(r"[a-z0-9_]{1,32}", name):
            raise WorldError(f"host name {name!r}: taken, or not 1 to 32 of a-z, 0-9 and _")
        host = kind(
            name=name,
            namespace=f"{self._prefix}{name}",
            directory=self.directory,
            control_address=f"10.90.0.{number}",
            data_address=f"10.91.0.{number}" if data else None,
            **extra,
        )
        self.hosts[name] = host  # before it is made: close() removes what there is of it
        self._make_namespace(host.namespace)
        self._join(host, "ctl0", "control", queues=1)
        self._ip(host.namespace, f"address add {host.control_address}/{PREFIX_BITS} dev ctl0")
        if data:
            self._join(host, "data0", "data", extra.get("queues", 1))
            host.run(["ethtool", "-K", "data0", *_OFFLOADS_OFF])
            bridge_end = self._bridge_end(host, "data")
            run(["ip", "netns", "exec", self._net, "ethtool", "-K", bridge_end, *_OFFLOADS_OFF])
        return host

    def _bridge_end(self, host, bridge):
        return f"{bridge[0]}{list(self.hosts).index(host.name)}"  # 15 characters at most: c0, d0, …

    def _join(self, host, interface, bridge, queues):
        """A veth pair from the host to a bridge. Both ends get `queues`: the sending end of a veth
        chooses, by flow, the queue on which the other one receives."""
        end = self._bridge_end(host, bridge)
        sizes = f"numtxqueues {queues} numrxqueues {queues}"
        self._ip(
            self._net,
            f"link add {end} {sizes} type veth peer name {interface} netns {host.namespace} {sizes}",
            f"link set {end} master {bridge} up",
        )
        self._ip(host.namespace, f"link set {interface} up")

    def _make_namespace(self, name):
        run(["ip", "netns", "add", name])
        settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        run(["ip", "netns", "exec", name, "sysctl", "-qw", *settings])
        self._ip(name, "link set lo up")

    def _keep_netfilter_off_bridges(self):
        """Where br_netfilter is loaded, bridges drop IPv4 packets that are malformed: tests send
        such packets. Where it is not loaded the settings do not exist."""
        settings = [f"net.bridge.bridge-nf-call-{name}tables" for name in ("arp", "ip", "ip6")]
        words = ["sysctl", "-qew", *(f"{setting}=0" for setting in settings)]
        run(["ip", "netns", "exec", self._net, *words])

    @staticmethod
    def _ip(namespace, *lines):
        run(["ip", "-n", namespace, "-batch", "-"], stdin_text="\n".join(lines) + "\n")

    def _end_processes(self, problems):
        processes = [process for host in self.hosts.values() for process in host._processes]
        for process in processes:  # all are told before any is waited for
            process.tell_to_end()
        deadline = time.monotonic() + _GRACE_S
        for process in processes:
            try:
                running = process.running()
                status = process.close(max(0, deadline - time.monotonic()))
                if running and status == -signal.SIGKILL:
                    self.killed.append(process.name)
            except OSError as error:
                problems.append(f"{process.name}: {error}")
        for host in self.hosts.values():
            host._processes.clear()

    @staticmethod
    def _on_signal(number, _frame):
        for other in _END_SIGNALS:  # a second one must not interrupt the way to close()
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)
