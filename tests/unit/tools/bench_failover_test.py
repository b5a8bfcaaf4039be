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
from recovery.figures import FIGURES, Part, Row, as_json, as_table, selected  # noqa: E402
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
