"""When content reaches consumers, seen on the interface of the host that they run on."""

import socket
import struct
import time

from world import ProcessFailed

_ETHERTYPE_IPV4 = 0x0800
_PROTOCOL_UDP = 17
_IPV4_BYTES_MIN, _UDP_BYTES = 20, 8
_SNAPSHOT_BYTES = 128  # both headers and the magic, with any options
_MAGIC = b"PSTCONT1"  # of test content; session messages come from the same port
_BUFFER_BYTES = 32 << 20
# asm-generic/socket.h; Python's socket module names neither.
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_TIMESPEC = struct.Struct("=qq")


class Arrivals:
    """Datagrams of test content as they come in at data0 of a host, with the kernel's time of
    each. A context manager."""

    def __init__(self, host):
        self._socket = host.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETHERTYPE_IPV4)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("data0", _ETHERTYPE_IPV4))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def forget(self):
        """What has come in up to now is not asked for any more."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(1)
        except BlockingIOError:
            pass

    def ports(self, count, timeout_s):
        """The UDP ports of `count` consumers that receive now."""
        return set(self._first_at(timeout_s, lambda seen: len(seen) == count))

    def first_from(self, source, ports, timeout_s):
        """When the first content from the address `source` came in at each of the ports, in
        seconds since the epoch, by port."""
        wanted = set(ports)
        return self._first_at(timeout_s, lambda seen: wanted <= seen.keys(), source)

    def _first_at(self, timeout_s, is_enough, source=None):
        wanted_source = socket.inet_aton(source) if source else None
        deadline = time.monotonic() + timeout_s
        seen = {}
        while not is_enough(seen):
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProcessFailed(f"content at {len(seen)} consumers only after {timeout_s} s")
            self._socket.settimeout(left)
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(_SNAPSHOT_BYTES, 64)
            except TimeoutError:
                continue
            port = port_of_content(frame, wanted_source)
            if port is not None and port not in seen:
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                seen[port] = seconds + nanoseconds / 1e9
        return seen


def port_of_content(packet, source):
    """The destination port of an IPv4 packet that carries test content (from `source`, if that is
    given); None of any other."""
    if len(packet) < _IPV4_BYTES_MIN or packet[9] != _PROTOCOL_UDP:
        return None
    if source is not None and packet[12:16] != source:
        return None
    udp = (packet[0] & 0x0F) * 4
    content = udp + _UDP_BYTES
    if packet[content : content + len(_MAGIC)] != _MAGIC:
        return None
    return int.from_bytes(packet[udp + 2 : udp + 4], "big")
