"""penstock-data starts or says in one line why not; either way it leaves nothing behind."""

import glob
import os
import re
import signal
import subprocess

import pytest

START_TIMEOUT_S = 30
LOOPBACK_PRESENCE = ["--presence", "127.0.0.1:7400"]


@pytest.fixture
def host(world):
    return world.add_data_server("ds1", driver="net_af_packet")


@pytest.fixture
def command(programs, host):
    """The words that start it, less what a test wants otherwise."""

    def words(**other):
        options = {
            "--id": "ds1",
            "--port": host.ports()[0],
            "--address": f"{host.data_address}/24",
            "--memory": "64MiB",
        } | {"--" + name.replace("_", "-"): value for name, value in other.items()}
        flat = [word for pair in options.items() for word in pair]
        return [str(programs.path("penstock-data")), *LOOPBACK_PRESENCE, *flat]

    return words


def is_in_use(directory):
    """Whether the process after which a directory is named still runs."""
    return os.path.exists(f"/proc/{directory.rsplit('-', 1)[1]}")


def traces(host):
    """What a data server could leave: interfaces, classifiers, files."""
    links = host.run(["ip", "-oneline", "link", "show"]).stdout
    return {
        "links": sorted(line.split(":")[1].strip() for line in links.splitlines()),
        "classifiers": host.run(["tc", "qdisc", "show", "dev", "data0"]).stdout,
        "files": [f for f in glob.glob("/var/run/dpdk/penstock-data-*") if not is_in_use(f)],
        "pages": os.listdir("/dev/hugepages") if os.path.isdir("/dev/hugepages") else [],
    }


def assert_refused(host, words, *parts):
    before = traces(host)
    done = host.run(words, START_TIMEOUT_S, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("penstock-data: ")
    for part in parts:
        assert part in lines[0]
    assert traces(host) == before


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("no_such_option", "1", ["--no-such-option"]),
        ("worker_cpus", "4000", ["CPU 4000", "usable"]),
        ("port", "net_af_packet0,iface=nosuch0", ["net_af_packet0"]),
        ("port", "net_nonsense0", ["net_nonsense0"]),
        ("port", "0000:ff:1f.7", ["0000:ff:1f.7"]),
        ("mtu", "9000", ["--memory"]),
        ("memory", "900GiB", ["memory"]),
        ("stream_ports", "30000-20000", ["--stream-ports"]),
        ("config", "/nonexistent.conf", ["/nonexistent.conf"]),
    ],
)
def test_wrong_words_are_one_line_and_no_trace(host, command, option, value, parts):
    assert_refused(host, command(**{option: value}), *parts)


def test_presence_off_loopback_needs_a_word(host, command):
    words = [w if w != "127.0.0.1:7400" else "10.90.0.1:7400" for w in command()]
    assert_refused(host, words, "--insecure")


def test_taken_tap_name_is_one_line_and_no_trace(host, command):
    host.run(["ip", "link", "add", "pst7", "type", "veth", "peer", "pst8"])
    assert_refused(host, command(tap_name="pst7"), "pst7", "--tap-name")


def test_interface_linux_uses_itself_is_refused(host, command):
    host.run(["ip", "address", "add", "10.91.0.77/24", "dev", "data0"])
    assert_refused(host, command(), "data0", "10.91.0.77")


def test_second_port_that_fails_takes_the_first_down(host, command):
    words = [*command(), "--port", "net_af_packet1,iface=nosuch0", "--address", "10.92.0.1/24"]
    assert_refused(host, words, "net_af_packet1")


def test_no_right_to_make_a_tap_is_one_line(host, command):
    words = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *command(port="net_null0,no-rx=1")]
    done = host.run(words, START_TIMEOUT_S, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "CAP_NET_ADMIN" in done.stderr


def ready(host, words, name="penstock-data"):
    process = host.start(name, words)
    process.wait_for(r"^ready data id=ds1 workers=1 ", START_TIMEOUT_S)
    return process


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_end_it_leaves_nothing(host, command, end):
    before = traces(host)
    process = ready(host, command())
    assert "pst0" in traces(host)["links"]
    process.signal(end)
    assert process.wait(START_TIMEOUT_S) == 0
    assert traces(host) == before


def test_what_a_killed_one_left_is_taken_over(host, command):
    before = traces(host)
    process = ready(host, command())
    process.kill()
    assert "clsact" in traces(host)["classifiers"]
    assert "pst0" not in traces(host)["links"]
    again = ready(host, command(), "penstock-data-again")
    again.signal(signal.SIGTERM)
    assert again.wait(START_TIMEOUT_S) == 0
    assert traces(host) == before


def test_starts_where_presence_is_not_and_keeps_trying(host, command):
    process = ready(host, command())
    process.wait_for(r"warning: presence 127.0.0.1:7400: .*trying again", START_TIMEOUT_S, "stderr")
    assert process.running()


def test_ordinary_memory_leaves_no_file(host, command):
    before = traces(host)
    process = ready(host, [*command(), "--no-huge"])
    process.signal(signal.SIGTERM)
    assert process.wait(START_TIMEOUT_S) == 0
    assert traces(host) == before


def test_says_its_version_and_its_options(programs):
    path = str(programs.path("penstock-data"))
    shown = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=10, check=True)
    assert "--stream-ports" in shown.stdout
    assert shown.stderr == ""


def test_says_what_its_memory_is_divided_into(host, command):
    process = ready(host, command())
    process.wait_for(r"info: memory 64MiB: payload pool \d+ MiB, copy pools \d+ MiB", START_TIMEOUT_S, "stderr")
    found = process.wait_for(r"info: payload pool: (\d+) packets of \d+ bytes = (.*)$", START_TIMEOUT_S, "stderr")
    terms = [int(term) for term in re.findall(r"(\d+) for ", found[2])]
    assert len(terms) == 7
    assert sum(terms) == int(found[1])
    kept = process.wait_for(r"info: history: (\d+) packets may be kept", START_TIMEOUT_S, "stderr")
    assert int(kept[1]) == terms[-1] * 7 // 10
    process.signal(signal.SIGUSR1)
    pool = process.wait_for(r"info: packet pool: packets=(\d+) free=(\d+) low=\d+ found_short=0 ", START_TIMEOUT_S, "stderr")
    assert int(pool[1]) == int(found[1])
    assert 0 < int(pool[2]) <= int(pool[1])
