"""How each Penstock program is started in a world, and how one knows that it is ready."""

import json
import os
import re
import signal
from pathlib import Path

from .namespaces import PREFIX_BITS
from .processes import json_lines

_PRESENCE_PORT = 7400
_READY_TIMEOUT_S = 30
_STATE_TIMEOUT_S = 30
_COUNTS_TIMEOUT_S = 10
PATHS = {
    "penstock-presence": "src/presence/penstock-presence",
    "penstock-data": "src/data_server/penstock-data",
    "penstock-publish": "tools/penstock_publish/penstock-publish",
    "penstock-consume": "tools/penstock_consume/penstock-consume",
    "penstockctl": "tools/penstockctl/penstockctl",
    # Of the version after this one, as far as its protocol goes.
    "penstock-presence-next": "tests/penstock-presence-next",
    "penstock-data-next": "tests/penstock-data-next",
    # Peers that a test wants by the thousand, or wants to misbehave.
    "control-load": "tests/control-load",
    # Preloaded into programs.
    "wall-clock": "tests/libwall_clock.so",
}


def publisher_state(process, state, timeout_s=_STATE_TIMEOUT_S):
    """Waits until a publisher says that it is in a state; the object it said."""
    return process.wait_for_object(timeout_s, event="state", state=state)


def consumer_state(process, state, timeout_s=_STATE_TIMEOUT_S):
    """The same of a consumer, whose standard output may carry content."""
    return process.wait_for_object(timeout_s, "stderr", event="state", state=state)


def last_stats(consumer):
    """What a consumer with --stats said of itself last; None before its first line."""
    lines, _, _ = consumer.stdout.text().rpartition("\n")
    said = [o for o in json_lines(lines) if o["event"] == "stats"]
    return said[-1] if said else None


def newest_sequence(consumer):
    """The number of the newest packet it said it had; -1 before its first."""
    stats = last_stats(consumer)
    return -1 if stats is None or stats["last_sequence"] is None else stats["last_sequence"]


def counts_of(data_server):
    """The counters of a penstock-data process by name, those that are not 0: what it dropped as
    "drop.<reason>", what became of session messages as "session.<event>"."""
    data_server.signal(signal.SIGUSR1)
    data_server.wait_for(r"port \S+: received=", _COUNTS_TIMEOUT_S, stream="stderr")
    newest = {}
    for line in data_server.stderr.text().splitlines():
        found = re.search(r"(drops|session messages): (.*)", line)
        if found:
            newest[found[1]] = re.findall(r"(\w+)=(\d+)", found[2])
    kinds = {"drops": "drop", "session messages": "session"}
    return {f"{kinds[k]}.{name}": int(n) for k, pairs in newest.items() for name, n in pairs}


class Programs:
    """The programs of one build, started in one World. The world ends them.

    Further command line words are given as they are, after ours; see each program's --help.
    """

    def __init__(self, world, build_directory=None):
        """`build_directory`: meson's; default: the environment variable BUILD_DIR."""
        self._world = world
        self._build_directory = Path(build_directory or os.environ["BUILD_DIR"]).resolve()
        self._started = {}
        self.environment = {}  # added to that of every program started from now on
        self._presence_ports = [_PRESENCE_PORT]
        # Certificates of "presence", of data servers by name, and of a "client": everything started
        # from now on speaks TLS.
        self.certificates = None

    def path(self, program):
        return self._build_directory / PATHS[program]

    def presence(self, *words, wait=True, program="penstock-presence", **started):
        """Starts presence on its host, adding the host if the world has none. `started`: as
        _start() takes it."""
        host = self._world.presence or self._world.add_presence()
        listen = f"{host.control_address}:{_PRESENCE_PORT}"
        ours = {"--listen": listen, "--store": self._world.directory / "presence.db"}
        given = [word for name in ours if name not in words for word in (name, ours[name])]
        words = (*self._tls_words("presence"), *given, *words)
        process = self._start(host, program, *words, **started)
        if wait:
            process.wait_for(r"^ready presence ", _READY_TIMEOUT_S)
        return process

    def presences(self, store, *words, count=3):
        """Starts several presence servers on one host, with one store; everything started later is
        told all their addresses. A dictionary by address."""
        host = self._world.presence or self._world.add_presence()
        self._presence_ports = [_PRESENCE_PORT + number for number in range(count)]
        started = {}
        for address in self.presence_addresses():
            called = [*self._tls_words("presence"), "--listen", address]
            arguments = [*called, "--store", store, *words]
            started[address] = self._start(host, "penstock-presence", *arguments)
        for process in started.values():
            process.wait_for(r"^ready presence ", _READY_TIMEOUT_S)
        return started

    def presence_addresses(self):
        address = self._world.presence.control_address
        return [f"{address}:{port}" for port in self._presence_ports]

    def data_server(
        self,
        host,
        *words,
        name=None,
        huge_pages=False,
        memory="192MiB",
        wait=True,
        program="penstock-data",
        presence=None,
        certificate=None,
        **started,
    ):
        """Starts penstock-data on a DataServerHost, with `name` (default: the host's) as id;
        `wait`: until its ports run and presence has taken it in. `presence`: other addresses for
        it than presence's own; `certificate`: that of another name. `started`: as _start() takes
        it."""
        name = name or host.name
        arguments = ["--id", name, *self._presence_words(presence, certificate or name)]
        for devargs in host.ports():
            arguments += ["--port", devargs, "--address", f"{host.data_address}/{PREFIX_BITS}"]
        arguments += ["--memory", memory] + ([] if huge_pages else ["--no-huge"])
        process = self._start(host, program, *arguments, *words, **started)
        if wait:
            process.wait_for(r"^ready data ", _READY_TIMEOUT_S)
            process.wait_for(r"attached to presence ", _READY_TIMEOUT_S, stream="stderr")
        return process

    def publisher(self, host, stream, *words):
        """Starts penstock-publish; its states come on stdout, one JSON object a line."""
        return self._client(host, "penstock-publish", stream, words)

    def consumer(self, host, stream, *words):
        """Starts penstock-consume; its states come on stderr."""
        return self._client(host, "penstock-consume", stream, words)

    def control(self, host, *words, timeout_s=10):
        """Runs `penstockctl -j …` to its end and returns the document it printed."""
        arguments = [str(self.path("penstockctl")), *self._presence_words(), "-j", *words]
        done = host.run(arguments, timeout_s)
        return json.loads(done.stdout)

    def server(self, name):
        """Presence's view of one data server: ServerInfo of presence.proto."""
        return self.control(self._world.presence, "server", "show", name)

    def stream(self, name):
        """Presence's view of one stream: StreamInfo of presence.proto."""
        return self.control(self._world.presence, "stream", "show", name)

    def explain(self, stream):
        """The decision behind the last hand-out of a stream: ExplainReply of presence.proto."""
        return self.control(self._world.presence, "explain", stream)

    def status(self):
        return self.control(self._world.presence, "status")

    def events(self, host, *words):
        """Starts `penstockctl events --follow -j`: one event a line on stdout, to wait_for()."""
        arguments = [*self._presence_words(), "-j", "events", "--follow", *words]
        return self._start(host, "penstockctl", *arguments)

    def _client(self, host, program, stream, words):
        common = [*self._presence_words(), "--bind", host.data_address, "--json"]
        return self._start(host, program, stream, *common, *words)

    def start(self, host, program, *words, **started):
        """Starts any program of PATHS with these words only. `started`: as _start() takes it."""
        return self._start(host, program, *words, **started)

    def _presence_words(self, addresses=None, certificate="client"):
        named = [w for a in addresses or self.presence_addresses() for w in ("--presence", a)]
        return [*named, *self._tls_words(certificate)]

    def _tls_words(self, name):
        return self.certificates.words(name) if self.certificates else ["--insecure"]

    def _start(self, host, program, *words, environment=None, under=()):
        """`environment`: added to ours. `under`: a command that becomes the program, and its
        arguments."""
        number = self._started.get((host.name, program), 0) + 1
        self._started[host.name, program] = number
        command = [*under, self.path(program), *words]
        environment = self.environment | (environment or {})
        return host.start(f"{program}_{number}", command, environment)
