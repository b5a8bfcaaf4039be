"""Was a time ours alone? Steal: the host took the CPU; waiting: another task had it."""

import os
import statistics
import time
from pathlib import Path

from .rounds import Sample

READINGS = 3  # of which the median counts
READINGS_MAX = 15
STEAL_SHARE_MAX = 0.005
WAITING_SHARE_MAX = 0.005
_STEAL_FIELD = 8  # of a cpu line in /proc/stat, proc(5)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def steal_ticks(text, cpu):
    """Ticks stolen from one CPU so far, from the text of /proc/stat; 0 if it does not name it."""
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0] == f"cpu{cpu}" and len(fields) > _STEAL_FIELD:
            return int(fields[_STEAL_FIELD])
    return 0


def thread_times(pid):
    """{thread: (ns on a CPU, ns ready but waiting for one)} of a process, as far as it has any.
    Source: Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat."""
    times = {}
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            ran, waited = task.read_text().split()[:2]
        except (OSError, ValueError):
            continue  # the thread ended, or the kernel keeps no such account
        times[task.parent.name] = (int(ran), int(waited))
    return times


class Watch:
    """Takes readings of a peer until enough are undisturbed. `cpus`: those whose steal counts."""

    def __init__(self, cpus):
        self._cpus = cpus
        self.repeated = 0
        self.why = ""

    def __call__(self, pid, read):
        """The median of READINGS undisturbed values of read(), while the process `pid` polls; of
        others, too, when READINGS_MAX were not enough: `why` then says what disturbed them."""
        good, bad = [], []
        while len(good) < READINGS and len(good) + len(bad) < READINGS_MAX:
            before = self._facts(pid)
            value = read()
            why = reason(before, self._facts(pid))
            if why:
                bad.append(value)
                self.why = why
            else:
                good.append(value)
        self.repeated += len(bad)
        if len(good) == READINGS:
            self.why = ""
        return statistics.median((good + bad)[:READINGS])

    def sample(self, measure, *words):
        """A Sample of measure(watch, *words)."""
        value = measure(self, *words)
        return Sample(value, self.why, self.repeated)

    def _facts(self, pid):
        text = Path("/proc/stat").read_text()
        steal = {cpu: steal_ticks(text, cpu) for cpu in self._cpus}
        return time.monotonic(), steal, thread_times(pid)


def reason(before, after):
    """What disturbed the time between two readings (seconds, steal ticks by CPU, thread times)."""
    elapsed_s = max(after[0] - before[0], 1e-9)
    reasons = []
    for cpu, ticks in after[1].items():
        share = (ticks - before[1][cpu]) / _TICKS_PER_S / elapsed_s
        if share > STEAL_SHARE_MAX:
            reasons.append(f"steal {share:.1%} of CPU {cpu}")
    grown = [
        (ran - before[2][thread][0], waited - before[2][thread][1])
        for thread, (ran, waited) in after[2].items()
        if thread in before[2]
    ]
    if grown:
        _, waited = max(grown)  # the polling thread is the one that ran most
        share = waited / 1e9 / elapsed_s
        if share > WAITING_SHARE_MAX:
            reasons.append(f"its thread waited {share:.1%} of the time for its CPU")
    return "; ".join(reasons)
