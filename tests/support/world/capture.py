"""What really was on the wire: tcpdump writes it down, tshark is the judge."""

import os
import time
from dataclasses import dataclass

from .packets import FrameSender
from .processes import FileWatch, ProcessFailed, run

# Local experimental ethertype (IEEE 802), to a group address that no bridge forwards (IEEE 802.1D).
_MARK_ETHERTYPE = 0x88B5
_MARK_DESTINATION = bytes.fromhex("0180c200000e")
_BUFFER_KIBIBYTES = 65536
_JUDGE_TIMEOUT_S = 300


class Capture:
    """A running tcpdump on one interface of a host.

    It is listening when the constructor returns. stop() sends a mark on the interface and ends
    tcpdump only when the mark is in the file, so everything seen before stop() is in it.
    """

    def __init__(self, host, interface, filter_expression="ip", timeout_s=10):
        """`filter_expression` as in pcap-filter(7). `path` is the file, in the world's directory;
        `process` is tcpdump."""
        self._host = host
        self._interface = interface
        self._timeout_s = timeout_s
        source = b"\x02" + os.urandom(5)  # locally administered
        self._mark = _MARK_DESTINATION + source + _MARK_ETHERTYPE.to_bytes(2, "big")
        name = f"tcpdump_{interface}_{os.urandom(3).hex()}"
        self.path = host.directory / f"{host.name}.{name}.pcap"
        wanted = f"({filter_expression}) or ether proto {_MARK_ETHERTYPE:#x}"
        words = ["tcpdump", "-i", interface, "-n", "-U", "--immediate-mode", "-Z", "root"]
        words += ["-B", _BUFFER_KIBIBYTES, "-w", self.path, wanted]
        self.process = host.start(name, words)
        self.process.wait_for(r"listening on", timeout_s, stream="stderr")

    def stop(self):
        """Ends the capture and returns the file. Raises ProcessFailed if packets were missed, as a
        judge that did not see everything must not judge."""
        deadline = time.monotonic() + self._timeout_s
        with FileWatch(self.path) as watch:
            with FrameSender(self._host, self._interface) as sender:
                sender.send(self._mark.ljust(60, b"\0"))
            while not self._mark_is_written():
                changed = self.process.wait_for_change(watch, deadline)
                if not changed or not self.process.running():
                    raise ProcessFailed(self.process.describe("the mark did not arrive"))
        self.process.stop()
        missed = self.process.wait_for(r"(\d+) packets? dropped by kernel", 5, stream="stderr")
        if int(missed[1]) > 0:
            raise ProcessFailed(self.process.describe("tcpdump missed packets"))
        return self.path

    def _mark_is_written(self):
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 65536))
            return self._mark in file.read()


@dataclass(frozen=True)
class Checksums:
    """Verdict over the UDP datagrams of a capture. `udp_absent`: sent with checksum 0."""

    datagrams: int
    ip_bad: int
    udp_bad: int
    udp_absent: int


@dataclass(frozen=True)
class Datagram:
    """One UDP datagram of a capture; `time_s` since the epoch."""

    time_s: float
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes


def rows_of(path, display_filter, fields):
    """Fields (tshark's names) of the frames that match a display filter: a list of texts each, of
    the outermost header that has the field."""
    words = ["tshark", "-n", "-r", path, "-Y", display_filter]
    words += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    words += ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]
    for name in fields:
        words += ["-e", name]
    # Settings of a user (the judge's own, say) must not change the verdict.
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": "/nonexistent"}
    shown = run(words, _JUDGE_TIMEOUT_S, environment=environment).stdout
    return [line.split("\t") for line in shown.splitlines()]


def checksums_of(path, display_filter="udp and not icmp"):
    """Judges every IP and UDP checksum of the datagrams that match a display filter of tshark."""
    # tshark's status: 0 bad, 1 good, 2 not checked, 3 not present (wireshark epan/proto.h).
    rows = rows_of(path, display_filter, ("ip.checksum.status", "udp.checksum.status"))
    unjudged = [row for row in rows if row[0] not in "01" or row[1] not in "013" or "" in row]
    if unjudged:
        raise ValueError(f"{path}: tshark did not check {len(unjudged)} of {len(rows)} datagrams")
    return Checksums(
        datagrams=len(rows),
        ip_bad=sum(row[0] == "0" for row in rows),
        udp_bad=sum(row[1] == "0" for row in rows),
        udp_absent=sum(row[1] == "3" for row in rows),
    )


def datagrams_of(path, display_filter="udp and not icmp"):
    """The Datagrams of a capture that match a display filter of tshark, in order."""
    fields = ("frame.time_epoch", "ip.src", "udp.srcport", "ip.dst", "udp.dstport", "udp.payload")
    return [
        Datagram(
            time_s=float(time_s),
            source=source,
            source_port=int(source_port),
            destination=destination,
            destination_port=int(destination_port),
            payload=bytes.fromhex(payload.replace(":", "")),
        )
        for time_s, source, source_port, destination, destination_port, payload in rows_of(
            path, display_filter, fields
        )
    ]
