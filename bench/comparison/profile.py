"""Where the cycles and instructions of a copy go, by stage, in a running penstock-bench."""

import collections
import math
import time
from dataclasses import dataclass
from pathlib import Path

from peers.packages import ensure_packages
from world import CommandFailed, ProcessFailed, run

from . import MeasurementFailed, callgrind, perf
from .penstock_bench import rows_of
from .rounds import Sample
from .stages import OWN_STAGES, STAGES, stage_of_frames, stage_of_library

_START_S = 1.2  # before the worker is found polling
_END_TIMEOUT_S = 30
_TOOL_TIMEOUT_S = 60
_WINDOW_S = 0.8  # in which samples are taken
_COUNTED_TRIALS = 5
_TURN = "penstock::Worker::run_once*"  # all that a worker does; what starts it is left out
# What a slow, simulated machine without hugepages runs.
_COUNTED_WORDS = ["--no-huge", "--memory", "128MiB", "--ring-packets", "1024"]


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

    def sample_without(self, stage):
        """All cycles of a copy but those of one stage."""
        return Sample(sum(self.cycles.values()) - self.cycles.get(stage, 0), self.why)


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


def packets_of(counts, program, frames):
    """Packets that passed while instructions were counted. Every packet takes the same way through
    classify, so most of its instructions were executed as often as there were packets."""
    executed = collections.Counter()
    for (file, address), count in counts.items():
        is_ours = Path(file).name == program.name
        if is_ours and stage_of_frames(frames.get(address, [])) == "classify":
            executed[count] += count
    if not executed:
        raise MeasurementFailed("no instruction of classify was counted")
    return executed.most_common(1)[0][0]


def profile_cycles(bench, consumers, payload_bytes, *options):
    """The Profile of `penstock-bench replicate` at one point, with further `options`. Thread: the
    main thread."""
    trials = math.ceil((_START_S + _WINDOW_S) / bench.ours.trial_s)
    words = bench.ours.replicate_words([consumers], [payload_bytes], trials) + list(options)
    name = f"profiled_{time.monotonic_ns()}"
    process = bench.ours.start(bench.directory, name, words)
    try:
        thread = perf.polling_thread(process)
        weights = perf.sample(thread, _WINDOW_S, bench.directory / f"{name}.data")
        if process.wait(_END_TIMEOUT_S) != 0:
            raise MeasurementFailed(process.describe("penstock-bench failed"))
        row = rows_of(process.stdout.text())[0]
    except (CommandFailed, ProcessFailed) as error:
        raise MeasurementFailed(f"no profile: {error}") from error
    finally:
        process.close()
    program = bench.ours.program
    stages = by_stage(weights, program, _frames(program, weights))
    cycles_per_weight = row.cycles_per_copy / sum(weights.values())
    cycles = {stage: weight * cycles_per_weight for stage, weight in stages.items()}
    return Profile(cycles, row.copies_per_second, row.why)


def instructions_by_stage(bench, consumers, payload_bytes):
    """{stage: instructions a copy} of `penstock-bench replicate` at one point; takes half a
    minute."""
    ensure_packages(callgrind.PACKAGES)
    program = bench.ours.program
    words = bench.ours.replicate_words([consumers], [payload_bytes], _COUNTED_TRIALS)
    try:
        counts = callgrind.count([program, *words, *_COUNTED_WORDS], _TURN, bench.directory)
    except CommandFailed as error:
        raise MeasurementFailed(f"no instructions counted: {error}") from error
    frames = _frames(program, counts)
    copies = packets_of(counts, program, frames) * consumers
    return {stage: count / copies for stage, count in by_stage(counts, program, frames).items()}


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
