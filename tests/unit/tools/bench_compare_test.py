"""How bench/compare takes rounds, judges figures and prints them, without measuring anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"
sys.path.insert(0, str(BENCH))

from comparison import MeasurementFailed  # noqa: E402
from comparison.disturbance import READINGS_MAX, Watch, reason, steal_ticks  # noqa: E402
from comparison.environment import cpu_model, hugepages, stolen_share  # noqa: E402
from comparison.figures import FIGURES, Figure, selected  # noqa: E402
from comparison.penstock_bench import (  # noqa: E402
    drivers_of,
    latency_rows_of,
    memory_of,
    rows_of,
)
from comparison.plots import latency_script, sweep_script  # noqa: E402
from comparison.profile import Point, Profile  # noqa: E402
from comparison.report import (  # noqa: E402
    Profiled,
    compare_json,
    profile_json,
    profile_table,
    profiles_table,
    sweep_table,
)
from comparison.rounds import Sample, Series, run_rounds, summary  # noqa: E402
from comparison.table import Outcome, aligned, json_row, markdown, scaled, table_rows  # noqa: E402

PROC_STAT = """cpu  1000 0 200 8000 0 0 0 20 0 0
cpu0 500 0 100 4000 0 0 0 5 0 0
cpu1 500 0 100 4000 0 0 0 15 0 0
"""
REPLICATE = """{"benchmark":"replicate","environment":{"cpu":"AMD EPYC",
"drivers":"net_pcap, net_null"},"rows":[
{"consumers":64,"payload_bytes":22,"streams":1,"workers":1,"history":true,"copies_per_second":
{"median":82698891.8,"min":56453616.7,"max":83813069.3,"trials":5,"repeated":15},
"cycles_per_copy":31.4393572,"ns_per_copy":12.0920605,"packets_per_second":1292243.59,
"copies_in_all":9000000,"drops":{},
"idle_share":0,"trusted":true,"why":""},
{"consumers":64,"payload_bytes":1316,"streams":1,"workers":1,"history":true,"copies_per_second":
{"median":43843682.7,"min":41748728.4,"max":45938691.4,"trials":5,"repeated":5},
"cycles_per_copy":59.3015878,"ns_per_copy":22.808303,"packets_per_second":685057.542,
"copies_in_all":4000000,"drops":{},
"idle_share":0,"trusted":false,"why":"disturbed, also when repeated"}]}
"""
LATENCY = """{"benchmark":"latency","environment":{},"rows":[{"consumers":64,"payload_bytes":1316,
"added_us":{"p50":1.2,"p90":2.2,"p99":7.75,"p999":18.5,"max":40.0},
"first_us":{"p50":1.5,"p90":2.5,"p99":8.1,"p999":20.5,"max":41.0},
"last_us":{"p50":2.5,"p90":3.5,"p99":9.25,"p999":21.5,"max":42.0},
"skew_us":{"p50":0,"p90":0,"p99":0,"p999":0,"max":0},"repeated":2,"trusted":true,"why":""}]}
"""


def figure(judged="ratio", at_least=True, must=0.9, aim=1.1, peer="theirs"):
    return Figure("one", "ours", peer, "copies/s", judged, at_least, must, aim, contest=None)


def series(*values, why=""):
    return Series([Sample(value, why) for value in values])


# Rounds.


def test_the_sides_take_turns_and_the_first_turn_alternates():
    turns = []
    ours, theirs = (lambda name=name: turns.append(name) or Sample(1) for name in "op")
    run_rounds(ours, theirs, 5, 60)
    assert "".join(turns) == "oppooppoop"


def test_a_disturbed_round_is_repeated_and_does_not_count():
    samples = iter([Sample(9, "steal"), *(Sample(value) for value in (1, 2, 3, 4, 5))])
    ours, peer = run_rounds(lambda: next(samples), None, 5, 60)
    assert ours.values == [1, 2, 3, 4, 5]
    assert ours.reasons == []
    assert peer is None


def test_rounds_of_either_side_go_together():
    ours = iter([Sample(1), Sample(2, "steal"), *(Sample(value) for value in (3, 4, 5, 6))])
    theirs = iter([Sample(value) for value in (10, 20, 30, 40, 50, 60)])
    our_series, peer_series = run_rounds(lambda: next(ours), lambda: next(theirs), 5, 60)
    assert our_series.values == [1, 3, 4, 5, 6]
    assert peer_series.values == [10, 30, 40, 50, 60]


def test_repetition_is_bounded_and_what_then_counts_says_why():
    taken = []
    ours, _ = run_rounds(lambda: taken.append(1) or Sample(7, "steal"), None, 5, 60)
    assert len(taken) == 10
    assert ours.values == [7] * 5
    assert ours.reasons == ["steal (5 of 5 rounds)"]


def test_reasons_that_differ_in_numbers_only_are_said_once():
    whys = ["Linux took the CPU away 9 time(s)", "", "Linux took the CPU away 12 time(s)", "steal"]
    assert summary(whys, "points") == ["Linux took the CPU away 9 time(s) (2 of 4 points)",
                                       "steal (1 of 4 points)"]
    assert summary(["steal"], "points") == ["steal"]


def test_when_patience_is_over_the_least_number_of_rounds_is_still_taken():
    taken = []
    ours, _ = run_rounds(lambda: taken.append(1) or Sample(7), None, 20, patience_s=-1)
    assert len(taken) == len(ours.values) == 5


def test_rounds_end_when_there_are_enough():
    ours, _ = run_rounds(lambda: Sample(7), None, 20, 60)
    assert len(ours.values) == 20


# Disturbance.


def test_steal_is_read_for_one_cpu():
    assert steal_ticks(PROC_STAT, 1) == 15
    assert steal_ticks(PROC_STAT, 7) == 0


@pytest.mark.parametrize(
    "after, said",
    [
        ((1.0, {1: 0}, {"9": (1_000_000_000, 0)}), ""),
        ((1.0, {1: 2}, {"9": (1_000_000_000, 0)}), "steal 2.0% of CPU 1"),
        ((1.0, {1: 0}, {"9": (900_000_000, 100_000_000)}), "its thread waited 10.0% of the time"),
        # A thread that hardly runs may wait as long as it likes.
        ((1.0, {1: 0}, {"9": (1_000_000_000, 0), "8": (1, 500_000_000)}), ""),
        # One that began in between is not judged.
        ((1.0, {1: 0}, {"7": (2_000_000_000, 900_000_000)}), ""),
    ],
)
def test_steal_and_waiting_disturb(after, said):
    before = (0.0, {1: 0}, {"9": (0, 0), "8": (0, 0)})
    found = reason(before, after)
    assert found.startswith(said) and bool(found) == bool(said)


def watch_with(monkeypatch, reasons):
    answers = iter(reasons)
    monkeypatch.setattr("comparison.disturbance.reason", lambda *_: next(answers))
    return Watch(cpus=())


def test_the_median_of_undisturbed_readings_counts(monkeypatch):
    watch = watch_with(monkeypatch, ["", "steal", "", ""])
    values = iter([3, 100, 1, 2])
    assert watch(1, lambda: next(values)) == 2
    assert (watch.repeated, watch.why) == (1, "")


def test_readings_that_stay_disturbed_say_so(monkeypatch):
    watch = watch_with(monkeypatch, ["steal"] * READINGS_MAX)
    sample = watch.sample(lambda take: take(1, lambda: 5))
    assert sample == Sample(5, "steal", READINGS_MAX)


def test_the_stolen_share_is_of_all_time():
    later = PROC_STAT.replace("1000 0 200 8000 0 0 0 20", "1050 0 200 8040 0 0 0 30")
    assert stolen_share(PROC_STAT, later) == pytest.approx(0.1)


# Ours.


def test_rows_of_penstock_bench_are_read():
    small, large = rows_of(REPLICATE)
    assert (small.consumers, small.payload_bytes, small.repeated) == (64, 22, 15)
    assert small.copies_per_second == 82698891.8
    assert (large.ns_per_copy, large.cycles_per_copy) == (22.808303, 59.3015878)
    assert (small.why, large.why) == ("", "disturbed, also when repeated")
    assert (small.copies_in_all, large.copies_in_all) == (9_000_000, 4_000_000)


def test_the_drivers_of_a_run_are_known():
    assert drivers_of(REPLICATE) == {"net_pcap", "net_null"}
    assert drivers_of('{"rows":[]}') == drivers_of("no JSON") == set()


def test_latency_and_memory_of_penstock_bench_are_read():
    assert latency_rows_of(LATENCY)[0]["added_us"]["p99"] == 7.75
    assert memory_of('{"rows":[{"hot_bytes_per_flow":64,"bytes_per_flow":200.5}]}') == (64, 200.5)


@pytest.mark.parametrize(
    "read, text",
    [
        (rows_of, ""),
        (rows_of, "[]"),
        (rows_of, '{"rows":[{"consumers":64}]}'),
        (latency_rows_of, '{"rows":[]}'),
        (latency_rows_of, '{"rows":[{"last_us":{"p99":1}}]}'),
        (latency_rows_of, '{"rows":[{"added_us":{"p50":1}}]}'),
        (memory_of, '{"rows":[{"hot_bytes_per_flow":64}]}'),
    ],
)
def test_json_of_another_shape_is_an_error_not_a_number(read, text):
    with pytest.raises(MeasurementFailed, match="penstock-bench"):
        read(text)


# Judgement.


@pytest.mark.parametrize(
    "at_least, ours, met, aim_met",
    [(True, 90, True, False), (True, 89.9, False, False), (True, 110, True, True),
     (False, 90, True, True), (False, 91, False, False)],
)
def test_a_ratio_is_held_against_both_limits(at_least, ours, met, aim_met):
    limits = {"must": 0.9, "aim": 1.1} if at_least else {"must": 0.9, "aim": 0.9}
    outcome = Outcome(figure(at_least=at_least, **limits), series(ours), series(100))
    assert json_row(outcome)["met"] == met
    assert json_row(outcome)["aim_met"] == aim_met


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    outcome = Outcome(figure(), series(1, 3, 2), series(1, 1, 4))
    row = json_row(outcome)
    assert (row["ours"], row["peer"], row["ratio"], row["rounds"]) == (2, 1, 1, 3)
    assert row["spread"] == {"ours": [1, 3], "peer": [1, 4], "ratio": [0.5, 3]}


def test_growth_is_what_the_ratio_has_above_one():
    outcome = Outcome(figure("growth", False, 0.15, 0.05), series(107), series(100))
    assert json_row(outcome)["ratio"] == pytest.approx(0.07)
    assert json_row(outcome)["met"]
    assert "+7.0%" in aligned(table_rows([outcome]))
    assert "≤ 15%" in aligned(table_rows([outcome]))


def test_a_value_without_a_peer_is_judged_by_itself():
    row = json_row(Outcome(figure("value", False, 18, 10, peer=""), series(12)))
    assert (row["ours"], row["peer"], row["ratio"], row["met"]) == (12, None, None, True)


def test_what_was_not_measured_is_a_row_that_is_not_met_and_says_why():
    outcome = Outcome(figure(), failure="there is no such program")
    row = json_row(outcome)
    assert (row["ours"], row["met"], row["why"]) == (None, False, "there is no such program")
    assert "NO: there is no such program" in aligned(table_rows([outcome]))


def test_what_only_slowed_us_does_not_undo_what_is_met():
    why = "disturbed, also when repeated: Linux took the CPU away 1 time(s)"
    outcome = Outcome(figure(), series(200, why=why), series(100))
    row = json_row(outcome)
    assert (row["met"], row["trusted"], row["why"]) == (True, False, f"ours: {why}")
    assert f"though ours: {why}" in aligned(table_rows([outcome]))


@pytest.mark.parametrize(
    "ours, peers",
    [("copies were lost", ""), ("disturbed; copies were lost", ""), ("", "disturbed: steal 2%")],
)
def test_any_other_doubt_does(ours, peers):
    outcome = Outcome(figure(), series(200, why=ours), series(100, why=peers))
    assert not outcome.met


def test_the_json_has_the_keys_of_the_table():
    rows = json.loads(compare_json([Outcome(figure(), series(100), series(100))]))
    assert {"figure", "ours", "peer", "ratio", "must", "met"} <= rows[0].keys()
    assert rows[0]["must"] == 0.9 and rows[0]["met"] is True


def test_numbers_keep_four_digits():
    assert [scaled(value) for value in (9.8765, 312457, 72_670_000, 9_999.4)] == [
        "9.877", "312.5 k", "72.67 M", "9999"
    ]


def test_tables_are_aligned_and_markdown():
    rows = [("a", "bb"), ("ccc", "d")]
    assert aligned(rows) == "a    bb\nccc  d"
    assert markdown(rows) == "| a | bb |\n|---|---|\n| ccc | d |"


# Figures and reports.


def test_every_figure_has_limits_that_go_the_same_way():
    assert len({one.name for one in FIGURES}) == len(FIGURES)
    for one in FIGURES:
        assert one.judged in ("ratio", "growth", "value")
        assert one.aim is None or (one.aim >= one.must) == one.at_least
        assert bool(one.peer) == (one.judged != "value")


def test_figures_are_chosen_by_name_or_by_its_first_part():
    assert [one.name for one in selected(["ovs", "inline"])] == ["inline", "ovs-22", "ovs-1316"]
    assert selected([]) == FIGURES
    with pytest.raises(ValueError, match="no figure 'outline'; there are chained, "):
        selected(["outline"])


def test_a_sweep_is_one_line_for_each_number_of_consumers():
    table = sweep_table(rows_of(REPLICATE))
    assert table.splitlines()[0] == "| N | 22 B | 1316 B |"
    assert table.splitlines()[2] == "| 64 | 82.7 M (12.1 ns) | 43.84 M (22.8 ns) † |"


def test_plots_draw_a_line_for_each_payload_and_each_latency(tmp_path):
    script = sweep_script(rows_of(REPLICATE), tmp_path / "a.svg", "t", "y", lambda r: r.ns_per_copy)
    assert "$p22 << EOD\n64 12.0920605\nEOD\n" in script
    assert "$p22 with linespoints title '22 B', $p1316 with" in script
    script = latency_script(latency_rows_of(LATENCY)[0], tmp_path / "b.svg")
    assert "$last_us << EOD\n0 2.5 p50\n1 3.5 p90\n2 9.25 p99\n" in script
    assert "$added_us" in script
    assert "$skew_us" not in script  # on a logarithmic scale there is no 0


def test_the_profile_s_sums_are_of_our_stages_and_of_all():
    profile = Profile({"classify": 1.0, "packet_copy": 8.0, "mbuf freeing": 20.0}, 1e8, "")
    lines = profile_table(profile, {"packet_copy": 39.0, "mbuf freeing": 80.0}).splitlines()
    assert lines[2].startswith("| classify | 1.0 | 0.0 | ")
    assert lines[4].startswith("| *mbuf freeing* | 20.0 | 80.0 | ")
    assert lines[5].startswith("| **ours** | **9.0** | **39.0** | ")
    assert lines[6].startswith("| **all** | **29.0** | **119.0** | ")


def test_profiles_of_several_points_stand_side_by_side():
    chained = Profile({"packet_copy": 8.0, "mbuf freeing": 20.0}, 1e8, "")
    plain = Profile({"classify": 30.0}, 2e7, "")
    profiled = [Profiled("N = 64", Point(64, 1316), chained, {"packet_copy": 39.0}, "COUNTED"),
                Profiled("N = 1", Point(1, 22), plain, {"classify": 90.0}, "COUNTED")]
    assert profiles_table(profiled).splitlines() == [
        "| stage | N = 64 | N = 1 |", "|---|---|---|",
        "| classify | 0.0 / 0.0 | 30.0 / 90.0 |",
        "| packet_copy | 8.0 / 39.0 | 0.0 / 0.0 |",
        "| *mbuf freeing* | 20.0 / 0.0 | 0.0 / 0.0 |",
        "| **ours** | **8.0 / 39.0** | **30.0 / 90.0** |",
        "| **all** | **28.0 / 39.0** | **30.0 / 90.0** |",
    ]
    rows = json.loads(profile_json(profiled, "cpu-clock"))
    assert (rows[1]["consumers"], rows[1]["instructions_by_stage"]) == (1, {"classify": 90.0})
    assert rows[0]["cycles_sampled_by"] == "cpu-clock"


def test_the_machine_is_described_by_what_linux_shows():
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU\ncpu MHz\t\t: 2596.1\n") == (
        "Some CPU, 2596.1 MHz")
    assert hugepages("HugePages_Total:     512\nHugepagesize:       2048 kB\n") == "512 of 2048 kB"


# The program.


def program(*words):
    return subprocess.run(
        [sys.executable, BENCH / "compare", *words], capture_output=True, text=True, check=False)


def test_the_program_lists_its_figures():
    shown = program("--list")
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == [f.name for f in FIGURES]


@pytest.mark.parametrize(
    "words, said",
    [(["--only", "nothing"], "there is no figure 'nothing'"), (["--rounds", "4"], "5 or more")],
)
def test_wrong_words_are_refused_before_anything_is_built(words, said):
    shown = program(*words)
    assert shown.returncode == 2
    assert said in shown.stderr
