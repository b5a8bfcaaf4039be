"""Counts test cases from what `meson test` and the test programs leave behind."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """How many cases passed, failed, and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def read_log(path: Path) -> list[dict]:
    """The tests of one `meson test` run, from its JSON log (one object a line)."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def result_file(build: Path, test: dict) -> Path:
    """Where the program of `test` leaves its cases; tests/meson.build says why there."""
    return build / (test["name"].split(" / ")[-1].split(":")[-1].strip() + ".xml")


def count_test(test: dict, results: Path) -> Counts:
    """The cases of one meson test. Without a (readable) result file the test itself is one case;
    a program that failed although each of its cases passed has one failed case more."""
    ended_well = test["result"] in ("OK", "EXPECTEDFAIL")
    try:
        cases = count_cases(results)
    except (FileNotFoundError, ElementTree.ParseError):
        if test["result"] == "SKIP":
            return Counts(skipped=1)
        return Counts(passed=1) if ended_well else Counts(failed=1)
    if not ended_well and not cases.failed:
        cases += Counts(failed=1)
    return cases


def count_cases(results: Path) -> Counts:
    """The cases of a JUnit file as GoogleTest and pytest write it."""
    counts = Counts()
    for case in ElementTree.parse(results).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            counts += Counts(failed=1)
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            counts += Counts(skipped=1)
        else:
            counts += Counts(passed=1)
    return counts
