"""Where the report of a run goes, and the facts that each begins with."""

import datetime
from pathlib import Path

from . import ROOT


def report_folder(given, commit, what=""):
    """`given`: by --report, "" or None if it named none. Default: bench/results/<date>-<commit>,
    with `what` after it."""
    if given:
        return Path(given)
    name = "-".join(filter(None, (f"{datetime.date.today():%Y-%m-%d}", commit, what)))
    return ROOT / "bench" / "results" / name


def facts_list(facts):
    """{what: text} as a list in Markdown."""
    return "\n".join(f"- {what}: {text}" for what, text in facts.items())
