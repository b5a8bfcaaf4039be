"""perf on the polling thread of a running process: where its time goes."""

import collections
import re
import time
from pathlib import Path

from world import run

from . import MeasurementFailed

_SAMPLES_PER_S = 4999  # no divisor of anything that happens at round frequencies
_SETTLE_S = 0.25
_PATIENCE_S = 30
_POLLING_SHARE_MIN = 0.9
_MAPPING = re.compile(
    r"PERF_RECORD_MMAP2.*\[0x(?P<start>[0-9a-f]+)\(0x(?P<length>[0-9a-f]+)\) "
    r"@ (?P<offset>0x[0-9a-f]+|0) .*\]: r-xp (?P<file>\S+)"
)
_SAMPLE = re.compile(
    r"^\s*(?P<period>\d+)\s+(?P<event>[\w-]+)\S*:\s+(?P<ip>[0-9a-f]+)\s+\((?P<file>.*)\)\s*$"
)


def supports(event):
    """Whether the machine has a PMU that counts `event`; few virtual ones do."""
    counted = run(["perf", "stat", "-x,", "-e", event, "--", "true"], check=False).stderr
    return "not supported" not in counted and "not counted" not in counted


def time_event():
    """What to sample by to see where time goes: cycles where they are counted, else time itself."""
    return "cycles" if supports("cycles") else "cpu-clock"


def samples_of(text):
    """{(file, address in it): weight} of `perf script --show-mmap-events -F period,event,ip,dso`.

    A weight is how many events passed since the sample before. Addresses are those of the file as
    addr2line wants them: GNU ld gives code the address of its offset. MeasurementFailed without
    samples.
    """
    mappings, weights = [], collections.Counter()
    for line in text.splitlines():
        mapping = _MAPPING.search(line)
        if mapping:
            start, length = int(mapping["start"], 16), int(mapping["length"], 16)
            mappings.append((start, start + length, int(mapping["offset"], 16), mapping["file"]))
            continue
        sample = _SAMPLE.match(line)
        if sample:
            address = _address_in_file(int(sample["ip"], 16), sample["file"], mappings)
            weights[sample["file"], address] += int(sample["period"])
    if not weights:
        raise MeasurementFailed("perf took no samples")
    return weights


def _address_in_file(ip, file, mappings):
    for start, end, offset, mapped in mappings:
        if mapped == file and start <= ip < end:
            return ip - start + offset
    return None


def sample(thread, event, window_s, recording):
    """samples_of() a thread by `event` over `window_s`; `recording` is a file to make."""
    words = ["perf", "record", "-q", "-e", event, "-F", _SAMPLES_PER_S, "-t", thread]
    run([*words, "-o", recording, "--", "sleep", window_s], window_s + _PATIENCE_S)
    words = ["perf", "script", "-i", recording, "--show-mmap-events", "-F", "period,event,ip,dso"]
    return samples_of(run(words, _PATIENCE_S).stdout)


def polling_thread(process):
    """The worker's thread in a Process or its children, once it polls. MeasurementFailed if none
    does in time."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.running():
        before = _run_times(process.pid)
        time.sleep(_SETTLE_S)
        after = _run_times(process.pid)
        for thread, (name, ran_ns) in after.items():
            grown_ns = ran_ns - before.get(thread, (name, ran_ns))[1]
            # DPDK names the threads of its lcores; the one that sets up works hard, too.
            if "worker" in name and grown_ns > _POLLING_SHARE_MIN * _SETTLE_S * 1e9:
                return thread
    raise MeasurementFailed(process.describe("no worker of it polls"))


def _run_times(pid):
    """{thread: (name, ns it ran)} of a process and its children. Source: proc(5), schedstat."""
    times = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            ran_ns = int((task / "schedstat").read_text().split()[0])
            times[task.name] = ((task / "comm").read_text(), ran_ns)
            children = (task / "children").read_text().split()
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        for child in children:
            times |= _run_times(child)
    return times
