"""Linux sockets as a relay: socket_relay.cc over a veth whose far end drops."""

import json
import time

from world import ProcessFailed

from . import PeerError

METHODS = ("sendmmsg", "io_uring")
_CPU = 1
_START_TIMEOUT_S = 10


def interval_of(line):
    """(when it began by CLOCK_MONOTONIC in ns, copies a second) of a line of socket_relay."""
    try:
        interval = json.loads(line)
        return int(interval["began_ns"]), float(interval["copies_per_second"])
    except (KeyError, TypeError, ValueError) as error:
        raise PeerError(f"socket_relay printed no interval: {line.strip()[:200]}") from error


class SocketRelay:
    """Sends to N UDP ports at the far end of a Wire, from CPU 1, started anew each time. `method`:
    one of METHODS."""

    cpus = (_CPU,)

    def __init__(self, program, wire, method, consumers, payload_bytes):
        if not program.exists():
            raise PeerError(f"{program}: not built; run ninja -C build")
        self._words = ["taskset", "-c", _CPU, program, "--to", wire.address, "--by", method,
                       "--consumers", consumers, "--payload", payload_bytes]
        self._wire = wire
        self._runs = 0

    def measure(self, watch, window_s):
        """Copies a second that the kernel took. `watch(pid, read)` calls read() as often as it
        likes."""
        self._runs += 1
        name = f"socket_relay_{id(self)}_{self._runs}"
        with self._wire.linux_sending():
            words = [*self._words, "--interval", f"{round(window_s * 1000)}ms"]
            process = self._wire.near.start(name, words)
            try:
                process.wait_for("^{", _START_TIMEOUT_S)  # it is warm then
                return watch(process.pid, lambda: self._rate(process))
            except ProcessFailed as error:
                raise PeerError(str(error)) from error
            finally:
                process.close()

    @staticmethod
    def _rate(process):
        """That of the next whole interval."""
        asked_ns = time.monotonic_ns()
        while True:
            began_ns, rate = interval_of(process.wait_for("^{.*", _START_TIMEOUT_S)[0])
            if began_ns >= asked_ns:
                return rate
