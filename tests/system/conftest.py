"""Fixtures of every system test. Run as root, from a build: BUILD_DIR=build pytest tests/system."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from world import DRIVERS, Programs, World, sweep  # noqa: E402 - found by the line above


@pytest.fixture(scope="session", autouse=True)
def _no_leftovers():
    """Earlier runs that were killed leave namespaces behind: they go before anything starts."""
    sweep()


@pytest.fixture
def world(tmp_path):
    """An empty World whose programs all ended when told to."""
    with World(tmp_path) as made:
        yield made
    assert made.killed == [], "these had to be killed at the end"


@pytest.fixture(params=DRIVERS)
def driver(request):
    """Each test with it runs once per DPDK driver."""
    return request.param


@pytest.fixture
def programs(world):
    return Programs(world)
