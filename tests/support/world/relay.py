"""A TCP relay that holds up what goes through it: there is no netem here."""

import collections
import selectors
import socket
import threading
import time

_CHUNK_BYTES = 65536
_LOOK_INTERVAL_S = 0.02


class DelayingRelay:
    """Passes connections on to a server; what clients say arrives `delay_s` late. A context
    manager; runs on a thread of its own. The delay may be changed at any time: what is on its way
    keeps the one it had."""

    def __init__(self, host, target):
        """`host`: where it listens, on a port of its own; `target`: (address, port) there."""
        self._host = host
        self._target = target
        self._listener = host.socket(kind=socket.SOCK_STREAM)
        self._listener.bind((host.control_address, 0))
        self._listener.listen()
        self.address = f"{host.control_address}:{self._listener.getsockname()[1]}"
        self.delay_s = 0
        self._selector = selectors.DefaultSelector()
        self._held = {}  # by socket that it goes to: (due, bytes), in order
        self._pairs = {}
        self._servers = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()
        for end in list(self._pairs):
            self._close(end)
        self._listener.close()

    def _run(self):
        while not self._stopping.is_set():
            for key, _ in self._selector.select(_LOOK_INTERVAL_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._pairs:
                    self._take(key.fileobj)
            self._pass_on()

    def _accept(self):
        client, _ = self._listener.accept()
        server = self._host.socket(kind=socket.SOCK_STREAM)
        try:
            server.connect(self._target)
        except OSError:
            client.close()
            server.close()
            return
        self._servers.add(server)
        self._pairs[client], self._pairs[server] = server, client
        for end in (client, server):
            self._held[end] = collections.deque()
            self._selector.register(end, selectors.EVENT_READ)

    def _take(self, end):
        try:
            data = end.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self._close(end)
            return
        other = self._pairs[end]
        delay = self.delay_s if other in self._servers else 0
        self._held[other].append((time.monotonic() + delay, data))

    def _pass_on(self):
        now = time.monotonic()
        for end, held in list(self._held.items()):
            while held and held[0][0] <= now and end in self._pairs:
                try:
                    end.sendall(held.popleft()[1])
                except OSError:
                    self._close(end)

    def _close(self, end):
        for one in (end, self._pairs.get(end)):
            if one in self._pairs:
                self._selector.unregister(one)
                one.close()
                del self._pairs[one]
                del self._held[one]
                self._servers.discard(one)
