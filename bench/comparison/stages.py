"""The stages of a packet's life as a profile shows them, and why each costs what it does."""

from pathlib import Path

# In the order of a packet's life: what the stage does, and what its cost depends on.
OWN_STAGES = {
    "rx": "one call of the driver for up to 32 packets: shared by 32 x N copies",
    "classify": "reads a packet's headers once, finds its stream by UDP port: shared by N copies",
    "stream_ring": "stores the packet itself, trimmed, gives the oldest back: shared by N copies",
    "replicate": "walks the flows, 64 a chunk, and takes header mbufs and references by the burst: "
                 "a few instructions a copy",
    "packet_copy": "writes the header of each copy (what all have in common, what is the flow's "
                   "own, lengths, both checksums) and its mbuf's fields: bound by its stores",
    "tx": "one call of the driver for up to 64 copies, and their count",
    "worker": "the turn itself (mailbox, clock, counters): shared by all copies of a turn",
    "other": "what belongs to no stage: functions inlined nowhere, and the C library",
}
FOREIGN_STAGES = {
    "driver": "net_pcap receiving, an mbuf and a memcpy for each packet: shared by N copies",
    "mbuf freeing": "net_null sends by freeing: each header goes back to its pool, each chained "
                    "copy gives its reference to the payload back by one locked decrement",
    "kernel": "the timer's tick and whatever else interrupts",
}
STAGES = {**OWN_STAGES, **FOREIGN_STAGES}

# Source file of src/ without its suffix: stage. Code of any other file belongs to the function
# that it is inlined into.
_STAGE_OF_FILE = {
    "rx": "rx",
    "classify": "classify",
    "packet_headers": "classify",
    "stream_ring": "stream_ring",
    "stream": "stream_ring",
    "replicate": "replicate",
    "active_streams": "replicate",
    "owned_streams": "replicate",
    "shares": "replicate",
    "flow": "replicate",
    "flow_group": "replicate",
    "packet_copy": "packet_copy",
    "checksum": "packet_copy",
    "tx": "tx",
    "drop": "tx",
    "worker": "worker",
    "mailbox": "worker",
}


def stage_of_frames(frames):
    """The stage of an address in our program by its source files, innermost inlined call first."""
    for name in frames:
        path = Path(name)
        stage = _STAGE_OF_FILE.get(path.stem)
        if stage and path.parent.name == "data_path":
            return stage
    return "other"


def stage_of_library(file):
    """The stage of code outside our program."""
    name = Path(file).name
    # Only drivers look thread-local variables up through the loader; our program has them linked.
    if name.startswith(("librte_net_null", "librte_mempool", "librte_mbuf", "ld-linux")):
        return "mbuf freeing"
    if name.startswith("librte_"):
        return "driver"
    if name.startswith("[kernel") or name.endswith(".ko"):
        return "kernel"
    return "other"  # the C library works for whoever calls it: counted as ours
