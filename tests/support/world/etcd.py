"""A cluster of real etcd members (Debian package etcd-server), in one namespace of a world."""

import json

from .processes import eventually

_CLIENT_PORT = 2379
_PEER_PORT = 2380
_PORTS_EACH = 10
_READY_TIMEOUT_S = 30


class EtcdCluster:
    """Members 0, 1, …, each a process of `host` with its own directory. A context manager."""

    def __init__(self, world, host, members=3, certificates=None):
        """`certificates`: of "etcd", with which it is called by TLS and demands certificates."""
        self._certificates = certificates
        self._directory = world.directory / "etcd"
        self._directory.mkdir()
        self._host = host
        self._starts = 0
        self.members = dict.fromkeys(range(members))
        for number in self.members:
            self.start(number, wait=False)
        eventually(self.leader, _READY_TIMEOUT_S, "a leader of etcd")

    def address(self, number):
        return f"{self._host.control_address}:{_CLIENT_PORT + _PORTS_EACH * number}"

    @property
    def store(self):
        """What penstock-presence is given as --store."""
        return "etcd://" + ",".join(self.address(number) for number in self.members)

    def start(self, number, wait=True):
        """Starts a member, also one that was killed: its directory is still there."""
        client = f"{'https' if self._certificates else 'http'}://{self.address(number)}"
        self._starts += 1
        words = ["etcd", "--name", f"m{number}", "--data-dir", self._directory / f"m{number}"]
        words += ["--listen-client-urls", client, "--advertise-client-urls", client]
        words += ["--listen-peer-urls", self._peer(number)]
        words += ["--initial-advertise-peer-urls", self._peer(number)]
        words += ["--initial-cluster", ",".join(f"m{n}={self._peer(n)}" for n in self.members)]
        if self._certificates:
            files = self._tls_files()
            words += ["--client-cert-auth", "--trusted-ca-file", files["cacert"]]
            words += ["--cert-file", files["cert"], "--key-file", files["key"]]
        self.members[number] = self._host.start(f"etcd_{self._starts}", words)
        if wait:
            eventually(self.leader, _READY_TIMEOUT_S, "a leader of etcd")

    def kill(self, number):
        self.members[number].kill()

    def close(self):
        """Kills all: a member that is told to end waits long for those that have ended already."""
        for number in self.members:
            self.kill(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def leader(self):
        """The number of the member that leads, in a tuple (so that 0 is true); None: nobody."""
        for number, process in self.members.items():
            status = self._status(number) if process.running() else None
            if status and status.get("leader") == status["header"]["member_id"]:
                return (number,)
        return None

    def await_all(self):
        """Waits until every member answers and all have the same leader."""

        def all_agree():
            answers = [self._status(number) for number in self.members]
            leaders = {status.get("leader") if status else None for status in answers}
            return len(leaders) == 1 and leaders != {None}

        eventually(all_agree, _READY_TIMEOUT_S, "an etcd of all its members")

    def _status(self, number):
        words = ["etcdctl", "--endpoints", self.address(number), "--command-timeout", "1s"]
        for option, path in self._tls_files().items():
            words += [f"--{option}", path]
        words = ["env", "ETCDCTL_API=3", *words, "endpoint", "status", "-w", "json"]
        done = self._host.run(words, check=False)
        return json.loads(done.stdout)[0]["Status"] if done.returncode == 0 else None

    def _tls_files(self):
        """By the options of etcdctl."""
        if not self._certificates:
            return {}
        _, authority, _, certificate, _, key = self._certificates.words("etcd")
        return {"cacert": authority, "cert": certificate, "key": key}

    def _peer(self, number):
        return f"http://{self._host.control_address}:{_PEER_PORT + _PORTS_EACH * number}"
