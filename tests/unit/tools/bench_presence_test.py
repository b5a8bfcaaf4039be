"""What bench/presence makes of what it has measured."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "support")]

from serving.report import Row, as_json, as_table, rows_of, write_report  # noqa: E402
from serving.trials import Asked, Grown, Size  # noqa: E402

ANSWER = {"seconds": 2.0, "requests": 24_000, "refused": 0, "p50_ms": 9.0, "p99_ms": 20.0,
          "reports": 20_000, "held_up": 0, "taken": 19_990}


def asked(**changed):
    one = Asked()
    one.add(ANSWER | changed, presence_cpu=0.9, load_cpu=0.8)
    return one


def grown():
    one = Grown()
    for count in (0, 500, 1_000):
        one.add(count, 50_000_000 + 20 * 1024 * count)
    return one


def rows(core=1_000_000, **changed):
    kinds = {kind: grown() for kind in ("servers", "publishers", "consumers")}
    both = {"request": asked(**changed), "renew": asked()}
    return {row.figure: row for row in rows_of([core, core], both, kinds, Size())}


def test_what_was_answered_is_counted_by_the_second():
    assert rows()["requests"].value == 12_000
    assert rows()["requests-reports-taken"].value == 9_995
    assert all(row.met is not False for row in rows().values())


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"requests": 19_999}, "requests"),
        ({"refused": 1}, "requests-refused"),
        ({"taken": 19_700}, "requests-reports-taken"),
        ({"held_up": 1}, "requests-reports-held-up"),
        ({"core": 999_999}, "core-events"),
    ],
)
def test_what_must_be_is_judged_figure_by_figure(changed, missed):
    assert [row.figure for row in rows(**changed).values() if row.met is False] == [missed]


def test_memory_is_what_each_more_session_takes():
    assert rows()["memory-consumer"].value == pytest.approx(20)
    assert grown().bytes_each == pytest.approx(20 * 1024)


def test_the_middle_of_the_trials_is_judged():
    row = Row("requests", "/s", [9_000, 10_500, 12_000], 10_000)
    assert row.met
    (said,) = json.loads(as_json([row]))
    assert (said["median"], said["must"], said["met"]) == (10_500, 10_000, True)
    assert said["values"] == [9_000, 10_500, 12_000]
    assert "10,500 /s (9,000 .. 12,000)" in as_table([row])


def test_a_folder_of_results_has_the_table_for_people_and_for_programs(tmp_path):
    write_report(tmp_path, list(rows().values()), Size(), 1, {"commit": "0123456789ab"})
    text = (tmp_path / "report.md").read_text()
    assert "0123456789ab" in text
    assert "| requests | 12,000 /s | ≥ 10,000 | yes |" in text
    assert "100,000 streams" in text
    assert len(json.loads((tmp_path / "presence.json").read_text())) == len(rows())
