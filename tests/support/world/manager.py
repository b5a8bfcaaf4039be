"""The part of a service manager (systemd) that programs talk to."""

import socket
from pathlib import Path


class ServiceManager:
    """Hears what a service says of itself; a context manager. Source: sd_notify(3)."""

    def __init__(self, directory, watchdog_s):
        """`watchdog_s`: how often at least the service is to say that it lives."""
        self.watchdog_s = watchdog_s
        self._path = Path(directory) / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self):
        self._socket.bind(str(self._path))
        return self

    def __exit__(self, *_):
        self._socket.close()

    def environment(self):
        """What the service is started with."""
        return {
            "NOTIFY_SOCKET": str(self._path),
            "WATCHDOG_USEC": str(int(self.watchdog_s * 1_000_000)),
        }

    def next_message(self, timeout_s):
        """The next thing said, "READY=1" or "WATCHDOG=1"; None if nothing is for so long."""
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return None

    def await_silence(self):
        """Waits until the watchdog would bite."""
        while self.next_message(self.watchdog_s) is not None:
            pass
