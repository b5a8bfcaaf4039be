"""One folder a run: report.md, compare.json and plots, never edited by hand."""

import json
from dataclasses import dataclass

from peers.packages import ensure_packages

from . import MeasurementFailed, perf, plots
from .figures import CONSUMERS, LARGE, SMALL
from .profile import Point, Profile, instructions_by_stage, profile_cycles
from .results import facts_list
from .rounds import summary
from .stages import OWN_STAGES, STAGES
from .table import json_row, markdown, scaled, table_rows

_SWEEP_CONSUMERS = (1, 2, 8, 64, 512, 4096, 32_768, 100_000)
_SWEEP_PAYLOADS_BYTES = (22, 200, 512, 1316)
_SWEEP_TRIALS, _SWEEP_TRIALS_QUICK = 5, 3
# Of each, where its cycles and instructions go; the first with a word on every stage.
_PROFILED = {
    "N = 64, 1316 B": Point(CONSUMERS, LARGE),
    "N = 64, 22 B": Point(CONSUMERS, SMALL),
    "N = 8, 1316 B": Point(8, LARGE),
    "N = 1, 22 B": Point(1, SMALL),
    "N = 1, 22 B, history off": Point(1, SMALL, ("--history", "off")),
}
_PROFILED_QUICK = 2
_SWEEP_TEXT = """## Rate and cost against N

One worker: copies a second and the cost of a copy, median of {trials} trials a point.

{table}
{notes}
![rate](rate.svg)

![cost](cost.svg)
"""
_LATENCY_TEXT = """## Added latency

N = {consumers}, {payload} B, half the highest rate, open loop. Added: from when a packet was in the
port's queue to when its last copy was handed to TX, of packets sent within 1 µs of when they were
due. First, last: from when a packet was due to when its first and its last copy were handed to TX,
of all packets; here counts, too, what kept the generator from its work. Skew: from the first copy
to the last; copies of one TX burst have none.

{table}

{late:.1%} of the packets were sent late, at {rate} packets/s; the worker was idle {idle:.0%} of the
time.
{notes}
![latency](latency.svg)
"""
_PROFILE_TEXT = """## Where a copy's cycles and instructions go

N = {consumers}, {payload} B, chained, one worker. Cycles of the TSC: samples of the worker's thread
(perf, by {event}) times the cycles of a copy. Stages in italics are not ours. Instructions:
{counted}.

{table}

The same with other fan-outs and payloads, cycles / instructions a copy. 22 B are copied, 1316 B
shared; with history off and N = 1 a packet leaves in the mbuf it came in.

{others}
{notes}"""

_HEAD = """# Penstock beside its peers

{facts}

Medians over at least 5 rounds of one run on this machine: ours, peer, ours, peer; the ratio is the
median of the rounds' ratios. In brackets: the least and the most. net_pcap plays packets without
end and net_null drops, so these are CPU costs, not wire rates, and comparable with nothing measured
elsewhere.

{table}
"""


@dataclass(frozen=True)
class Profiled:
    """One point of the profile. `counted`: how its instructions were."""

    title: str
    point: Point
    profile: Profile
    instructions: dict
    counted: str


def write_report(folder, bench, outcomes, environment, quick=False, say=lambda line: None):
    """Measures what only a report shows (sweep, latency, profile; `quick`: less of it) and writes
    `folder`: report.md, its plots, compare.json and profile.json."""
    ensure_packages(plots.PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.json").write_text(compare_json(outcomes))
    text = _HEAD.format(facts=facts_list(environment), table=markdown(table_rows(outcomes)))
    for name, part in (("sweep", _sweep), ("latency", _latency), ("profile", _profile)):
        say(f"report: {name}")
        try:
            text += "\n" + part(folder, bench, quick)
        except MeasurementFailed as error:
            text += f"\n## {name.capitalize()}\n\nNot measured: {str(error).splitlines()[0]}\n"
    (folder / "report.md").write_text(text)


def compare_json(outcomes):
    return json.dumps([json_row(outcome) for outcome in outcomes], indent=2,
                      ensure_ascii=False) + "\n"


def sweep_table(rows):
    """Copies a second and ns a copy: a line for each number of consumers, two columns a payload."""
    payloads = sorted({row.payload_bytes for row in rows})
    cells = [("N", *(f"{payload} B" for payload in payloads))]
    for consumers in sorted({row.consumers for row in rows}):
        line = [f"{consumers:,}"]
        for payload in payloads:
            line += [
                f"{scaled(row.copies_per_second)} ({row.ns_per_copy:.1f} ns)"
                + (" †" if row.why else "")
                for row in rows
                if (row.consumers, row.payload_bytes) == (consumers, payload)
            ]
        cells.append(tuple(line))
    return markdown(cells)


def profile_table(profile, instructions):
    """Cycles and instructions a copy: a line a stage, foreign ones in italics, then the sums."""
    cells = [("stage", "cycles", "instructions", "why")]
    for stage, why in STAGES.items():
        cycles, count = profile.cycles.get(stage, 0), instructions.get(stage, 0)
        if cycles or count:
            cells.append((_named(stage), _tenths(cycles), _tenths(count), why))
    own, every = _sums(instructions)
    cells.append(("**ours**", f"**{profile.own_cycles:.1f}**", f"**{own:.1f}**",
                  "the stages not in italics"))
    cells.append(("**all**", f"**{sum(profile.cycles.values()):.1f}**", f"**{every:.1f}**",
                  f"at {scaled(profile.copies_per_second)} copies/s"))
    return markdown(cells)


def profiles_table(profiled):
    """Cycles and instructions a copy of several points: a line a stage, a column a point."""
    cells = [("stage", *(one.title for one in profiled))]
    for stage in STAGES:
        pairs = [(one.profile.cycles.get(stage, 0), one.instructions.get(stage, 0))
                 for one in profiled]
        if any(any(pair) for pair in pairs):
            cells.append((_named(stage), *(f"{_tenths(cycles)} / {_tenths(count)}"
                                           for cycles, count in pairs)))
    sums = [(_sums(one.profile.cycles), _sums(one.instructions)) for one in profiled]
    for name, which in (("**ours**", 0), ("**all**", 1)):
        cells.append((name, *(f"**{cycles[which]:.1f} / {counts[which]:.1f}**"
                              for cycles, counts in sums)))
    return markdown(cells)


def profile_json(profiled, event):
    """The same for programs: an array with an object a point."""
    rows = [
        {
            "consumers": one.point.consumers,
            "payload_bytes": one.point.payload_bytes,
            "title": one.title,
            "copies_per_second": one.profile.copies_per_second,
            "cycles_by_stage": one.profile.cycles,
            "cycles_sampled_by": event,
            "instructions_by_stage": one.instructions,
            "instructions": " ".join(one.counted.split()),
            "why": one.profile.why,
        }
        for one in profiled
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _tenths(value):
    """What two runs differ by may be less than nothing by a hair."""
    return f"{max(value, 0):.1f}"


def _named(stage):
    return stage if stage in OWN_STAGES else f"*{stage}*"


def _sums(stages):
    """(of our stages, of all)."""
    own = sum(weight for stage, weight in stages.items() if stage in OWN_STAGES)
    return own, sum(stages.values())


def _sweep(folder, bench, quick):
    trials = _SWEEP_TRIALS_QUICK if quick else _SWEEP_TRIALS
    rows = bench.ours.sweep(_SWEEP_CONSUMERS, _SWEEP_PAYLOADS_BYTES, trials)
    plots.draw(plots.sweep_script(rows, folder / "rate.svg", "Copies a second by one worker",
                                  "million copies/s", lambda row: row.copies_per_second / 1e6))
    plots.draw(plots.sweep_script(rows, folder / "cost.svg", "Cost of a copy", "ns/copy",
                                  lambda row: row.ns_per_copy))
    notes = "".join(f"\n† {reason}\n" for reason in summary([row.why for row in rows], "points"))
    return _SWEEP_TEXT.format(trials=trials, table=sweep_table(rows), notes=notes)


def _latency(folder, bench, _quick):
    row = bench.ours.latency(CONSUMERS, LARGE)
    plots.draw(plots.latency_script(row, folder / "latency.svg"))
    kinds = [key for key in ("added_us", "first_us", "last_us", "skew_us") if key in row]
    cells = [("µs", *row[kinds[0]])]
    cells += [(key.removesuffix("_us"), *(f"{value:.1f}" for value in row[key].values()))
              for key in kinds]
    return _LATENCY_TEXT.format(consumers=CONSUMERS, payload=LARGE, table=markdown(cells),
                                late=row["late_share"], idle=row["idle_share"],
                                rate=scaled(row["rate_packets_per_second"]),
                                notes=_doubt(row["why"]))


def _profile(folder, bench, quick):
    profiled = []
    for title, point in list(_PROFILED.items())[: _PROFILED_QUICK if quick else None]:
        profile = profile_cycles(bench, point)
        instructions, counted = instructions_by_stage(bench, point)
        profiled.append(Profiled(title, point, profile, instructions, counted))
    event = perf.time_event()
    (folder / "profile.json").write_text(profile_json(profiled, event))
    first, *others = profiled
    reasons = summary([one.profile.why for one in profiled], "points")
    return _PROFILE_TEXT.format(consumers=first.point.consumers, payload=first.point.payload_bytes,
                                event=event, counted=first.counted,
                                table=profile_table(first.profile, first.instructions),
                                others=profiles_table(others),
                                notes="".join(_doubt(reason) for reason in reasons))


def _doubt(why):
    return f"\nNot to be trusted: {why}\n" if why else ""
