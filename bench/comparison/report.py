"""One folder a run: report.md, compare.json and plots, never edited by hand."""

import json

from peers.packages import ensure_packages

from . import MeasurementFailed, perf, plots
from .figures import CONSUMERS, LARGE
from .profile import instructions_by_stage, profile_cycles
from .stages import OWN_STAGES, STAGES
from .table import json_row, markdown, scaled, table_rows

_SWEEP_CONSUMERS = (1, 2, 8, 64, 512, 4096, 32_768, 100_000)
_SWEEP_PAYLOADS_BYTES = (22, 200, 512, 1316)
_SWEEP_TRIALS = 5
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
_PROFILE_TEXT = """## Where a copy's cycles go

N = {consumers}, {payload} B, chained, one worker. Cycles of the TSC: samples of the worker's thread
(perf, by {event}) times the cycles of a copy. Instructions: counted by callgrind in a run of its
own. Stages in italics are not ours.

{table}
{notes}"""

_HEAD = """# Penstock beside its peers

{facts}

Medians over at least 5 rounds of one run on this machine: ours, peer, ours, peer; the ratio is the
median of the rounds' ratios. In brackets: the least and the most. net_pcap plays packets without
end and net_null drops, so these are CPU costs, not wire rates, and comparable with nothing measured
elsewhere.

{table}
"""


def write_report(folder, bench, outcomes, environment, say=lambda line: None):
    """Measures what only a report shows (sweep, latency, profile) and writes `folder`."""
    ensure_packages(plots.PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.json").write_text(compare_json(outcomes))
    facts = "\n".join(f"- {what}: {text}" for what, text in environment.items())
    text = _HEAD.format(facts=facts, table=markdown(table_rows(outcomes)))
    for name, part in (("sweep", _sweep), ("latency", _latency), ("profile", _profile)):
        say(f"report: {name}")
        try:
            text += "\n" + part(folder, bench)
        except MeasurementFailed as error:
            text += f"\n## {name.capitalize()}\n\nNot measured: {error}\n"
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
            name = stage if stage in OWN_STAGES else f"*{stage}*"
            cells.append((name, f"{cycles:.1f}", f"{count:.1f}", why))
    own = sum(count for stage, count in instructions.items() if stage in OWN_STAGES)
    cells.append(("**ours**", f"**{profile.own_cycles:.1f}**", f"**{own:.1f}**",
                  "the stages not in italics"))
    cells.append(("**all**", f"**{sum(profile.cycles.values()):.1f}**",
                  f"**{sum(instructions.values()):.1f}**",
                  f"at {scaled(profile.copies_per_second)} copies/s"))
    return markdown(cells)


def _sweep(folder, bench):
    rows = bench.ours.sweep(_SWEEP_CONSUMERS, _SWEEP_PAYLOADS_BYTES, _SWEEP_TRIALS)
    plots.draw(plots.sweep_script(rows, folder / "rate.svg", "Copies a second by one worker",
                                  "million copies/s", lambda row: row.copies_per_second / 1e6))
    plots.draw(plots.sweep_script(rows, folder / "cost.svg", "Cost of a copy", "ns/copy",
                                  lambda row: row.ns_per_copy))
    reasons = sorted({row.why for row in rows if row.why})
    notes = "".join(f"\n† {reason}\n" for reason in reasons)
    return _SWEEP_TEXT.format(trials=_SWEEP_TRIALS, table=sweep_table(rows), notes=notes)


def _latency(folder, bench):
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


def _profile(_folder, bench):
    profile = profile_cycles(bench, CONSUMERS, LARGE)
    instructions = instructions_by_stage(bench, CONSUMERS, LARGE)
    return _PROFILE_TEXT.format(consumers=CONSUMERS, payload=LARGE, event=perf.event(),
                                table=profile_table(profile, instructions),
                                notes=_doubt(profile.why))


def _doubt(why):
    return f"\nNot to be trusted: {why}\n" if why else ""
