#!/usr/bin/python3
"""Runs clang-tidy over every C++ file of the project: usage: check_tidy.py BUILD_DIR [FILE...]"""

import sys
from pathlib import Path

import compile_commands


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    build = Path(sys.argv[1]).resolve()
    wanted = {str(Path(name).resolve().relative_to(root)) for name in sys.argv[2:]}
    salt = compile_commands.toolchain(root / ".clang-tidy", root / "tests" / ".clang-tidy")
    jobs = []
    for command in compile_commands.load(root, build):
        if wanted and command.path not in wanted:
            continue
        arguments = ["clang-tidy", "--quiet", "--use-color=false", "-p", str(build),
                     str(root / command.path)]
        jobs.append(
            compile_commands.make_job(root, command.path, command, arguments, "", salt))
    # A part of the tree has a cache of its own: it must not forget the answers of the rest.
    return compile_commands.run(jobs, build / "lint-cache" / ("tidy-part" if wanted else "tidy"))


if __name__ == "__main__":
    sys.exit(main())
