"""One trial of each kind with three presence servers, on an etcd of three members; as in trials."""

import random
import signal
import time
from dataclasses import dataclass

from world import eventually

from .trials import NewRequest, Served, Watch

_TIMEOUT_S = 60


@dataclass(frozen=True)
class Led(Served):
    """New requests: in seconds since the fault, or since its end. `stale_commands`: what clients
    and data servers did from the fault until all was well again: the five streams are to stay as
    they are, so no leader that may command has any cause to."""

    stale_commands: int


class LedWatch(Watch):
    """The same, and of who obeys whom."""

    def __init__(self, stage):
        super().__init__(stage)
        self._obeyed = stage.obeyed()

    def led(self, new_request_s):
        served = self.served(new_request_s)
        return Led(**vars(served), stale_commands=self._stage.obeyed().since(self._obeyed))


def leader_is_killed(stage, number):
    """Kills the presence server that leads; it is started again at the end."""
    watch = LedWatch(stage)
    leader = stage.presences.leader()
    stage.presences.servers[leader].kill()
    killed_at = time.monotonic()
    served_at = NewRequest(stage, number).served_at()
    stage.presences.restart(leader)
    return watch.led(served_at - killed_at)


def leader_is_paused(stage, number):
    """Stops the leader, and has it resume as soon as another one leads, when it still has the
    connections it had. The first thing it is asked for is to drain the data server with all the
    streams: by what it knows, it leads."""
    watch = LedWatch(stage)
    old = stage.presences.leader()
    stage.presences.servers[old].signal(signal.SIGSTOP)
    paused_at = time.monotonic()
    request = NewRequest(stage, number)
    new = stage.presences.await_leader(but=old)
    order = stage.order_drain(old, watch.carrier)
    stage.presences.servers[old].signal(signal.SIGCONT)
    served_at = request.served_at()
    order.wait(_TIMEOUT_S)
    eventually(lambda: stage.presences.followed(old) == new, _TIMEOUT_S, f"{old} after {new}")
    return watch.led(served_at - paused_at)


def etcd_leader_is_killed(stage, number):
    """Kills the member of etcd that leads there; it is started again at the end."""
    watch = LedWatch(stage)
    (member,) = stage.etcd.leader()
    stage.etcd.kill(member)
    killed_at = time.monotonic()
    served_at = NewRequest(stage, number).served_at()
    stage.etcd.start(member)
    stage.etcd.await_all()
    return watch.led(served_at - killed_at)


def etcd_quorum_is_lost(stage, number):
    """Kills two of three members of etcd, its leader among them; once nobody leads any more, and
    the presence server that did was asked for a drain all the same, starts one of the two again.
    The time counts from when etcd has a leader."""
    watch = LedWatch(stage)
    leader = stage.presences.leader()
    (member,) = stage.etcd.leader()
    other = random.choice([one for one in stage.etcd.members if one != member])
    for one in (member, other):
        stage.etcd.kill(one)
    eventually(lambda: stage.presences.leader() is None, _TIMEOUT_S, "the end of all leading")
    stage.order_drain(leader, watch.carrier).wait(_TIMEOUT_S)
    request = NewRequest(stage, number)
    stage.etcd.start(member, wait=False)
    back_at = _last_without_leader(stage.etcd)
    served_at = request.served_at()
    stage.etcd.start(other)
    stage.etcd.await_all()
    return watch.led(served_at - back_at)


def _last_without_leader(etcd):
    """Waits until etcd has a leader; when it was last seen to have none, by time.monotonic()."""
    looked_at = []

    def has_leader():
        looked_at.append(time.monotonic())
        return etcd.leader()

    eventually(has_leader, _TIMEOUT_S, "a leader of etcd")
    return looked_at[-2:][0]
