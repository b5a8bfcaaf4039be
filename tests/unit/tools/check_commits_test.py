"""Which commit subjects tools/dev/check_commits.sh refuses."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "dev" / "check_commits.sh"


def git(tree: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=tree, check=True, capture_output=True)


def check(tree: Path) -> subprocess.CompletedProcess:
    copy = tree / "tools" / "dev" / SCRIPT.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SCRIPT, copy)
    return subprocess.run([copy], capture_output=True, text=True, check=False)


def commit(tree: Path, subject: str) -> None:
    git(tree, "commit", "--allow-empty", "-m", subject)


@pytest.mark.parametrize(
    "subject",
    [
        "no area at all",
        "Replicate: give each worker its own pool",
        "replicate: Give each worker its own pool",
        "replicate: give each worker its own pool.",
        "replicate:give each worker its own pool",
        "replicate: " + "x" * 62,
    ],
)
def test_a_subject_against_the_form_is_refused(tmp_path, subject):
    git(tmp_path, "init")
    commit(tmp_path, "The first commit is as it is.")
    commit(tmp_path, subject)
    done = check(tmp_path)
    assert done.returncode == 1
    assert subject in done.stdout and done.stdout.endswith("1 commits checked, 1 wrong\n")


@pytest.mark.parametrize(
    "subject", ["replicate: give each worker its own pool", "data_path, rx: say START", "ci: x" + "y" * 67])
def test_a_subject_of_the_form_passes(tmp_path, subject):
    git(tmp_path, "init")
    commit(tmp_path, "The first commit is as it is.")
    commit(tmp_path, subject)
    done = check(tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 commits checked, 0 wrong\n")


def test_a_tree_without_history_passes(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 0 and "nothing to check" in done.stdout
