"""What join.py and start_latency.py are built of: a presence server and a data server in network
namespaces, and a program of ours that measures them. Run as root, from a build."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import world as harness  # noqa: E402 - found by the line above

RUN_TIMEOUT_S = 300


def parser(description):
    """The options that both have; words it does not know go to the program that measures."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("--build-dir", type=Path, default=ROOT / "build")
    options.add_argument("--driver", choices=harness.DRIVERS, default=harness.DRIVERS[0])
    options.add_argument("--tls", action="store_true", help="with certificates at both ends")
    return options


def measure(arguments, program, words, data_server_words=()):
    """Starts the servers, runs `program` (its name in the build's bench/, and a sub-command if it
    has any) with `words`, prints what it says and returns the report it wrote."""
    harness.sweep()
    with tempfile.TemporaryDirectory() as directory, harness.World(directory) as world:
        programs = harness.Programs(world, arguments.build_dir)
        presence = world.add_presence()
        told = ["--insecure"]
        if arguments.tls:
            who = (f"presence={presence.control_address}", "data:ds1", "client")
            programs.certificates = harness.Certificates(Path(directory) / "certificates", *who)
            told = programs.certificates.words("client")
        programs.presence()
        host = world.add_data_server("ds1", arguments.driver)
        programs.data_server(host, *data_server_words)
        result = Path(directory) / "result.json"
        name, *sub_command = program
        command = [str(arguments.build_dir.resolve() / "bench" / name), *sub_command]
        command += ["--presence", f"{presence.control_address}:7400", *map(str, told)]
        command += ["--json", str(result), *words]
        shown = world.add_host("bench").run(command, RUN_TIMEOUT_S)
        print(shown.stdout, end="")
        return json.loads(result.read_text())


def run(main):
    """Ends the script with what `main` returns, or with one line that says what went wrong."""
    try:
        sys.exit(main())
    except (harness.WorldError, harness.CommandFailed, harness.ProcessFailed) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
