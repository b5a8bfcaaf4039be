#!/usr/bin/python3
"""Runs clang-tidy over every C++ file of the project: usage: check_tidy.py BUILD_DIR [FILE...]

Most of such a run is spent on the headers of the libraries, so files of one folder are checked
first as one translation unit, one after the other. Those that do not compile together (two
helpers of one name) or that clang-tidy objects to are checked alone.
"""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import compile_commands

ROOT = Path(__file__).resolve().parents[2]
CHECKER = ["clang-tidy", "--quiet", "--use-color=false"]
CONFIGURATIONS = [".clang-tidy", "bench/.clang-tidy", "tests/.clang-tidy"]


def merge(jobs: list[compile_commands.Job], folder: Path) -> compile_commands.Job | None:
    """One run over the text of all files of `jobs` in a row, written in `folder` at the place it
    would have in the tree, for clang-tidy looks for its configuration there. The files are not
    included: the analyzer looks into functions of the main file only. None: they do not compile so;
    the compiler says that in a fifth of the time clang-tidy takes."""
    first = jobs[0]
    folder = folder / first.key  # nobody else's
    for name in CONFIGURATIONS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    row = (folder / first.path).with_name(f"{Path(first.path).stem}-and-{len(jobs) - 1}.cc")
    row.parent.mkdir(parents=True, exist_ok=True)
    row.write_text("\n".join((ROOT / job.path).read_text(encoding="utf-8") for job in jobs))
    compiled = subprocess.run(
        ["clang++", "-fsyntax-only", "-w", *first.flags, "-Wno-error", str(row)], cwd=first.folder,
        capture_output=True, check=False)
    if compiled.returncode != 0:
        return None
    return replace(first, path=str(row), arguments=[*CHECKER, str(row), "--", *first.flags])


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    wanted = {str(Path(name).resolve().relative_to(ROOT)) for name in sys.argv[2:]}
    salt = compile_commands.toolchain(*(ROOT / name for name in CONFIGURATIONS))
    jobs = []
    for command in compile_commands.load(ROOT, build):
        if wanted and command.path not in wanted:
            continue
        arguments = [*CHECKER, "-p", str(build), str(ROOT / command.path)]
        jobs.append(
            compile_commands.make_job(ROOT, command.path, command, arguments, "", salt))
    # A part of the tree has a cache of its own: it must not forget the answers of the rest.
    cache = build / "lint-cache" / ("tidy-part" if wanted else "tidy")
    return compile_commands.run(jobs, cache, merge)


if __name__ == "__main__":
    sys.exit(main())
