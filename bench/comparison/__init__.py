"""Penstock beside its peers: how bench/compare measures, judges and reports.

    figures         every figure: what is measured on each side, what it must reach
    rounds          ours, peer, ours, peer …; medians and spread
    disturbance     was a trial disturbed by the host or by other work
    penstock_bench  runs build/bench/penstock-bench and reads its JSON
    profile         perf: cycles and instructions per copy by stage, and why each costs what it does
    table           outcomes as a table and as JSON
    environment     the machine a figure belongs to
    results         where a report goes, and the facts it begins with
    plots, report   SVG by gnuplot; one folder a run
    prepare         tools/setup, meson and ninja where programs are missing

Standard library only. Start reading at figures.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))


class MeasurementFailed(Exception):
    """A figure, or one side of it, could not be measured; the message says what and why."""
