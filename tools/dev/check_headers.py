#!/usr/bin/python3
"""Compiles every header of the project alone: usage: check_headers.py BUILD_DIR

A header that needs another one included first breaks the next file that includes it.
"""

import os
import sys
from pathlib import Path

import compile_commands
from project_files import cpp_files


def nearest(header: str, commands: list[compile_commands.Command]) -> compile_commands.Command:
    """The command whose file is nearest to `header`: same folder first, and of those the one with
    the most flags, for it sees the most libraries."""

    def closeness(command: compile_commands.Command) -> tuple[int, int]:
        common = os.path.commonpath([os.path.dirname(header), os.path.dirname(command.path)])
        return (len(common), len(command.flags))

    return max(commands, key=closeness)


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    build = Path(sys.argv[1]).resolve()
    commands = compile_commands.load(root, build)
    salt = compile_commands.toolchain()
    jobs = []
    for header in cpp_files(root):
        if not header.endswith(".h") or not commands:
            continue
        command = nearest(header, commands)
        # Through a second file, because #pragma once in a main file is a warning.
        arguments = ["g++", *command.flags, "-fdiagnostics-color=never", "-fsyntax-only",
                     "-x", "c++", "-"]
        text = f'#include "{root / header}"\n'
        jobs.append(compile_commands.make_job(root, header, command, arguments, text, salt))
    return compile_commands.run(jobs, build / "lint-cache" / "headers")


if __name__ == "__main__":
    sys.exit(main())
