"""A small world of network namespaces, with Penstock's programs as real processes in it.

Used by tests/system and by tools/demo; standard library only, so that a fresh Debian 12 runs it.
Run as root. Start reading at namespaces.World.

    namespaces  World, Host: namespaces, bridges, veths, and their end
    processes   run, Process, json_lines: commands and programs, always with a deadline
    programs    how each Penstock program is started and when it is ready
    certificates  Certificates: an authority, and who it vouches for
    etcd        EtcdCluster: the members of a real etcd
    leaders     PresenceCluster: presence servers that choose their leader by it
    capture     Capture and the judges that read it (tshark)
    packets     frames built by hand, right or deliberately wrong
    content     our own test content, read by a judge
    media       H.264 in MPEG-TS by ffmpeg, counted by ffprobe
"""

from .capture import Capture, Checksums, Datagram, checksums_of, datagrams_of, rows_of
from .certificates import Certificates
from .content import PAYLOAD_BYTES, Head, fault_in, heads_of
from .etcd import EtcdCluster
from .leaders import PresenceCluster, epochs_obeyed
from .media import decoded_frames, make_mpegts
from .namespaces import DRIVERS, DataServerHost, Host, Interrupted, World, WorldError, sweep
from .packets import FrameSender, UdpFrame
from .processes import (
    CommandFailed,
    HeldThread,
    Process,
    ProcessFailed,
    eventually,
    json_lines,
    run,
)
from .manager import ServiceManager
from .programs import (
    Programs,
    consumer_state,
    counts_of,
    last_stats,
    newest_sequence,
    publisher_state,
)

__all__ = [
    "DRIVERS",
    "PAYLOAD_BYTES",
    "Capture",
    "Certificates",
    "Checksums",
    "CommandFailed",
    "DataServerHost",
    "Datagram",
    "EtcdCluster",
    "FrameSender",
    "Head",
    "HeldThread",
    "Host",
    "Interrupted",
    "PresenceCluster",
    "Process",
    "ProcessFailed",
    "Programs",
    "ServiceManager",
    "UdpFrame",
    "World",
    "WorldError",
    "checksums_of",
    "consumer_state",
    "counts_of",
    "datagrams_of",
    "decoded_frames",
    "epochs_obeyed",
    "eventually",
    "fault_in",
    "heads_of",
    "json_lines",
    "last_stats",
    "make_mpegts",
    "newest_sequence",
    "publisher_state",
    "rows_of",
    "run",
    "sweep",
]
