"""How bench/compare reads perf, callgrind and addr2line, and which stage it sees in them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from comparison import MeasurementFailed, callgrind, perf  # noqa: E402
from comparison.penstock_bench import PenstockBench  # noqa: E402
from comparison.profile import Point, Profile, by_stage, difference, frames_of  # noqa: E402
from comparison.stages import STAGES, stage_of_frames, stage_of_library  # noqa: E402

PROGRAM = Path("/usr/bin/penstock-bench")
NULL = "/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_null.so.23.0"
PERF = f"""PERF_RECORD_MMAP2 5162/5162: [0x55d217498000(0x7e000) @ 0x9000 fe:00 11444370 0]: r-xp {PROGRAM}
PERF_RECORD_MMAP2 5162/5162: [0x7fef867af000(0x4000) @ 0x1000 fe:00 14885486 0]: r-xp {NULL}
    200000 cpu-clock:      55d2174f513f ({PROGRAM})
    200000 cpu-clock:      7fef867b1679 ({NULL})
    200000 cpu-clock:      7fef867b1679 ({NULL})
    100000 cpu-clock:  ffffffff82200809 ([kernel.kallsyms])
"""
CALLGRIND = f"""# callgrind format
positions: instr line
events: Ir
summary: 100

ob=(1) {PROGRAM}
fl=(1) ???
fn=(1) classify
0x100 10 50
+4 * 50
+4 +2 7
cob=(2) {NULL}
cfn=(2) send
calls=3 0x9000
* * 900
+4 -1 50

ob=(2)
fn=(2)
0x9000 0 30
* 0 12
-16 0 3
"""
ADDR2LINE = """0x0000000000000100
../src/data_path/classify.cc:12
0x0000000000000104
/usr/include/dpdk/rte_mbuf.h:500
../src/data_path/packet_copy.cc:90 (discriminator 2)
../src/data_path/replicate.cc:40
0x0000000000000108
??:?
"""


def test_a_sample_s_address_is_the_one_in_its_file():
    weights = perf.samples_of(PERF)
    assert weights[str(PROGRAM), 0x6613F] == 200000
    assert weights[NULL, 0x3679] == 400000
    assert weights["[kernel.kallsyms]", None] == 100000


def test_perf_without_samples_is_an_error():
    with pytest.raises(MeasurementFailed, match="no samples"):
        perf.samples_of("")


def test_callgrind_s_counts_are_of_where_an_instruction_is_not_of_who_calls_it():
    assert callgrind.counts_of(CALLGRIND) == {
        (str(PROGRAM), 0x100): 50,
        (str(PROGRAM), 0x104): 50,
        (str(PROGRAM), 0x108): 7,
        (str(PROGRAM), 0x10C): 50,
        (NULL, 0x9000): 42,
        (NULL, 0x8FF0): 3,
    }


def test_frames_are_source_files_innermost_first():
    assert frames_of(ADDR2LINE) == {
        0x100: ["../src/data_path/classify.cc"],
        0x104: ["/usr/include/dpdk/rte_mbuf.h", "../src/data_path/packet_copy.cc",
                "../src/data_path/replicate.cc"],
        0x108: ["??"],
    }


def test_an_inlined_helper_belongs_to_the_stage_it_is_inlined_into():
    frames = frames_of(ADDR2LINE)
    assert stage_of_frames(frames[0x104]) == "packet_copy"
    assert stage_of_frames(frames[0x108]) == "other"
    assert stage_of_frames(["../bench/rig/rx.cc"]) == "other"


@pytest.mark.parametrize(
    "file, stage",
    [(NULL, "mbuf freeing"), ("/lib/librte_mempool_ring.so.23.0", "mbuf freeing"),
     ("/lib/librte_net_pcap.so.23.0", "driver"), ("[kernel.kallsyms]", "kernel"),
     ("/lib/x86_64-linux-gnu/libc.so.6", "other")],
)
def test_a_library_is_a_driver_s_unless_it_works_for_whoever_calls_it(file, stage):
    assert stage_of_library(file) == stage


def test_weights_are_summed_by_stage_in_a_packet_s_order():
    frames = frames_of(ADDR2LINE)
    stages = by_stage(callgrind.counts_of(CALLGRIND), PROGRAM, frames)
    assert stages == {"classify": 50, "packet_copy": 50, "other": 57, "mbuf freeing": 45}
    assert list(stages) == [stage for stage in STAGES if stage in stages]


def test_what_a_copy_took_is_what_a_longer_run_has_more():
    shorter = ({"classify": 1_100, "worker": 5_000}, 100)
    longer = ({"classify": 2_100, "worker": 5_500, "tx": 700}, 1_100)
    assert difference(shorter, longer) == {"classify": 1.0, "worker": 0.5, "tx": 0.7}
    with pytest.raises(MeasurementFailed, match="made 100 copies"):
        difference(longer, shorter)


def test_a_point_is_a_run_of_penstock_bench():
    ours = PenstockBench(PROGRAM, trial_s=0.01)
    words = Point(1, 22, ("--history", "off", "--ring-packets", 64)).words(ours, 2)
    assert words == ["replicate", "--consumers", "1", "--payload", "22", "--trials", "2",
                     "--trial-time", "10ms", "--json", "-", "--history", "off", "--ring-packets",
                     "64"]


@pytest.mark.parametrize(
    "said, supported",
    [("123456,,cycles,1,100.00,,", True), ("<not supported>,,cycles,0,100.00,,", False),
     ("<not counted>,,cycles,0,0.00,,", False)],
)
def test_only_a_machine_that_counts_an_event_supports_it(monkeypatch, said, supported):
    monkeypatch.setattr(perf, "run", lambda *_, **__: SimpleNamespace(stderr=said))
    assert perf.supports("cycles") == supported
    assert perf.time_event() == ("cycles" if supported else "cpu-clock")


def test_drivers_are_not_our_cycles():
    profile = Profile({"classify": 1.0, "other": 2.0, "driver": 4.0, "kernel": 8.0}, 1e8, "")
    assert profile.own_sample().value == 3


def test_every_file_of_the_data_path_is_of_a_stage():
    for path in (ROOT / "src" / "data_path").glob("*.cc"):
        assert stage_of_frames([str(path)]) != "other", f"{path.name}: see comparison/stages.py"
