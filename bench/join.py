#!/usr/bin/python3
"""Joins a second at a data server and requests a second at presence: the figures by one command.

Makes network namespaces, starts presence and a data server in them, and runs penstock-bench join.
Further words go to it; its --help explains them. Run as root, from a build.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import world as harness  # noqa: E402 - found by the line above

RUN_TIMEOUT_S = 300


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build")
    parser.add_argument("--driver", choices=harness.DRIVERS, default=harness.DRIVERS[0])
    return parser.parse_known_args()


def main():
    arguments, words = parse_arguments()
    harness.sweep()
    with tempfile.TemporaryDirectory() as directory, harness.World(directory) as world:
        programs = harness.Programs(world, arguments.build_dir)
        programs.presence()
        programs.data_server(world.add_data_server("ds1", arguments.driver))
        result = Path(directory) / "result.json"
        command = [str(arguments.build_dir.resolve() / "bench" / "penstock-bench"), "join"]
        command += ["--presence", f"{world.presence.control_address}:7400", "--insecure"]
        command += ["--json", str(result), *words]
        shown = world.add_host("bench").run(command, RUN_TIMEOUT_S)
        print(shown.stdout, end="")
        row = json.loads(result.read_text())["rows"][0]
        if row["joins_per_second"]["max"] <= 0 or row["requests_per_second"]["max"] <= 0:
            sys.exit("join.py: nobody joined, or presence answered no request")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (harness.WorldError, harness.CommandFailed, harness.ProcessFailed) as error:
        sys.exit(f"join.py: {error}")
