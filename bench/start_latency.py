#!/usr/bin/python3
"""How fast START reaches a publisher that has been waiting: the whole figure by one command.

Makes network namespaces, starts presence and a data server in them, and runs penstock-bench-start:
100 samples, each of a publisher that waited 10 s. Further words go to penstock-bench-start, whose
--help explains them. Run as root, from a build.
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
TINY = ["--samples", "3", "--parallel", "3", "--idle", "100ms"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build")
    parser.add_argument("--driver", choices=harness.DRIVERS, default=harness.DRIVERS[0])
    parser.add_argument("--tiny", action="store_true", help="3 samples, to see that it works")
    return parser.parse_known_args()


def main():
    arguments, words = parse_arguments()
    harness.sweep()
    with tempfile.TemporaryDirectory() as directory, harness.World(directory) as world:
        programs = harness.Programs(world, arguments.build_dir)
        programs.presence()
        # Small rings: 50 streams at a time have to find room beside each other.
        host = world.add_data_server("ds1", arguments.driver)
        programs.data_server(host, "--ring-packets", "256")
        result = Path(directory) / "result.json"
        command = [str(arguments.build_dir.resolve() / "bench" / "penstock-bench-start")]
        command += ["--presence", f"{world.presence.control_address}:7400", "--insecure"]
        command += ["--json", str(result), *(TINY if arguments.tiny else []), *words]
        shown = world.add_host("bench").run(command, RUN_TIMEOUT_S)
        print(shown.stdout, end="")
        json.loads(result.read_text())  # a report that cannot be read is no report
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (harness.WorldError, harness.CommandFailed, harness.ProcessFailed) as error:
        sys.exit(f"start_latency.py: {error}")
