"""A small world of network namespaces, with Penstock's programs as real processes in it.

Used by tests/system and by tools/demo; standard library only, so that a fresh Debian 12 runs it.
Run as root. Start reading at namespaces.World.

    namespaces  World, Host: namespaces, bridges, veths, and their end
    processes   run, Process, json_lines: commands and programs, always with a deadline
    programs    how each Penstock program is started and when it is ready
    capture     Capture and the judges that read it (tshark)
    packets     frames built by hand, right or deliberately wrong
    media       H.264 in MPEG-TS by ffmpeg, counted by ffprobe
"""

from .capture import Capture, Checksums, Datagram, checksums_of, datagrams_of
from .media import decoded_frames, make_mpegts
from .namespaces import DRIVERS, DataServerHost, Host, Interrupted, World, WorldError, sweep
from .packets import FrameSender, UdpFrame
from .processes import CommandFailed, Process, ProcessFailed, json_lines, run
from .programs import Programs

__all__ = [
    "DRIVERS",
    "Capture",
    "Checksums",
    "CommandFailed",
    "DataServerHost",
    "Datagram",
    "FrameSender",
    "Host",
    "Interrupted",
    "Process",
    "ProcessFailed",
    "Programs",
    "UdpFrame",
    "World",
    "WorldError",
    "checksums_of",
    "datagrams_of",
    "decoded_frames",
    "json_lines",
    "make_mpegts",
    "run",
    "sweep",
]
