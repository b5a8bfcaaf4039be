"""Frames built by hand: right ones, deliberately wrong ones, and ones with a false source."""

import socket
import struct
from dataclasses import dataclass

_ETHERTYPE_IPV4 = 0x0800
_PROTOCOL_UDP = 17


def ones_complement_sum(octets):
    """RFC 1071 sum of `octets` as 16-bit big-endian words, carries folded in."""
    padded = octets + b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass
class UdpFrame:
    """An Ethernet frame with one UDP datagram over IPv4.

    Every field left at None is computed right; a value given is written as it is, right or wrong.
    """

    source_mac: str
    destination_mac: str
    source: str
    destination: str
    source_port: int
    destination_port: int
    payload: bytes = b""
    version_and_header_length: int = 0x45
    identification: int = 0
    fragment: int = 0x4000  # don't fragment
    time_to_live: int = 64
    total_length: int | None = None
    ip_checksum: int | None = None
    udp_length: int | None = None
    udp_checksum: int | None = None
    padding: bytes = b""  # behind the datagram, as Ethernet pads short frames

    def octets(self):
        """The frame as sent, without the frame check sequence. Source: RFC 791, RFC 768."""
        addresses = socket.inet_aton(self.source) + socket.inet_aton(self.destination)
        return b"".join(
            (
                bytes.fromhex(self.destination_mac.replace(":", "")),
                bytes.fromhex(self.source_mac.replace(":", "")),
                struct.pack("!H", _ETHERTYPE_IPV4),
                self._ip_header(addresses),
                self._udp_header(addresses),
                self.payload,
                self.padding,
            )
        )

    def _ip_header(self, addresses):
        total_length = self.total_length
        if total_length is None:
            total_length = 28 + len(self.payload)
        head = struct.pack(
            "!BBHHHBB",
            self.version_and_header_length,
            0,
            total_length,
            self.identification,
            self.fragment,
            self.time_to_live,
            _PROTOCOL_UDP,
        )
        checksum = self.ip_checksum
        if checksum is None:
            checksum = 0xFFFF - ones_complement_sum(head + addresses)
        return head + struct.pack("!H", checksum) + addresses

    def _udp_header(self, addresses):
        true_length = 8 + len(self.payload)
        length = true_length if self.udp_length is None else self.udp_length
        ports = struct.pack("!HH", self.source_port, self.destination_port)
        checksum = self.udp_checksum
        if checksum is None:
            pseudo_header = addresses + struct.pack("!HH", _PROTOCOL_UDP, length)
            covered = pseudo_header + ports + struct.pack("!H", length) + self.payload
            # A sum of zero is sent as all ones: zero says "no checksum" (RFC 768).
            checksum = (0xFFFF - ones_complement_sum(covered)) or 0xFFFF
        return ports + struct.pack("!HH", length, checksum)


class FrameSender:
    """Sends whole frames on an interface of a host; a context manager."""

    def __init__(self, host, interface="data0"):
        self._socket = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
        # A protocol of 0 sends and receives nothing.
        self._socket.bind((interface, 0))

    def send(self, frame):
        """Sends a UdpFrame or the octets of any frame."""
        self._socket.send(frame.octets() if isinstance(frame, UdpFrame) else frame)

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
