"""The machine and the commit a figure belongs to."""

import os
import platform
import re
from pathlib import Path

from world import CommandFailed, run

from . import ROOT

_DESCRIBE = ["describe", "--always", "--dirty", "--abbrev=12"]
_STEAL_FIELD = 8  # of /proc/stat's first line, proc(5)


def environment():
    """{what: text} for a report, in the order of a report."""
    return {
        "commit": _first_line(["git", "-C", ROOT, *_DESCRIBE]),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {virtualisation()}",
        "CPU": cpu_model(Path("/proc/cpuinfo").read_text()),
        "governor": governor(),
        "kernel": platform.release(),
        "DPDK": _first_line(["pkg-config", "--modversion", "libdpdk"]),
        "hugepages": hugepages(Path("/proc/meminfo").read_text()),
    }


def cpu_model(text):
    """Name and MHz of /proc/cpuinfo's first CPU."""
    fields = dict(re.findall(r"^(model name|cpu MHz)\s*: (.*)$", text, re.MULTILINE))
    return f"{fields.get('model name', 'unknown')}, {fields.get('cpu MHz', 'unknown')} MHz"


def governor():
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else "the host's (none shown to this machine)"


def virtualisation():
    hypervisor = Path("/sys/hypervisor/type")
    if hypervisor.exists():
        return hypervisor.read_text().strip()
    flags = Path("/proc/cpuinfo").read_text()
    return "virtual machine" if re.search(r"^flags.*\bhypervisor\b", flags, re.M) else "bare metal"


def hugepages(text):
    fields = dict(re.findall(r"^(HugePages_Total|Hugepagesize):\s*(.*)$", text, re.MULTILINE))
    return f"{fields.get('HugePages_Total', '0')} of {fields.get('Hugepagesize', 'unknown')}"


def stolen_share(before, after):
    """Share of all CPU time that the host took between two texts of /proc/stat."""
    ticks = [
        new - old for old, new in zip(_ticks_of(before), _ticks_of(after), strict=True)
    ]
    return ticks[_STEAL_FIELD - 1] / max(sum(ticks), 1)


def _ticks_of(text):
    """user to steal of the line of all CPUs; guest time is in user already."""
    return [int(field) for field in text.splitlines()[0].split()[1 : _STEAL_FIELD + 1]]


def _first_line(words):
    try:
        return run(words).stdout.splitlines()[0]
    except (CommandFailed, IndexError):
        return "unknown"
