#!/usr/bin/python3
"""The project's own files: what git tracks, and what is new and not ignored.

usage: project_files.py [--cpp]   prints them, one a line; with --cpp only the C++ files
"""

import os
import subprocess
import sys
from pathlib import Path

SOURCE_FOLDERS = ("src", "include", "tools", "tests", "bench")


def project_files(root: Path) -> list[str]:
    """All files below `root` as sorted paths relative to it; without git, all but build folders."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True).stdout
        paths = listing.decode().split("\0")
    else:
        paths = []
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(("build", "__pycache__"))]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in files]
    return sorted({path for path in paths if path and (root / path).is_file()})


def cpp_files(root: Path) -> list[str]:
    """The C++ files of the project's source folders."""
    return [
        path
        for path in project_files(root)
        if path.endswith((".h", ".cc")) and path.split("/")[0] in SOURCE_FOLDERS
    ]


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[2]
    print("\n".join(cpp_files(here) if sys.argv[1:] == ["--cpp"] else project_files(here)))
