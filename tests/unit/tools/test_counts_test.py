"""How tools/test counts what ran."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools" / "dev"))

from test_counts import Counts, count_test, read_log, result_file  # noqa: E402

GOOGLE_TEST = """<testsuites tests="4"><testsuite name="Ring">
<testcase name="Wraps" status="run" result="completed"/>
<testcase name="Fails" status="run" result="completed"><failure message="1"/><failure/></testcase>
<testcase name="Skips" status="run" result="skipped"><skipped message="no"/></testcase>
<testcase name="DISABLED_Off" status="notrun" result="suppressed"/>
</testsuite></testsuites>"""

PYTEST = """<testsuites><testsuite name="pytest" tests="3">
<testcase name="test_joins"/>
<testcase name="test_breaks"><error message="fixture">trace</error></testcase>
<testcase name="test_skips"><skipped/></testcase>
</testsuite></testsuites>"""


def meson_test(result: str) -> dict:
    return {"name": "penstock:unit / unit_base", "result": result, "returncode": 0}


def counted(tmp_path: Path, result: str, xml: str | None) -> Counts:
    results = result_file(tmp_path, meson_test(result))
    assert results == tmp_path / "unit_base.xml"
    if xml is not None:
        results.write_text(xml)
    return count_test(meson_test(result), results)


def test_google_test_cases_are_counted_one_by_one(tmp_path):
    assert counted(tmp_path, "FAIL", GOOGLE_TEST) == Counts(passed=1, failed=1, skipped=2)


def test_pytest_cases_are_counted_one_by_one(tmp_path):
    assert counted(tmp_path, "FAIL", PYTEST) == Counts(passed=1, failed=1, skipped=1)


def test_a_test_without_cases_counts_as_one(tmp_path):
    assert counted(tmp_path, "OK", None) == Counts(passed=1)
    assert counted(tmp_path, "SKIP", None) == Counts(skipped=1)


def test_a_program_that_crashed_or_ran_out_of_time_counts_as_failed(tmp_path):
    assert counted(tmp_path, "FAIL", None) == Counts(failed=1)
    assert counted(tmp_path, "TIMEOUT", None) == Counts(failed=1)
    assert counted(tmp_path, "FAIL", "<testsuites><testsu") == Counts(failed=1)


def test_a_program_that_fails_after_its_cases_passed_has_one_failure(tmp_path):
    passing = '<testsuites><testsuite><testcase name="A"/></testsuite></testsuites>'
    assert counted(tmp_path, "FAIL", passing) == Counts(passed=1, failed=1)


def test_a_run_that_left_no_log_has_no_tests(tmp_path):
    assert read_log(tmp_path / "unit.json") == []


def test_the_sum_is_printed_as_the_last_line_has_it():
    assert str(Counts(3, 1, 0) + Counts(1, 0, 2)) == "4 passed, 1 failed, 2 skipped"
