"""What bench/failover makes of what it has measured."""

import json
import socket
import struct
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "support")]

from recovery.arrivals import port_of_content  # noqa: E402 - found by the line above
from recovery import side_by_side  # noqa: E402
from recovery.figures import FIGURES, Part, Row, as_json, as_table, selected  # noqa: E402
from recovery.leadership import Led  # noqa: E402
from recovery.report import write_report  # noqa: E402
from recovery.stage import Obeyed, changes_in, falls_in  # noqa: E402
from recovery.trials import packets_lost  # noqa: E402

LIMITED = Part("dies", "s", {"p50": 0.5, "p99": 2.0})
BEFORE = {"last_sequence": 100, "datagrams": 101, "lost": 0, "duplicates": 0, "reordered": 0}


def after(**changed):
    return BEFORE | {"last_sequence": 150, "datagrams": 151} | changed


def packet(content, source="10.91.0.11", protocol=17, options=b""):
    first = 0x45 + len(options) // 4
    header = struct.pack("!BBHHHBBH", first, 0, 0, 0, 0, 64, protocol, 0)
    addresses = socket.inet_aton(source) + socket.inet_aton("10.91.0.102")
    return header + addresses + options + struct.pack("!HHHH", 7000, 41000, 0, 0) + content


def test_percentiles_are_values_that_were_measured():
    row = Row(LIMITED, [0.1 * number for number in range(30, 0, -1)])
    assert row.percentile(0.5) == pytest.approx(1.5)
    assert row.percentile(0.99) == pytest.approx(3.0), "of 30 trials, the worst one"
    assert Row(LIMITED, []).percentile(0.5) is None


@pytest.mark.parametrize(
    ("values", "met"),
    [([0.5] * 29 + [2.0], True), ([0.5] * 29 + [2.1], False), ([0.6] * 30, False), ([], False)],
)
def test_a_figure_is_met_if_every_limit_is_kept(values, met):
    assert Row(LIMITED, values).met is met


def test_a_figure_whose_trials_broke_off_is_not_met():
    row = Row(LIMITED, [0.1], failure="content at 3 consumers only")
    assert not row.met
    assert json.loads(as_json([row]))[0]["failure"] == "content at 3 consumers only"
    assert "content at 3 consumers only" in as_table([row])


def test_the_report_is_an_array_of_figures():
    (said,) = json.loads(as_json([Row(LIMITED, [0.2, 0.4, 0.3])]))
    assert said == {
        "figure": "dies",
        "unit": "s",
        "p50": 0.3,
        "p99": 0.4,
        "must": {"p50": 0.5, "p99": 2.0},
        "met": True,
        "trials": 3,
        "values": [0.2, 0.4, 0.3],
    }


def test_figures_are_chosen_by_name():
    assert selected([]) == list(FIGURES)
    assert [figure.name for figure in selected(["presence-killed"])] == ["presence-killed"]
    with pytest.raises(ValueError, match="'nothing' is none of"):
        selected(["nothing"])


@pytest.mark.parametrize(
    ("changed", "lost"),
    [
        ({}, 0),
        ({"datagrams": 148, "lost": 3}, 3),
        ({"datagrams": 148}, 3),
        ({"duplicates": 2, "datagrams": 153}, 2),
        ({"reordered": 1}, 1),
        ({"lost": 4, "duplicates": 4}, 8),
    ],
)
def test_whatever_a_consumer_did_not_get_once_and_in_order_is_lost(changed, lost):
    assert packets_lost(BEFORE, after(**changed)) == lost


def test_content_is_told_from_all_else_that_comes_in():
    content = b"PSTCONT1" + bytes(24)
    server, other = socket.inet_aton("10.91.0.11"), socket.inet_aton("10.91.0.12")
    assert port_of_content(packet(content), None) == 41000
    assert port_of_content(packet(content), server) == 41000
    assert port_of_content(packet(content, options=bytes(8)), server) == 41000
    assert port_of_content(packet(content), other) is None
    assert port_of_content(packet(content, protocol=6), server) is None
    assert port_of_content(packet(bytes(32)), server) is None, "a session message"
    assert port_of_content(packet(content)[:19], server) is None


def test_a_leader_has_its_time_its_losses_and_what_a_stale_one_did():
    (figure,) = selected(["leader-paused"])
    led = Led(new_request_s=4.5, packets_lost=1, stops=2, stale_commands=3)
    assert [(part.name, part.value(led), part.must["p99"]) for part in figure.parts] == [
        ("leader-paused", 4.5, 6.0),
        ("leader-paused-lost", 1, 0),
        ("leader-paused-stops", 2, 0),
        ("leader-paused-stale", 3, 0),
    ]


def test_figures_of_etcd_are_those_of_leaders():
    on_etcd = [figure.name for figure in FIGURES if figure.on_etcd]
    assert on_etcd == ["leader-killed", "leader-paused", "etcd-leader-killed", "etcd-quorum-lost"]


def states(*pairs):
    return "".join(
        json.dumps({"event": "state", "state": state, "data_server": server}) + "\n"
        for state, server in pairs
    )


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        (states(("transmitting", "a:1"), ("transmitting", "a:1")), 0),
        (states(("transmitting", "a:1"), ("transmitting", "b:1")), 1),
        (states(("receiving", "a:1"), ("waiting", ""), ("receiving", "a:1")), 2),
        ("warning: no presence\n" + states(("receiving", "a:1")), 0),
        ("", 0),
    ],
)
def test_a_client_changed_if_it_says_something_else_than_before(said, changes):
    assert changes_in(said) == changes


def test_a_data_server_obeys_no_epoch_below_one_it_obeyed():
    assert falls_in([3, 3, 7, 9]) == 0
    assert falls_in([3, 7, 3, 7]) == 1


def test_what_was_obeyed_is_counted_from_a_point_on():
    before = Obeyed(changes=10, falls=0, duties=0)
    assert before.since(before) == 0
    assert Obeyed(changes=11, falls=1, duties=1).since(before) == 3


@pytest.mark.parametrize(
    ("trials", "parallel", "expected"),
    [(30, 4, [8, 8, 7, 7]), (3, 4, [1, 1, 1]), (30, 1, [30]), (4, 2, [2, 2])],
)
def test_trials_are_shared_among_worlds(trials, parallel, expected):
    assert side_by_side.shares(trials, parallel) == expected


def rows_of(figure, *results, failure=""):
    return as_json([Row(part, list(results), failure) for part in figure.parts])


def test_what_worlds_measured_side_by_side_is_one_figure():
    (figure,) = selected(["presence-down-60s"])
    rows = side_by_side.joined(figure, [rows_of(figure, 1), rows_of(figure, 3, 2)])
    assert [row.part for row in rows] == list(figure.parts)
    assert all(row.values == [1, 3, 2] and not row.failure for row in rows)


@pytest.mark.parametrize("other", ["", "[]", "no JSON"])
def test_a_world_that_gave_nothing_makes_the_figure_not_met(other):
    (figure,) = selected(["presence-down-60s"])
    rows = side_by_side.joined(figure, [rows_of(figure, 0), other])
    assert all(row.values == [0] and row.failure and not row.met for row in rows)


def test_a_world_whose_trials_broke_off_says_so_in_the_figure():
    (figure,) = selected(["presence-down-60s"])
    texts = [rows_of(figure, 0), rows_of(figure, 0, failure="no content")]
    assert {row.failure for row in side_by_side.joined(figure, texts)} == {"no content"}


def test_a_world_that_plays_on_is_ended_when_another_cannot_start():
    (figure,) = selected(["presence-down-60s"])
    endless = [sys.executable, "-c", "import signal; signal.pause()"]
    with pytest.raises(ValueError, match="null"):
        side_by_side.play(figure, [endless, ["\0"]])


def test_worlds_are_played_by_processes():
    (figure,) = selected(["presence-down-60s"])
    command = [sys.executable, "-c", f"print({rows_of(figure, 1)!r})"]
    rows = side_by_side.play(figure, [command, command])
    assert [row.values for row in rows] == [[1, 1]] * len(rows)


def test_a_report_has_machine_table_and_every_value(tmp_path):
    figures = selected(["drain"])
    rows = [Row(part, [0, 0], "it broke off") for part in figures[0].parts]
    write_report(tmp_path / "run", figures, rows, {"CPU": "fast", "commit": "abc"})
    report = (tmp_path / "run" / "report.md").read_text()
    assert "- CPU: fast\n- commit: abc\n" in report
    assert "| drain-lost | 0 packets | 0 packets | 0 packets | p99 ≤ 0 packets | NO | 2 |" in report
    assert "drain: it broke off" in report
    assert f"| drain | {figures[0].title} |" in report
    assert (tmp_path / "run" / "failover.json").read_text() == as_json(rows)
