"""Installs the Debian packages that a peer is in."""

import contextlib
import os
import sys
from pathlib import Path

from world import CommandFailed, run

from . import PeerError

_APT_TIMEOUT_S = 900
_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = "#!/bin/sh\nexit 101\n"  # invoke-rc.d(8): action forbidden by policy


def missing_of(packages, listing):
    """Those of `packages` that `listing`, lines of "<dpkg status> <package>", does not call
    installed."""
    installed = {line.split()[1] for line in listing.splitlines() if line.startswith("installed ")}
    return [package for package in packages if package not in installed]


def ensure_packages(packages):
    """Installs what is missing of `packages` with apt-get, and says so on standard error.

    No service starts: a switch polling in the background would spoil every figure. PeerError says
    what to do when it cannot be done.
    """
    shown = run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *packages],
        check=False,  # it fails when it does not know one of them
    )
    missing = missing_of(packages, shown.stdout)
    if not missing:
        return
    if os.geteuid() != 0:
        raise PeerError(f"only root can install {' '.join(missing)}; run as root")
    print(f"installing with apt-get: {' '.join(missing)}", file=sys.stderr, flush=True)
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run([*apt, "update"], _APT_TIMEOUT_S, environment=environment)
        with _services_forbidden():
            words = [*apt, "install", "--no-install-recommends", *missing]
            run(words, _APT_TIMEOUT_S, environment=environment)
    except CommandFailed as error:
        raise PeerError(f"{error}; mend the machine's package sources and try again") from error


@contextlib.contextmanager
def _services_forbidden():
    """While packages are set up, invoke-rc.d starts nothing; the machine's own policy stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_NO_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
