"""Penstock's own test content (include/penstock/test_content.h), as a judge reads it."""

import struct
from dataclasses import dataclass

PAYLOAD_BYTES = 1316  # of penstock-publish --generate, if it is told nothing else
_HEAD = struct.Struct("!8sQQQ")
_MAGIC = b"PSTCONT1"


@dataclass(frozen=True)
class Head:
    """What one datagram says of itself; `sent_at_s` since the epoch."""

    run: int
    sequence: int
    sent_at_s: float


def heads_of(octets, payload_bytes=PAYLOAD_BYTES):
    """The Heads of datagrams of one size that were written one behind the other."""
    if len(octets) % payload_bytes:
        raise ValueError(f"{len(octets)} bytes are no whole datagrams of {payload_bytes}")
    heads = []
    for at in range(0, len(octets), payload_bytes):
        magic, run, sequence, sent_at_ns = _HEAD.unpack_from(octets, at)
        if magic != _MAGIC:
            raise ValueError(f"no test content at byte {at}")
        heads.append(Head(run, sequence, sent_at_ns / 1e9))
    return heads


def fault_in(heads):
    """What is wrong with datagrams that should be one run without a gap, a repeat or a change of
    order; "" if nothing is."""
    for index, (before, head) in enumerate(zip(heads, heads[1:]), start=1):
        if (head.run, head.sequence) != (before.run, before.sequence + 1):
            return f"datagram {index} of {len(heads)} is {head}, but comes after {before}"
    return ""
