"""What the scripts that prepare a machine answer without changing it."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(script: str, *arguments: str, path_first: Path | None = None) -> subprocess.CompletedProcess:
    environment = dict(os.environ)
    if path_first is not None:
        environment["PATH"] = f"{path_first}:{environment['PATH']}"
    return subprocess.run(
        [ROOT / script, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "script", ["tools/setup", "dpdk-config/host/hugepages.sh", "dpdk-config/host/bind_nic.sh"])
def test_help_says_how_to_use_it_and_wrong_options_are_one_line(script):
    shown = run(script, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("usage: ") and "--dry-run" in shown.stdout
    refused = run(script, "--no-such-option")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1 and "--no-such-option" in refused.stderr


def test_setup_names_what_is_missing_and_installs_nothing_in_a_dry_run(tmp_path):
    query = tmp_path / "dpkg-query"
    query.write_text('#!/bin/sh\nfor name; do case $name in\n--*|tshark) ;;\n'
                     '*) echo "installed $name" ;;\nesac; done\n')
    query.chmod(0o755)
    installer = tmp_path / "apt-get"
    installer.write_text("#!/bin/sh\nexit 9\n")
    installer.chmod(0o755)
    done = run("tools/setup", "--dry-run", path_first=tmp_path)
    assert done.returncode == 0
    assert " are missing: tshark\n" in done.stdout
    assert "would run: apt-get install --no-install-recommends tshark\n" in done.stdout


def test_setup_says_when_the_installation_fails(tmp_path):
    for name, text in {"dpkg-query": "exit 1", "apt-get": "echo no route to mirror; exit 100"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = run("tools/setup", path_first=tmp_path)
    assert done.returncode == 1
    assert "tools/setup: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("count", ["0", "-5", "many", "99999999"])
def test_hugepages_refuses_a_count_that_makes_no_sense(count):
    done = run("dpdk-config/host/hugepages.sh", "--dry-run", count)
    assert done.returncode == 1 and done.stderr.startswith("hugepages.sh: ")


def test_hugepages_leaves_half_of_the_memory_to_the_machine():
    done = run("dpdk-config/host/hugepages.sh", "--dry-run", "1048576")
    assert done.returncode == 1 and "over half of the" in done.stderr


@pytest.mark.parametrize("nic", ["ff:1f.7", "no-such-nic", "lo"])
def test_bind_nic_refuses_what_is_not_a_nic(nic):
    done = run("dpdk-config/host/bind_nic.sh", "--dry-run", nic)
    assert done.returncode == 1
    assert done.stderr.startswith("bind_nic.sh: ") and nic in done.stderr
