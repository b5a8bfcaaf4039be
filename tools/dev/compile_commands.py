"""Runs a checker over the project's C++ files with the flags they are compiled with.

What passed is remembered in the build folder under a key made of everything the answer depends on:
the command, the tools, the file and every header of ours it reaches. A second run is then quick.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# More files in one run are hardly quicker: what they share is read once either way.
BATCH_MOST = 12

INCLUDE = re.compile(rb'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """How one file is compiled: flags without compiler, input and output, run in `folder`."""

    path: str  # relative to the project's root
    folder: Path
    flags: tuple[str, ...]

    def include_folders(self) -> list[Path]:
        return [self.folder / flag[2:] for flag in self.flags if flag.startswith("-I")]


def load(root: Path, build: Path) -> list[Command]:
    """The commands of the project's own files, one a file; not of generated ones."""
    try:
        entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        sys.exit(f"no compile_commands.json in {build}; run: meson setup {build}")
    commands: dict[str, Command] = {}
    for entry in entries:
        folder = Path(entry["directory"])
        path = os.path.relpath(os.path.normpath(folder / entry["file"]), root)
        if path.startswith("..") or (root / path).is_relative_to(build) or path in commands:
            continue
        commands[path] = Command(path, folder, _flags(entry))
    return [commands[path] for path in sorted(commands)]


def _flags(entry: dict) -> tuple[str, ...]:
    words = shlex.split(entry["command"])
    flags = []
    skip = 0
    for word in words[1:]:
        if skip:
            skip -= 1
        elif word in ("-o", "-MF", "-MQ", "-MT"):
            skip = 1
        elif word in ("-include", "-isystem"):
            flags.append(word)
        elif word.startswith("-") and word not in ("-c", "-MD", "-MMD"):
            flags.append(word)
        elif flags and flags[-1] in ("-include", "-isystem"):
            flags.append(word)
    return tuple(flags)


def reached_headers(command: Command, start: Path) -> list[Path]:
    """`start` and every header of ours (generated ones included) that it reaches, sorted."""
    folders = command.include_folders()
    seen: set[Path] = set()
    waiting = [start.resolve()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in INCLUDE.findall(path.read_bytes()):
            for folder in [path.parent, *folders]:
                header = folder / name.decode()
                if header.is_file():
                    waiting.append(header.resolve())
                    break
    return sorted(seen)


def toolchain(*configuration: Path) -> bytes:
    """What every answer depends on besides the sources: Debian's packages and `configuration`."""
    digest = hashlib.sha256()
    # dpkg writes this file whenever a compiler, checker or library changes.
    digest.update(str(os.stat("/var/lib/dpkg/status").st_mtime_ns).encode())
    for path in configuration:
        digest.update(path.read_bytes())
    return digest.digest()


@dataclass(frozen=True)
class Job:
    """One run of a checker; `key` names its answer."""

    path: str
    flags: tuple[str, ...]
    arguments: list[str]
    folder: Path
    standard_input: str
    key: str


def make_job(
    root: Path, path: str, command: Command, arguments: list[str], text: str, salt: bytes
) -> Job:
    """A run of `arguments`, with `text` as its input, over `path` compiled as `command` says."""
    digest = hashlib.sha256(salt)
    digest.update("\0".join([*arguments, text, *command.flags]).encode())
    for header in reached_headers(command, root / path):
        digest.update(str(header).encode() + b"\0" + hashlib.sha256(header.read_bytes()).digest())
    return Job(path, command.flags, arguments, command.folder, text, digest.hexdigest())


Answer = tuple[Job, subprocess.CompletedProcess]


def run(
    jobs: list[Job], cache: Path, merge: Callable[[list[Job], Path], Job | None] | None = None
) -> int:
    """Runs what is not known to pass, as many at once as there are CPUs; prints what fails and one
    closing line. Returns the exit code.

    With `merge`, jobs of one folder and the same flags run together, as the job it makes of them
    (a folder to write in is lent for the time) unless it makes none. One run that passes answers
    for all; else they are halved until what fails stands alone, so what is printed is never of a
    merged job."""
    cache.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not (cache / job.key).exists()]
    batches = _batches(waiting) if merge else [[job] for job in waiting]
    failed = []
    with (tempfile.TemporaryDirectory() as lent,
          concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool):
        for answers in pool.map(lambda batch: _run_batch(batch, merge, Path(lent)), batches):
            for job, answer in answers:
                if answer.returncode == 0:
                    (cache / job.key).touch()
                    continue
                failed.append(job.path)
                # clang-tidy's standard error only counts what it did not show.
                print(f"--- {job.path}", answer.stdout or answer.stderr, sep="\n", flush=True)
    known = {job.key for job in jobs}
    for old in cache.iterdir():
        if old.name not in known:
            old.unlink()
    print(f"{len(jobs)} files: {len(jobs) - len(waiting)} unchanged, {len(waiting)} checked,"
          f" {len(failed)} failed{': ' + ' '.join(failed) if failed else ''}")
    if not jobs:
        print("nothing to check: is the build folder configured?")
    return 1 if failed or not jobs else 0


def _batches(jobs: list[Job]) -> list[list[Job]]:
    """`jobs` by folder and flags, at most BATCH_MOST each and as even as that allows."""
    alike: dict[tuple, list[Job]] = {}
    for job in jobs:
        alike.setdefault((os.path.dirname(job.path), job.flags), []).append(job)
    batches = []
    for group in alike.values():
        count = -(-len(group) // BATCH_MOST)
        batches += [group[part::count] for part in range(count)]
    return batches


def _run_batch(
    batch: list[Job], merge: Callable[[list[Job], Path], Job | None] | None, lent: Path
) -> list[Answer]:
    if len(batch) == 1 or merge is None:
        return [(job, _run_one(job)) for job in batch]
    merged = merge(batch, lent)
    if merged is not None and (answer := _run_one(merged)).returncode == 0:
        return [(job, answer) for job in batch]
    half = len(batch) // 2
    return _run_batch(batch[:half], merge, lent) + _run_batch(batch[half:], merge, lent)


def _run_one(job: Job) -> subprocess.CompletedProcess:
    return subprocess.run(
        job.arguments, cwd=job.folder, input=job.standard_input, text=True, capture_output=True,
        check=False)
