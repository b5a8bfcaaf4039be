"""From a fresh clone to programs that can be measured."""

import os
import subprocess
import sys

from . import ROOT, MeasurementFailed

PENSTOCK_BENCH = "bench/penstock-bench"
SOCKET_RELAY = "bench/peers/socket_relay"


def prepare(build):
    """Brings the programs in `build` up to date, so that what is measured is what is here: installs
    what building needs (tools/setup) and configures where that was never done."""
    if not (build / "build.ninja").exists():
        _step([ROOT / "tools" / "setup"])
        _step(["meson", "setup", build])
    _step(["ninja", "-C", build, "-j", os.cpu_count() or 1, PENSTOCK_BENCH, SOCKET_RELAY])


def _step(words):
    """Runs one step; its output goes to standard error, as a table or JSON is to come."""
    command = [str(word) for word in words]
    try:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                              check=False)
    except FileNotFoundError as error:
        raise MeasurementFailed(f"{command[0]}: not found; run tools/setup") from error
    if done.returncode != 0:
        raise MeasurementFailed(f"{' '.join(command)}: status {done.returncode}, see above")
