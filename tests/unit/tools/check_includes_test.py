"""What tools/dev/check_includes.py lets pass and refuses."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools" / "dev"))

from check_includes import check_tree  # noqa: E402

HEADERS = [
    "include/penstock/ids.h",
    "src/base/log.h",
    "src/base/options.h",
    "src/wire/ticket.h",
    "src/rpc/convert.h",
    "src/dpdk/port.h",
    "src/data_path/worker.h",
    "src/data_server/join.h",
    "src/presence/core.h",
    "src/client/publisher.h",
    "tests/support/packet_builder.h",
    "bench/harness/report.h",
]


def violations(root: Path, path: str, text: str) -> list[str]:
    for header in HEADERS:
        (root / header).parent.mkdir(parents=True, exist_ok=True)
        (root / header).write_text("#pragma once\n")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return check_tree(root)


@pytest.mark.parametrize(
    "path, include",
    [
        ("src/presence/core.cc", '"data_path/worker.h"'),
        ("src/presence/core.cc", '"data_server/join.h"'),
        ("src/client/publisher.cc", '"dpdk/port.h"'),
        ("src/wire/ticket.cc", '"dpdk/port.h"'),
        ("src/base/log.cc", '"wire/ticket.h"'),
        ("src/data_path/worker.cc", '"rpc/convert.h"'),
        ("src/data_path/worker.cc", "<mutex>"),
        ("src/data_path/worker.cc", "<iostream>"),
        ("src/data_path/worker.cc", "<string>"),
        ("src/data_path/worker.cc", "<fmt/format.h>"),
        ("src/data_path/worker.cc", '"base/log.h"'),
        ("src/presence/core.cc", "<rte_mbuf.h>"),
        ("src/wire/ticket.cc", "<rte_mbuf.h>"),
        ("src/presence/core.cc", "<grpcpp/grpcpp.h>"),
        ("src/data_server/join.cc", "<google/protobuf/message.h>"),
        ("src/data_server/join.cc", '"rpc/presence.pb.h"'),
        ("include/penstock/publisher.h", "<fmt/format.h>"),
        ("include/penstock/publisher.h", '"base/log.h"'),
        ("tools/penstock_publish/main.cc", '"client/publisher.h"'),
        ("tools/penstockctl/main.cc", '"presence/core.h"'),
        ("src/client/publisher.cc", '"support/packet_builder.h"'),
        ("src/presence/core.cc", "<boost/program_options.hpp>"),
        ("src/base/log.h", "<boost/container/small_vector.hpp>"),
        ("src/data_server/join.cc", "<sodium.h>"),
        ("src/dpdk/port.cc", "<bpf/libbpf.h>"),
        ("src/presence/core.cc", "<netlink/route/neighbour.h>"),
        ("src/presence/core.cc", '"core.h"'),
        ("src/presence/core.cc", '"../base/log.h"'),
        ("src/presence/core.cc", "<base/log.h>"),
        ("src/presence/core.cc", '"penstock/ids.h"'),
        ("src/presence/core.cc", "<penstock/missing.h>"),
        ("src/base/log.cc", "<ranges>"),
    ],
)
def test_an_include_against_the_rules_is_refused_with_its_place(tmp_path, path, include):
    found = violations(tmp_path, path, f"#include <cstdint>\n#include {include}\n")
    assert len(found) >= 1
    assert found[0].startswith(f"{path}:2: #include {include}: ")


@pytest.mark.parametrize(
    "path, include",
    [
        ("src/presence/core.cc", '"wire/ticket.h"'),
        ("src/presence/core.cc", "<penstock/ids.h>"),
        ("src/presence/presence_service.cc", "<grpcpp/grpcpp.h>"),
        ("src/data_server/presence_session.cc", '"rpc/presence.pb.h"'),
        ("src/data_server/join.cc", '"data_path/worker.h"'),
        ("src/data_server/join.cc", "<bpf/libbpf.h>"),
        ("src/data_path/worker.cc", "<rte_mbuf.h>"),
        ("src/data_path/worker.cc", "<array>"),
        ("src/client/publisher.cc", "<grpcpp/grpcpp.h>"),
        ("src/base/options.cc", "<boost/program_options.hpp>"),
        ("src/wire/ticket.cc", "<sodium.h>"),
        ("tools/penstock_publish/main.cc", '"base/options.h"'),
        ("tests/unit/presence/core_test.cc", '"presence/core.h"'),
        ("tests/packet/table.cc", '"support/packet_builder.h"'),
        ("bench/micro/replicate_bench.cc", '"harness/report.h"'),
    ],
)
def test_an_include_within_the_rules_passes(tmp_path, path, include):
    assert violations(tmp_path, path, f"#include {include}\n") == []


def test_headers_that_include_each_other_are_refused(tmp_path):
    (tmp_path / "src/base").mkdir(parents=True)
    (tmp_path / "src/base/clock.h").write_text('#include "base/check.h"\n')
    found = violations(tmp_path, "src/base/check.h", '#include "base/clock.h"\n')
    assert found == [
        "src/base/check.h:1: headers include each other: "
        "src/base/check.h -> src/base/clock.h -> src/base/check.h"
    ]


def test_only_main_cc_starts_a_process_and_installs_signal_handlers(tmp_path):
    text = "int main(int count, char** words) {\n    sigaction(2, nullptr, nullptr);\n}\n"
    assert violations(tmp_path, "src/presence/main.cc", text) == []
    found = violations(tmp_path, "src/presence/core.cc", text)
    assert [line.split(": ")[-1] for line in found] == [
        "a process starts in main.cc",
        "only main.cc installs signal handlers",
    ]
