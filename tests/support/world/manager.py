"""The part of a service manager (systemd) that programs talk to."""

import queue
import socket
import threading
from pathlib import Path


class ServiceManager:
    """Hears what a service says of itself, all the time: a service that is not heard waits. A
    context manager. Source: sd_notify(3)."""

    def __init__(self, directory, watchdog_s):
        """`watchdog_s`: how often at least the service is to say that it lives."""
        self.watchdog_s = watchdog_s
        self._path = Path(directory) / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._hear)

    def __enter__(self):
        self._socket.bind(str(self._path))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()

    def _hear(self):
        while message := self._socket.recv(4096):  # nothing: it was shut down
            self._heard.put(message.decode())

    def environment(self):
        """What the service is started with."""
        return {
            "NOTIFY_SOCKET": str(self._path),
            "WATCHDOG_USEC": str(int(self.watchdog_s * 1_000_000)),
        }

    def next_message(self, timeout_s):
        """The next thing said, "READY=1" or "WATCHDOG=1"; None if nothing is for so long."""
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def await_silence(self):
        """Waits until the watchdog would bite."""
        while self.next_message(self.watchdog_s) is not None:
            pass
