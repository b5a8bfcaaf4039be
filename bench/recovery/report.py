"""One folder a run of bench/failover: report.md and failover.json, never edited by hand."""

from comparison.results import facts_list
from comparison.table import markdown

from .figures import as_json, table_rows

_HEAD = """# When a server dies

{facts}

What is measured, and how: bench/README.md, "When a server dies". Percentiles are values that were
measured: p99 of fewer than 100 trials is the worst one. Every value of every trial is in
failover.json.

{table}
"""
_FIGURES = """
| figure | what it is |
|---|---|
{lines}
"""


def write_report(folder, figures, rows, facts):
    """`rows`: of `figures`, in their order; `facts`: {what: text}, of machine and run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failover.json").write_text(as_json(rows))
    text = _HEAD.format(facts=facts_list(facts), table=markdown(table_rows(rows)))
    text += "".join(f"\n{row.part.name}: {row.failure}\n" for row in rows if row.failure)
    lines = "\n".join(f"| {figure.name} | {figure.title} |" for figure in figures)
    (folder / "report.md").write_text(text + _FIGURES.format(lines=lines))
