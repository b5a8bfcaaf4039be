"""Where the cycles and instructions of a copy go, by stage, in a running penstock-bench."""

import collections
import math
import time
from dataclasses import dataclass
from pathlib import Path

from peers.packages import ensure_packages
from world import CommandFailed, ProcessFailed, run

from . import MeasurementFailed, callgrind, perf
from .penstock_bench import PenstockBench, drivers_of, rows_of
from .rounds import Sample
from .stages import OWN_STAGES, STAGES, stage_of_frames, stage_of_library

_START_S = 1.2  # before the worker is found polling
_END_TIMEOUT_S = 30
_TOOL_TIMEOUT_S = 60
_WINDOW_S = 0.8  # in which samples are taken
_TURN = "penstock::Worker::run_once*"  # all that a worker does; what starts it is left out
# What a slow, simulated machine without hugepages runs, for two times: what the longer run has more
# than the shorter one are copies and nothing else.
_COUNTED_WORDS = ["--no-huge", "--memory", "128MiB", "--ring-packets", "1024", "--warm-up", "50ms"]
_COUNTED_TRIALS = 1
_COUNTED_TIMES_S = (0.01, 0.2)
SAMPLED = "sampled by perf's event instructions"
COUNTED = """counted by callgrind in runs of its own, as this machine shows no counter of them. It
knows no AVX-512: packet_copy runs there in its AVX2 version, where this CPU may take a wider one"""


@dataclass(frozen=True)
class Point:
    """What `penstock-bench replicate` is to run, with further options."""

    consumers: int
    payload_bytes: int
    options: tuple = ()

    def words(self, ours, trials):
        words = ours.replicate_words([self.consumers], [self.payload_bytes], trials)
        return [*words, *map(str, self.options)]


@dataclass(frozen=True)
class Profile:
    """Cycles of the TSC a copy, by stage. `why`: what makes it untrustworthy; "" if nothing."""

    cycles: dict
    copies_per_second: float
    why: str

    @property
    def own_cycles(self):
        return sum(cost for stage, cost in self.cycles.items() if stage in OWN_STAGES)

    def own_sample(self):
        return Sample(self.own_cycles, self.why)


def by_stage(weights, program, frames):
    """{stage: weight} in the order of STAGES. `weights`: {(file, address): weight}; `frames`:
    {address in `program`: its source files, innermost first}."""
    sums = collections.Counter()
    for (file, address), weight in weights.items():
        if Path(file).name == program.name:
            sums[stage_of_frames(frames.get(address, []))] += weight
        else:
            sums[stage_of_library(file)] += weight
    return {stage: sums[stage] for stage in STAGES if sums[stage]}


def profile_cycles(bench, point):
    """The Profile of a Point. Thread: the main thread."""
    stages, row = _sampled(bench, point, perf.time_event())
    cycles_per_weight = row.cycles_per_copy / sum(stages.values())
    cycles = {stage: weight * cycles_per_weight for stage, weight in stages.items()}
    return Profile(cycles, row.copies_per_second, row.why)


def instructions_by_stage(bench, point):
    """({stage: instructions a copy} of a Point, SAMPLED or COUNTED). Takes a second or, counted, a
    quarter of a minute. Thread: the main thread."""
    if perf.supports("instructions"):
        stages, row = _sampled(bench, point, "instructions")
        return each(stages, row.copies_per_second * _WINDOW_S), SAMPLED
    ensure_packages(callgrind.PACKAGES)
    shorter, longer = (_counted(bench, point, trial_s) for trial_s in _COUNTED_TIMES_S)
    return difference(shorter, longer), COUNTED


def each(stages, copies):
    """What the stages took, a copy."""
    return {stage: weight / copies for stage, weight in stages.items()}


def difference(shorter, longer):
    """What a copy took, of two runs ({stage: weight}, copies): what both began with cancels out."""
    copies = longer[1] - shorter[1]
    if copies <= 0:
        raise MeasurementFailed(
            f"a longer run made {longer[1]} copies and a shorter one {shorter[1]}")
    stages = {stage: weight - shorter[0].get(stage, 0) for stage, weight in longer[0].items()}
    return each(stages, copies)


def _sampled(bench, point, event):
    """({stage: weight} of a worker's samples by `event`, the Row of the run)."""
    trials = math.ceil((_START_S + _WINDOW_S) / bench.ours.trial_s)
    name = f"profiled_{time.monotonic_ns()}"
    process = bench.ours.start(bench.directory, name, point.words(bench.ours, trials))
    try:
        thread = perf.polling_thread(process)
        weights = perf.sample(thread, event, _WINDOW_S, bench.directory / f"{name}.data")
        if process.wait(_END_TIMEOUT_S) != 0:
            raise MeasurementFailed(process.describe("penstock-bench failed"))
        printed = process.stdout.text()
        row = rows_of(printed)[0]
    except (CommandFailed, ProcessFailed) as error:
        raise MeasurementFailed(f"no profile: {error}") from error
    finally:
        process.close()
    bench.ours.drivers |= drivers_of(printed)
    program = bench.ours.program
    return by_stage(weights, program, _frames(program, weights)), row


def _counted(bench, point, trial_s):
    """({stage: instructions}, copies) of a worker's whole life."""
    program = bench.ours.program
    words = point.words(PenstockBench(program, trial_s), _COUNTED_TRIALS)
    try:
        counts, printed = callgrind.count(
            [program, *words, *_COUNTED_WORDS], _TURN, bench.directory)
    except CommandFailed as error:
        raise MeasurementFailed(f"no instructions counted: {error}") from error
    return by_stage(counts, program, _frames(program, counts)), rows_of(printed)[0].copies_in_all


def _frames(program, weights):
    """{address: source files, innermost first} of the program's addresses, by its line tables."""
    addresses = sorted({
        address for file, address in weights
        if Path(file).name == program.name and address is not None
    })
    text = "".join(f"{address:#x}\n" for address in addresses)
    words = ["addr2line", "-a", "-i", "-e", program]
    return frames_of(run(words, _TOOL_TIMEOUT_S, stdin_text=text).stdout)


def frames_of(text):
    """{address: source files, innermost first} of `addr2line -a -i`."""
    frames = {}
    found = []
    for line in text.splitlines():
        if line.startswith("0x"):
            found = frames.setdefault(int(line, 16), [])
        else:
            found.append(line.rpartition(":")[0])
    return frames
