"""Instructions by address, counted by callgrind: exact, and on machines without a PMU, too."""

import collections
import re

from world import run

from . import MeasurementFailed

PACKAGES = ["valgrind"]
_TIMEOUT_S = 180
_NAME = re.compile(r"\((?P<number>\d+)\)(?: (?P<name>.*))?$")
_COST = re.compile(r"^(?P<address>0x[0-9a-f]+|[+-]\d+|\*) \S+ (?P<count>\d+)$")


def counts_of(text):
    """{(file, address in it): instructions executed there} of callgrind's output with
    --dump-instr=yes. Source: Valgrind manual, "Callgrind Format Specification"."""
    counts = collections.Counter()
    names = {}
    file, address, after_call = "", 0, False
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            kind, _, value = line.partition("=")
            name = _full_name(value, names)
            file = name if kind == "ob" else file
        elif line.startswith("calls="):
            after_call = True  # the next line is the cost of the callee: counted there
        else:
            cost = _COST.match(line)
            if cost:
                address = _moved(address, cost["address"])
                if not after_call:
                    counts[file, address] += int(cost["count"])
                after_call = False
    return counts


def _full_name(value, names):
    """callgrind writes a name once, with a number, and later only the number."""
    found = _NAME.match(value)
    if not found:
        return value
    if found["name"] is not None:
        names[found["number"]] = found["name"]
    return names.get(found["number"], value)


def _moved(address, words):
    """Addresses are written whole, or by their distance from the one before."""
    if words == "*":
        return address
    return int(words, 16) if words.startswith("0x") else address + int(words)


def count(words, function, directory):
    """(counts_of() a command inside `function`, wildcards allowed, and all it calls: of the process
    that executed most, if it has children; what the command printed)."""
    files = directory / "callgrind.out"
    valgrind = ["valgrind", "--tool=callgrind", "--fair-sched=yes", "--dump-instr=yes",
                f"--toggle-collect={function}", f"--callgrind-out-file={files}.%p"]
    done = run([*valgrind, *words], _TIMEOUT_S)
    found = [counts_of(path.read_text()) for path in directory.glob(f"{files.name}.*")]
    for path in directory.glob(f"{files.name}.*"):
        path.unlink()
    if not found:
        raise MeasurementFailed("valgrind wrote no counts")
    return max(found, key=lambda counts: sum(counts.values())), done.stdout
