"""Presence servers on one etcd: which of them leads, by what they say of themselves."""

import re

from .processes import eventually

_LEADER_TIMEOUT_S = 40


class PresenceCluster:
    """`servers`: processes by address, ready when the constructor returns; one of them leads."""

    def __init__(self, programs, store):
        """`store`: as penstock-presence takes it, EtcdCluster.store."""
        self._programs = programs
        self._store = store
        self.servers = programs.presences(store)
        self.await_leader()

    def leader(self, but=None):
        """The address of the one that said last that it leads, and has not taken it back; None if
        there is none, or it is `but`."""
        for address, process in self.servers.items():
            said = re.findall(r"not leading any more|leading as", process.stderr.text())
            if address != but and process.running() and said[-1:] == ["leading as"]:
                return address
        return None

    def await_leader(self, but=None):
        """Waits until one leads that is not `but`; its address."""
        return eventually(lambda: self.leader(but), _LEADER_TIMEOUT_S, "a leader")

    def followed(self, address):
        """Whom the server at an address follows, by what it said last; None if it leads, or knows
        of nobody who does."""
        said = re.findall(
            r"not leading any more|leading as|following\b.*", self.servers[address].stderr.text()
        )
        last = said[-1] if said else ""
        return last.removeprefix("following ") if last.startswith("following ") else None

    def restart(self, address):
        """Starts the one at an address again, which was killed; ready when this returns."""
        self.servers[address].close()
        self.servers[address] = self._programs.presence(
            "--listen", address, "--store", self._store
        )


def epochs_obeyed(data_server):
    """The epochs of the leaders that a data server took, in their order."""
    said = data_server.stderr.text()
    return [int(epoch) for epoch in re.findall(r"attached to presence .* epoch=(\d+)", said)]
