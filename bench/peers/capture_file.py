"""The capture that net_pcap plays without end: as many packets and the same shape as ours gets."""

import struct

from world import UdpFrame

PACKETS = 512
_MAGIC_MICROSECONDS = 0xA1B2C3D4  # of libpcap's file format, pcap-savefile(5)
_SNAPSHOT_BYTES = 65535
_LINK_ETHERNET = 1


def capture_octets(payload_bytes, packets=PACKETS):
    """A capture of UDP packets over IPv4 with valid checksums, `payload_bytes` (8 or more) each,
    which begin with the packet's number, big-endian."""
    head = struct.pack("<IHHiIII", _MAGIC_MICROSECONDS, 2, 4, 0, 0, _SNAPSHOT_BYTES, _LINK_ETHERNET)
    records = [head]
    for number in range(packets):
        frame = UdpFrame(
            source_mac="02:00:00:00:00:01",
            destination_mac="02:00:00:00:00:02",
            source="10.0.255.9",
            destination="10.0.0.1",
            source_port=4000,
            destination_port=20000,
            payload=struct.pack("!Q", number).ljust(payload_bytes, b"\x47"),
        ).octets()
        records.append(struct.pack("<IIII", 0, number, len(frame), len(frame)) + frame)
    return b"".join(records)


def write_capture(directory, payload_bytes):
    """Writes capture_octets() into a directory and returns the file's path."""
    path = directory / f"content_{payload_bytes}.pcap"
    if not path.exists():
        path.write_bytes(capture_octets(payload_bytes))
    return path
