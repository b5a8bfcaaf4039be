"""How bench/placement shows what the simulator wrote, without simulating anything."""

import json
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[3] / "bench"
sys.path.insert(0, str(BENCH))

from comparison.placement import servers_script, streams_script, write_report  # noqa: E402


def row(scenario, servers, policy, mean, more, seconds=600.0):
    return {"scenario": scenario, "servers": servers, "policy": policy, "trials": 5,
            "seconds": seconds, "peak_to_mean": mean, "least": mean - 0.1, "greatest": mean + 0.1,
            "p99": mean + 1, "most": mean + 2, "more_than_ours": more,
            "more_than_ours_uncertainty": 0.01 if more else 0, "placed": 1_999, "refused": 1}


ROWS = [
    row("bursts", 100, "least busy, recent period", 1.5, 0),
    row("bursts", 100, "random", 2.5, 1.0),
    row("bursts", 1_000, "least busy, recent period", 2, 0, 150.0),
    row("bursts", 1_000, "least busy by figures alone", 90, 88, 150.0),
    row("even", 100, "least busy, recent period", 1.2, 0),
    row("even", 100, "random", 2.2, 1.0),
]


def test_a_report_has_a_table_for_each_number_of_data_servers_and_one_for_other_streams(tmp_path):
    write_report(tmp_path, ROWS, "abc")
    text = (tmp_path / "report.md").read_text()
    assert "- commit: abc\n" in text
    assert "simulated for 600 s (1,000 data servers: 150 s), of which" in text
    assert "## 100 data servers\n\n| policy | mean | p99 | than ours | refused | trials |" in text
    assert "| random | 2.50 (2.40 – 2.60) | 3.50 | +1.00 ± 0.01 | 1 of 2,000 | 5 |" in text
    assert "| least busy, recent period | 2.00 (1.90 – 2.10) | 3.00 | – |" in text
    assert "| even | random | 2.20 " in text
    assert json.loads((tmp_path / "placement.json").read_text()) == ROWS
    assert "<svg" in (tmp_path / "servers.svg").read_text()
    assert "<svg" in (tmp_path / "streams.svg").read_text()


def test_plots_leave_out_what_would_hide_all_else(tmp_path):
    script = servers_script(ROWS, tmp_path / "a.svg")
    assert "yerrorlines title 'random'" in script
    assert "figures alone" not in script
    script = streams_script([one for one in ROWS if one["servers"] == 100], tmp_path / "b.svg")
    assert '$f << EOD\n"bursts" 1.5 2.5\n"even" 1.2 2.2\nEOD\n' in script
