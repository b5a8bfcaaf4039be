"""What the lint suite's memory of passed files depends on."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools" / "dev"))

import compile_commands  # noqa: E402


@pytest.fixture(name="tree")
def make_tree(tmp_path: Path) -> Path:
    for name, text in {
        "src/base/units.h": "#pragma once\n",
        "src/wire/ticket.h": '#pragma once\n#include "base/units.h"\n#include <vector>\n',
        "src/wire/ticket.cc": '#include "wire/ticket.h"\n#include "rpc/presence.pb.h"\n',
        "src/base/other.h": "#pragma once\n",
        "build/src/rpc/presence.pb.h": "#pragma once\n",
        "build/src/rpc/presence.pb.cc": "\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    flags = "-I../src -Isrc -isystem/usr/include/dpdk -include rte_config.h -O3 -MD -MQ a.o -MF a.d"
    (tmp_path / "build/compile_commands.json").write_text(json.dumps([
        {"directory": str(tmp_path / "build"), "file": file,
         "command": f"ccache c++ {flags} -o a.o -c {file}"}
        for file in ["../src/wire/ticket.cc", "src/rpc/presence.pb.cc", "../src/wire/ticket.cc"]
    ]))
    return tmp_path


def only_command(tree: Path) -> compile_commands.Command:
    (command,) = compile_commands.load(tree, tree / "build")
    return command


def key(tree: Path, salt: bytes = b"") -> str:
    command = only_command(tree)
    return compile_commands.make_job(tree, command.path, command, ["tidy"], "", salt).key


def test_a_file_of_ours_is_taken_once_and_generated_ones_are_not(tree):
    command = only_command(tree)
    assert command.path == "src/wire/ticket.cc"
    assert command.flags == (
        "-I../src", "-Isrc", "-isystem/usr/include/dpdk", "-include", "rte_config.h", "-O3")


def test_headers_of_ours_and_generated_ones_are_reached(tree):
    reached = compile_commands.reached_headers(only_command(tree), tree / "src/wire/ticket.cc")
    assert [str(path.relative_to(tree)) for path in reached] == [
        "build/src/rpc/presence.pb.h", "src/base/units.h", "src/wire/ticket.cc", "src/wire/ticket.h"]


@pytest.mark.parametrize(
    "changed", ["src/wire/ticket.cc", "src/base/units.h", "build/src/rpc/presence.pb.h"])
def test_an_answer_is_forgotten_when_something_it_depends_on_changes(tree, changed):
    before = key(tree)
    (tree / changed).write_text("#pragma once\nint added;\n")
    assert key(tree) != before


def test_an_answer_is_kept_when_something_else_changes(tree):
    before = key(tree)
    (tree / "src/base/other.h").write_text("#pragma once\nint added;\n")
    assert key(tree) == before
    assert key(tree, b"another clang-tidy") != before


def test_what_failed_is_run_again_and_what_passed_is_not(tree, capfd):
    command = only_command(tree)
    runs = tree / "runs"

    def run(exit_code: int) -> int:
        arguments = ["sh", "-c", f"echo ran >> {runs}; exit $(cat {tree}/exit)"]
        (tree / "exit").write_text(str(exit_code))
        job = compile_commands.make_job(tree, command.path, command, arguments, "", b"")
        return compile_commands.run([job], tree / "cache")

    assert [run(1), run(0), run(1)] == [1, 0, 0]
    assert runs.read_text().count("ran") == 2
    assert "1 files: 0 unchanged, 1 checked, 1 failed: src/wire/ticket.cc" in capfd.readouterr().out
    assert compile_commands.run([], tree / "cache") == 1


@pytest.mark.parametrize(
    ("clashing", "failing", "runs"),
    [
        ("", "", ["a+b+c+d"]),
        ("", "c", ["a+b+c+d", "a+b", "c+d", "c", "d"]),
        ("b+c", "", ["a+b", "c+d"]),
    ])
def test_alike_files_run_together_until_what_fails_stands_alone(
    tmp_path, capfd, clashing, failing, runs
):
    """`clashing`: two that make no merged job together; `failing`: one that does not pass."""
    log = tmp_path / "runs"

    def job(names: str) -> compile_commands.Job:
        exit_code = 1 if failing and failing in names else 0
        command = ["sh", "-c", f"echo {names} >> {log}; exit {exit_code}"]
        return compile_commands.Job(f"src/{names}", ("-O2",), command, tmp_path, "", names)

    def merge(jobs: list[compile_commands.Job], folder: Path) -> compile_commands.Job | None:
        assert folder.is_dir()
        names = "+".join(Path(job.path).name for job in jobs)
        return None if clashing and clashing in names else job(names)

    exit_code = compile_commands.run([job(name) for name in "abcd"], tmp_path / "cache", merge)
    assert sorted(log.read_text().split()) == sorted(runs)
    assert exit_code == (1 if failing else 0)
    assert {entry.name for entry in (tmp_path / "cache").iterdir()} == set("abcd") - {failing}
    assert capfd.readouterr().out.count("---") == (1 if failing else 0)


def test_files_of_other_folders_or_flags_do_not_run_together(tmp_path):
    jobs = [
        compile_commands.Job(path, flags, ["true"], tmp_path, "", path[-1] + flags[0])
        for path, flags in [("src/a", ("-O2",)), ("src/b", ("-O2",)), ("src/c", ("-O0",)),
                            ("tests/d", ("-O2",))]
    ]
    merged = []
    compile_commands.run(
        jobs, tmp_path / "cache",
        lambda batch, _: merged.append([job.path for job in batch]) or batch[0])
    assert merged == [["src/a", "src/b"]]
