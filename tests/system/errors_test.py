"""Bad starts: one line on standard error that says what, why and what to do; exit status 1; nothing
left behind."""

import os
import re
import time
from pathlib import Path

import pytest
import world as harness

DEADLINE_S = 30
_BEGAN = time.time()
PRESENCE = ("--presence", "127.0.0.1:7400")
TOO_MUCH_MEMORY = "64GiB"  # 32768 pages of 2 MiB


class Failure:
    """One bad start: the words of the command line and what the complaint must name."""

    def __init__(self, words, *named, config=None, environment=None):
        self.words = [str(word) for word in words]
        self.named = named
        self.config = config
        self.environment = environment

    def __repr__(self):
        return " ".join(self.words)[:60] + (f" [{self.config}]" if self.config else "")


def traces_of(host):
    """What a program could leave behind in a namespace: interfaces, traffic control, programs."""
    interfaces = host.run(["ip", "-br", "link"]).stdout
    traffic_control = host.run(["tc", "qdisc", "show"]).stdout
    filters = host.run(["tc", "filter", "show", "dev", "data0", "ingress"], check=False).stdout
    # The names only: flags of an interface such as promiscuous mode are not ours to judge.
    names = [line.split()[0] for line in interfaces.splitlines()]
    return names, traffic_control, filters, host.xdp_mode()


def files_of(process):
    """What it left behind on the machine, in directories that all data servers share. What is older
    than this run is of a data server that was killed, whose pid may have come round again."""
    directories = [Path("/var/run/dpdk"), Path("/dev/hugepages")]
    files = [path for d in directories if d.is_dir() for path in d.iterdir()]
    its_pid = re.compile(rf"(?<!\d){process.pid}(?!\d)")
    return [path for path in files if its_pid.search(path.name) and path.stat().st_mtime > _BEGAN]


def assert_fails(world, programs, host, program, failure):
    """Starts a program that cannot start, and judges how it says so."""
    words = list(failure.words)
    if failure.config is not None:
        path = world.directory / f"{len(os.listdir(world.directory))}.ini"
        path.write_text(failure.config)
        words += ["--config", path]
    before = traces_of(host)
    name = f"{program}_{len(os.listdir(world.directory))}"
    process = host.start(name, [programs.path(program), *words], environment=failure.environment)
    status = process.wait(DEADLINE_S)
    complaint = process.stderr.text()
    assert (status, process.stdout.text()) == (1, ""), process.describe("should have failed")
    assert len(complaint.splitlines()) == 1, process.describe("should complain in one line")
    assert complaint.startswith(f"{program}: "), complaint
    for named in failure.named:
        assert re.search(named, complaint), f"{failure}: {named!r} is not in: {complaint}"
    assert (traces_of(host), files_of(process)) == (before, [])


def all_of(world, programs, host, program, failures):
    for failure in failures:
        assert_fails(world, programs, host, program, failure)


# ------------------------------------------------------------------------------------ data servers


def data_words(driver, **changed):
    """A proper command line of penstock-data, with options changed, added or (None) left out."""
    words = {
        "id": "ds1",
        "presence": "127.0.0.1:7400",
        "port": f"{driver}0,iface=data0",
        "address": "10.91.0.11/24",
        "memory": "128MiB",
        "no_huge": True,
    } | changed
    line = []
    for name, value in words.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            line.append(option)
        elif value is not None:
            line += [option, value]
    return line


def test_a_data_server_refuses_wrong_options(world, programs):
    def wrong(*named, extra=(), **changed):
        return Failure([*data_words("net_af_packet", **changed), *extra], *named)

    failures = [
        wrong("--id", "missing", id=None),
        wrong("--id", "two words", id="two words"),
        wrong("--presence", "missing", presence=None),
        wrong("--presence", "nowhere", "HOST:PORT", presence="nowhere"),
        wrong("10.9.9.9:7400", "--tls-ca", "--insecure", presence="10.9.9.9:7400"),
        wrong("--tls-ca", "/nonexistent", tls_ca="/nonexistent"),
        wrong("--tls-cert", "without --tls-key", tls_cert="ds1.pem"),
        wrong("--tls-key", "without --tls-cert", tls_key="ds1.key"),
        wrong("--tls-cert", "without --tls-ca", tls_cert="ds1.pem", tls_key="ds1.key"),
        wrong("--port", "missing", port=None, address=None),
        wrong("--port", "eth0", "PCI", port="eth0"),
        wrong("1 --port but 0 --address", address=None),
        wrong("--address", "10.91.0.11", address="10.91.0.11"),
        wrong("--address", "broadcast", address="10.91.0.255/24"),
        wrong("--address", "IPv6", address="2001:db8::1/64"),
        wrong("--address", "somewhere", address="somewhere"),
        wrong("--stream-ports", "9-1", stream_ports="9-1"),
        wrong("--streams-max", "--stream-ports", stream_ports="20000-20009"),
        wrong("--ring-packets", "1024", ring_packets="1000"),
        wrong("--memory", "plenty", memory="plenty"),
        wrong("--lease", "--keepalive", lease="2s", keepalive="5s"),
        wrong("--lease", "5", "s", lease="5"),
        wrong("--poll", "adaptive", "lazy", poll="lazy"),
        wrong("--workers", workers="0"),
        wrong("--worker-cpus", "99", worker_cpus="99"),
        wrong("--copy-threshold", "some", copy_threshold="some"),
        wrong("--tap-name", tap_name="a_name_that_is_too_long"),
        wrong("--rx-descriptors", rx_descriptors="many"),
        wrong("--ring-packet", "--ring-packets", ring_packet="1024"),
        wrong("surplus", extra=["surplus"]),
        wrong("--config", "/nonexistent.ini", config="/nonexistent.ini"),
    ]
    host = world.add_data_server("ds1", "net_af_packet")
    all_of(world, programs, host, "penstock-data", failures)


def test_a_data_server_refuses_wrong_keys_and_variables(world, programs):
    words = data_words("net_af_packet")
    failures = [
        Failure(words, "ring-packet", "ring-packets", config="ring-packet = 1024\n"),
        Failure(words, "ring-packets", "1000", config="ring-packets = 1000\n"),
        Failure(words, "ini", config="this is no INI file\n"),
        Failure(words, "RING_PACKETS", "much", environment={"PENSTOCK_RING_PACKETS": "much"}),
        Failure(words, "RING_PACKET\\b", environment={"PENSTOCK_RING_PACKET": "1024"}),
    ]
    host = world.add_data_server("ds1", "net_af_packet")
    all_of(world, programs, host, "penstock-data", failures)


def test_a_data_server_refuses_ports_it_cannot_have(world, programs, driver):
    absent = data_words(driver, port=f"{driver}0,iface=absent0")
    cpus = len(os.sched_getaffinity(0))
    failures = [
        Failure(absent, "absent0"),
        Failure(data_words(driver, port="net_nonsense0"), "net_nonsense0"),
        Failure(data_words(driver, port=f"{driver}0,iface=data0,nonsense=1"), f"{driver}0"),
        Failure(data_words(driver, port=f"{driver}0"), f"{driver}0", "devargs"),
        Failure(data_words(driver, port="0000:ff:1f.7"), "0000:ff:1f.7"),
        Failure(data_words(driver, workers=str(cpus + 1)), "--workers", str(cpus + 1)),
        Failure(data_words(driver, tap_name="data0"), "data0"),
    ]
    if driver == "net_af_xdp":
        failures.append(Failure(data_words(driver, workers="2"), "data0", "queue", "worker"))
    host = world.add_data_server("ds1", driver)
    all_of(world, programs, host, "penstock-data", failures)


def test_a_data_server_says_when_huge_pages_are_missing(world, programs, driver):
    words = data_words(driver, no_huge=None, memory=TOO_MUCH_MEMORY)
    host = world.add_data_server("ds1", driver)
    failure = Failure(words, "memory", r"hugepages\.sh 32768", "--no-huge")
    assert_fails(world, programs, host, "penstock-data", failure)


def test_a_data_server_needs_an_interface_of_its_own(world, programs, driver):
    programs.presence()
    host = world.add_data_server("ds1", driver)
    first = programs.data_server(host)
    words = data_words(driver, id="ds2", address="10.91.0.12/24")
    assert_fails(world, programs, host, "penstock-data", Failure(words, "data0", "use"))
    # The first one goes on as if nothing had been.
    assert first.running()
    assert world.add_host("pub").ping(host.data_address) == 1


def test_a_data_server_leaves_nothing_behind(world, programs, driver):
    """Nor does one that was killed, once the next one has come and gone."""
    programs.presence()
    host = world.add_data_server("ds1", driver)
    before = traces_of(host)
    ended = programs.data_server(host)
    assert ended.stop() == 0
    assert (traces_of(host), files_of(ended)) == (before, [])
    killed = programs.data_server(host)
    assert traces_of(host) != before
    killed.kill()
    assert programs.data_server(host).stop() == 0
    assert traces_of(host) == before


# ---------------------------------------------------------------------------------------- presence


def test_presence_refuses_wrong_options(world, programs):
    store = ["--store", world.directory / "presence.db"]
    etcd = ["--store", "etcd://10.0.0.1:2379"]
    failures = [
        Failure(["--listen", "0.0.0.0:7400"], "0.0.0.0:7400", "--tls-cert", "--insecure"),
        Failure(["--tls-cert", "p.pem", *store], "--tls-cert", "without --tls-key"),
        Failure(["--tls-key", "p.key", *store], "--tls-key", "without --tls-cert"),
        Failure(["--tls-ca", "a.pem", *store], "--tls-ca", "add --tls-cert and --tls-key"),
        Failure(["--tls-cert", "/", "--tls-key", "/", *store], "--tls-cert / is not a file"),
        Failure(["--etcd-ca", "a.pem"], "--etcd-ca", "--store etcd://"),
        Failure(["--store", "etcd://10.0.0.1:2379"], "10.0.0.1:2379", "--etcd-ca", "--insecure"),
        Failure([*etcd, "--etcd-key", "p.key"], "--etcd-key", "without --etcd-cert"),
        Failure([*etcd, "--etcd-ca", "/nonexistent"], "--etcd-ca /nonexistent: No such file"),
        Failure(["--listen", "somewhere"], "--listen", "somewhere"),
        Failure(["--listen", "192.0.2.1:7400", "--insecure", *store], "192.0.2.1:7400"),
        Failure(["--recent-period", "long"], "--recent-period", "long"),
        Failure(["--recent-period", "10"], "--recent-period", "10"),
        Failure(["--utilisation-limit", "2"], "--utilisation-limit", "2"),
        Failure(["--reserve", "-1"], "--reserve"),
        Failure(["--close-after", "1ms"], "--close-after"),
        Failure(["--ticket-lifetime", "0s"], "--ticket-lifetime"),
        Failure(["--recent-perid", "1s"], "--recent-perid", "--recent-period"),
        Failure(["surplus"], "surplus"),
        Failure([], "recent-perid", "recent-period", config="recent-perid = 1s\n"),
        Failure([], "RESERVE", environment={"PENSTOCK_RESERVE": "much"}),
    ]
    all_of(world, programs, world.add_host("host"), "penstock-presence", failures)


def test_two_presences_do_not_share_a_port(world, programs):
    first = programs.presence()
    listen = f"{world.presence.control_address}:7400"
    host = world.presence
    store = ["--store", world.directory / "second.db"]
    words = [programs.path("penstock-presence"), "--listen", listen, "--insecure", *store]
    process = host.start("second", words)
    assert process.wait(DEADLINE_S) == 1
    lines = process.stderr.text().splitlines()
    assert len(lines) == 1 and lines[0].startswith("penstock-presence: ") and listen in lines[0]
    assert process.stdout.text() == ""
    assert first.running()
    assert programs.status()["servers"] == 0


# ----------------------------------------------------------------------------------------- clients


def test_a_publisher_refuses_wrong_options(world, programs):
    film = world.directory / "notes.txt"
    film.write_text("no transport stream")

    def wrong(*words, named):
        return Failure(["tv", *PRESENCE, *words], *named)

    failures = [
        Failure([*PRESENCE, "--generate"], "(?i)stream"),
        Failure(["", *PRESENCE, "--generate"], "(?i)stream"),
        Failure(["x" * 256, *PRESENCE, "--generate"], "255"),
        wrong(named=("--input", "--generate")),
        wrong("--generate", "--udp", "127.0.0.1:6000", named=("--generate", "--udp")),
        wrong("--input", "/nonexistent.ts", named=("/nonexistent.ts",)),
        wrong("--input", film, named=("notes.txt", "--rate")),
        wrong("--pcap", film, named=("notes.txt",)),
        wrong("--udp", "nowhere", named=("nowhere",)),
        wrong("--udp", "192.0.2.1:6000", named=("192.0.2.1:6000",)),
        wrong("--exec", "true", "--rate", "1Mbit", named=("--rate", "--exec")),
        wrong("--generate", "--rate", "fast", named=("--rate", "fast")),
        wrong("--generate", "--payload", "1473", named=("--payload", "1472")),
        wrong("--generate", "--payload", "31", named=("--payload", "32")),
        wrong("--generate", "--start", "never", named=("--start", "never", "demand")),
        wrong("--generate", "--bind", "192.0.2.1", named=("192.0.2.1",)),
        wrong("--generate", "--bind", "here", named=("here",)),
        wrong("--generate", "--record", "/nonexistent/file", named=("/nonexistent/file",)),
        wrong("--generate", "--presence", "nowhere", named=("nowhere",)),
        wrong("--generate", "--presence", "10.9.9.9:7400", named=("10.9.9.9:7400", "--insecure")),
        wrong("--generate", "--tls-ca", "/nonexistent", named=("--tls-ca", "/nonexistent")),
        wrong("--generate", "--tls-cert", "c.pem", named=("--tls-cert", "without --tls-key")),
        wrong("--generat", named=("--generat", "--generate")),
    ]
    all_of(world, programs, world.add_host("host"), "penstock-publish", failures)


def test_a_consumer_refuses_wrong_options(world, programs):
    def wrong(*words, named):
        return Failure(["tv", *PRESENCE, *words], *named)

    failures = [
        Failure([*PRESENCE, "--stats"], "(?i)stream"),
        wrong("--stats", "--history", "old", named=("--history", "old")),
        wrong("--stats", "--wait", "long", named=("--wait", "long")),
        wrong("--stats", "--for", "10", named=("--for", "10")),
        wrong("--output", "seen", "--udp", "127.0.0.1:6000", named=("--output", "--udp")),
        wrong("--udp", "nowhere", named=("nowhere",)),
        wrong("--output", "/nonexistent/file", named=("/nonexistent/file",)),
        wrong("--stats", "--bind", "192.0.2.1", named=("192.0.2.1",)),
        wrong("--stats", "--presence", "10.9.9.9:7400", named=("10.9.9.9:7400", "--insecure")),
        wrong("--stats", "--tls-ca", "/nonexistent", named=("--tls-ca", "/nonexistent")),
        wrong("--stats", "--tls-key", "c.key", named=("--tls-key", "without --tls-cert")),
        wrong("--stat", named=("--stat", "--stats")),
    ]
    all_of(world, programs, world.add_host("host"), "penstock-consume", failures)


def test_a_consumer_gives_presence_up_in_time(world, programs):
    host = world.add_host("host")
    words = ["tv", *PRESENCE, "--output", world.directory / "seen", "--wait", "1s"]
    process = host.start("consumer", [programs.path("penstock-consume"), *words])
    assert process.wait(DEADLINE_S) == 1
    # Up to then it says in what state it is, and that it tries.
    lines = process.stderr.text().splitlines()
    complaints = [line for line in lines if not re.match("state |warning: ", line)]
    assert len(complaints) == 1 and complaints[0].startswith("penstock-consume: ")
    assert "127.0.0.1:7400" in complaints[0] and "ask again in" in complaints[0]
    assert process.stdout.text() == ""


def test_an_operator_is_told_what_is_wrong(world, programs):
    programs.presence()
    there = ["--presence", f"{world.presence.control_address}:7400", "--insecure"]
    failures = [
        Failure(list(PRESENCE), "server", "stream"),
        Failure([*PRESENCE, "status"], "127.0.0.1:7400"),
        Failure(["--presence", "10.9.9.9:7400", "status"], "--tls-ca", "--insecure"),
        Failure([*PRESENCE, "--tls-ca", "/nonexistent", "status"], "--tls-ca", "/nonexistent"),
        Failure([*PRESENCE, "--tls-cert", "c.pem", "status"], "without --tls-key"),
        Failure([*there, "nonsense"], "nonsense"),
        Failure([*there, "server", "nonsense"], "nonsense"),
        Failure([*there, "server", "show"], "(?i)name"),
        Failure([*there, "server", "show", "ds9"], "ds9"),
        Failure([*there, "stream", "show", "tv"], "tv"),
        Failure([*there, "explain", "tv"], "tv"),
        Failure([*there, "explain"], "(?i)stream"),
        Failure([*there, "status", "surplus"], "surplus"),
        Failure([*there, "--jsn", "status"], "--jsn", "--json"),
    ]
    all_of(world, programs, world.add_host("host"), "penstockctl", failures)


PRODUCT = sorted(name for name, path in harness.programs.PATHS.items() if "tests/" not in path)


@pytest.mark.parametrize("program", PRODUCT)
def test_every_program_explains_itself(programs, program):
    told = harness.run([programs.path(program), "--help"])
    assert program in told.stdout and "--presence" in told.stdout or "--listen" in told.stdout
    assert told.stderr == ""
    version = harness.run([programs.path(program), "--version"])
    assert re.search(r"\d+\.\d+\.\d+", version.stdout)
