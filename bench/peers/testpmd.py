"""DPDK's testpmd: what a driver, its mbufs and a loop around them cost, with nothing else."""

import contextlib
import os
import re
import time

from world import Process, ProcessFailed

from . import PeerError
from .capture_file import write_capture
from .packages import ensure_packages

PACKAGES = ["dpdk"]
FORWARD_MODES = ("io", "mac", "macswap", "5tswap")
_READY_TIMEOUT_S = 30
_ANSWER_TIMEOUT_S = 10
_WARM_UP_S = 0.3
# Enough for every ring and cache; the default takes a third of a GiB for each process.
_MBUFS = 65536
_FRAME_HEADERS_BYTES = 42  # Ethernet, IPv4, UDP


def rates_of(text):
    """(received, sent) packets a second of the last `show port stats` in testpmd's output.

    testpmd counts from the `show` before, by its own clock. PeerError where there is none.
    """
    received = re.findall(r"Rx-pps:\s*(\d+)", text)
    sent = re.findall(r"Tx-pps:\s*(\d+)", text)
    if not received or not sent:
        raise PeerError("testpmd printed no rates")
    return int(received[-1]), int(sent[-1])


class Testpmd:
    """One running testpmd with one port and one forwarding core; a context manager.

    Thread: the main thread.
    """

    def __init__(self, directory, name, cpu, devargs, mode, *words):
        """Forwards on `cpu`; its main thread, which only waits for commands, is on CPU 0."""
        self._name = name
        read_end, self._commands = os.pipe()
        arguments = ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", f"0@0,1@{cpu}", "--no-pci"]
        arguments += ["--in-memory", "--vdev", devargs, "--", "-i", "--auto-start", "--nb-cores=1"]
        arguments += [f"--forward-mode={mode}", f"--total-num-mbufs={_MBUFS}", *words]
        try:
            self.process = Process(name, arguments, directory, stdin=read_end)
        finally:
            os.close(read_end)

    def rates(self, window_s):
        """(received, sent) packets a second over `window_s`."""
        self._ask()
        time.sleep(window_s)
        self._ask()
        return rates_of(self.process.stdout.text())

    def wait_until_ready(self):
        self._ask(_READY_TIMEOUT_S)

    def wait_until_receiving(self):
        """Until packets come in: a memif connects in its own time."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while self.rates(0.1)[0] == 0:
            if time.monotonic() > deadline:
                raise PeerError(self.process.describe("testpmd receives nothing"))

    def _ask(self, timeout_s=_ANSWER_TIMEOUT_S):
        try:
            os.write(self._commands, b"show port stats 0\n")
            self.process.wait_for(r"Rx-pps:", timeout_s)
            self.process.wait_for(r"Tx-pps:", timeout_s)
        except (BrokenPipeError, ProcessFailed) as error:
            raise PeerError(self.process.describe("testpmd gave no port statistics")) from error

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, b"stop\nquit\n")
        os.close(self._commands)
        try:
            self.process.wait(_ANSWER_TIMEOUT_S)
        except ProcessFailed:
            self.process.kill()
        self.process.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Forwarder:
    """testpmd forwarding what net_pcap plays without end, started anew for every measurement."""

    cpus = (1,)

    def __init__(self, directory, mode, payload_bytes):
        if mode not in FORWARD_MODES:
            raise PeerError(f"mode {mode!r} is none of {', '.join(FORWARD_MODES)}")
        ensure_packages(PACKAGES)
        self._directory = directory
        self._mode = mode
        self._runs = 0
        capture = write_capture(directory, payload_bytes)
        self._devargs = f"net_pcap0,rx_pcap={capture},infinite_rx=1"

    def measure(self, watch, window_s):
        """Packets a second that it forwards; `watch(pid, read)` calls read() as it likes."""
        self._runs += 1
        name = f"testpmd_{self._mode}_{id(self)}_{self._runs}"
        with Testpmd(self._directory, name, 1, self._devargs, self._mode) as testpmd:
            testpmd.wait_until_ready()
            time.sleep(_WARM_UP_S)
            return watch(testpmd.process.pid, lambda: testpmd.rates(window_s)[1])


class MemifReceiver:
    """testpmd that receives by memif on CPU 0 and drops; a context manager. `client` is the devargs
    of the other end."""

    def __init__(self, directory, number):
        ensure_packages(PACKAGES)
        socket = directory / f"memif_{number}.sock"
        common = f"socket={socket},socket-abstract=no"
        self.client = f"net_memif0,role=client,{common}"
        server = f"net_memif0,role=server,{common}"
        self.testpmd = Testpmd(directory, f"memif_receiver_{number}", 0, server, "rxonly")
        try:
            self.testpmd.wait_until_ready()
        except BaseException:
            self.testpmd.close()
            raise

    def rate(self, watch, sender_pid, window_s):
        """Packets a second that arrive, once they do; `watch` as for Forwarder.measure()."""
        self.testpmd.wait_until_receiving()
        time.sleep(_WARM_UP_S)
        return watch(sender_pid, lambda: self.testpmd.rates(window_s)[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.testpmd.close()


def memif_rate(directory, number, payload_bytes, watch, window_s):
    """Packets a second from testpmd `txonly` on CPU 1 by memif to testpmd `rxonly` on CPU 0."""
    frame = f"--txpkts={_FRAME_HEADERS_BYTES + payload_bytes}"
    with MemifReceiver(directory, number) as receiver:
        name = f"memif_sender_{number}"
        with Testpmd(directory, name, 1, receiver.client, "txonly", frame) as sender:
            return receiver.rate(watch, sender.process.pid, window_s)
