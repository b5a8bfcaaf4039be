"""The harness itself: a test that fails should accuse the product, so this is tested first."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import world as harness

SUPPORT = Path(harness.__file__).resolve().parent.parent
DEADLINE_S = 10


def namespaces():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in listed.stdout.splitlines()}


def frame_between(sender, receiver, **fields):
    frame = {
        "source_mac": sender.mac(),
        "destination_mac": receiver.mac(),
        "source": sender.data_address,
        "destination": receiver.data_address,
        "source_port": 40000,
        "destination_port": 20000,
        "payload": b"penstock",
    }
    return harness.UdpFrame(**(frame | fields))


@pytest.fixture
def two_hosts(world):
    return world.add_host("pub"), world.add_host("con")


def test_namespaces_come_and_go(tmp_path):
    before = namespaces()
    with harness.World(tmp_path) as world:
        hosts = [world.add_presence(), world.add_data_server("ds1"), world.add_host("pub")]
        made = namespaces() - before
        assert {host.namespace for host in hosts} < made
        assert len(made) == 4  # and the one with the bridges
    assert namespaces() == before


def test_an_exception_removes_everything(tmp_path):
    before = namespaces()
    with pytest.raises(ZeroDivisionError), harness.World(tmp_path) as world:
        process = world.add_host("pub").start("sleeper", ["sleep", "1000"])
        raise ZeroDivisionError
    assert namespaces() == before
    assert process.exit_status() == -signal.SIGTERM


def test_two_worlds_live_side_by_side(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with harness.World(tmp_path / "a") as one, harness.World(tmp_path / "b") as other:
        one.add_host("pub")
        other.add_host("pub")
        lonely = one.hosts["pub"].ping("10.91.0.102", timeout_s=1)
    assert lonely == 0


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from world import World
with World(sys.argv[2]) as world:
    host = world.add_host("pub")
    sleeper = host.start("sleeper", ["sh", "-c", "echo up; exec sleep 1000"])
    sleeper.wait_for("up", 10)
    print(sleeper.pid, host.namespace, flush=True)
    sleeper.wait(1000)
"""


def child_world(tmp_path):
    """Another process with a world: (the process, pid of a program in it, a namespace of it)."""
    words = [sys.executable, "-B", "-c", CHILD, str(SUPPORT), str(tmp_path)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid, namespace = child.stdout.readline().split()
    assert namespace in namespaces()
    return child, int(pid), namespace


def wait_for_end(pidfd):
    assert harness.processes.select.select([pidfd], [], [], DEADLINE_S)[0], "still running"
    os.close(pidfd)


@pytest.mark.parametrize("numbers", [
    (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGTERM, signal.SIGINT),
])
def test_signals_remove_everything(tmp_path, numbers):
    child, sleeper, namespace = child_world(tmp_path)
    pidfd = os.pidfd_open(sleeper)
    for number in numbers:
        child.send_signal(number)
    child.communicate(timeout=DEADLINE_S)
    assert child.returncode != 0
    assert namespace not in namespaces()
    wait_for_end(pidfd)


def test_a_killed_world_is_swept_and_a_living_one_is_not(tmp_path, world):
    living = world.add_host("pub").namespace
    child, sleeper, namespace = child_world(tmp_path)
    pidfd = os.pidfd_open(sleeper)
    child.kill()
    child.communicate(timeout=DEADLINE_S)
    wait_for_end(pidfd)  # the programs die with the world that started them
    assert namespace in harness.sweep()
    assert namespace not in namespaces()
    assert living in namespaces()


def test_a_namespace_of_a_reused_pid_is_swept():
    made_by_an_earlier_pid = f"penstock-{os.getpid()}-1-1-net"
    harness.run(["ip", "netns", "add", made_by_an_earlier_pid])
    assert made_by_an_earlier_pid in harness.sweep()


def test_hosts_reach_each_other_on_both_networks(two_hosts):
    pub, con = two_hosts
    assert pub.ping(con.data_address) == 1
    assert pub.ping(con.control_address) == 1


def test_a_dark_host_neither_hears_nor_is_heard(world, two_hosts):
    pub, con = two_hosts
    world.darken(con, True)
    assert pub.ping(con.data_address, timeout_s=1) == 0
    with con.socket() as sender, pytest.raises(PermissionError):
        sender.sendto(b"penstock", (pub.data_address, 9))
    world.darken(con, False)
    assert pub.ping(con.data_address) == con.ping(pub.control_address) == 1


def test_there_is_no_ipv6(two_hosts):
    assert "inet6" not in two_hosts[0].run(["ip", "address"]).stdout


def test_presence_is_on_the_control_network_only(world, two_hosts):
    presence = world.add_presence()
    assert two_hosts[0].ping(presence.control_address) == 1
    assert "data0" not in presence.run(["ip", "-br", "link"]).stdout


def test_interface_bytes_count_what_passes(two_hosts):
    pub, con = two_hosts
    # Neighbours that never age: Linux sends no ARP of its own among the counted frames.
    for host, neighbour in ((pub, con), (con, pub)):
        host.run(["ip", "neigh", "replace", neighbour.data_address, "dev", "data0",
                  "lladdr", neighbour.mac("data0"), "nud", "permanent"])
    received, _ = con.interface_bytes("data0")
    _, sent = pub.interface_bytes("data0")
    frame = frame_between(pub, con, payload=bytes(1000))
    capture = harness.Capture(con, "data0", "udp")
    with harness.FrameSender(pub) as sender:
        for _ in range(10):
            sender.send(frame)
    assert len(harness.datagrams_of(capture.stop())) == 10
    assert con.interface_bytes("data0")[0] - received >= 10 * len(frame.octets())
    assert pub.interface_bytes("data0")[1] - sent == 10 * len(frame.octets())


@pytest.mark.parametrize("driver", harness.DRIVERS)
def test_a_data_server_host_leaves_its_interface_to_dpdk(world, driver):
    host = world.add_data_server("ds1", driver=driver, queues=2)
    assert host.data_address not in host.run(["ip", "-br", "address"]).stdout
    assert host.ports() == [f"{driver}0,iface=data0"]
    assert host.run(["ls", "/sys/class/net/data0/queues"]).stdout.split() == [
        "rx-0", "rx-1", "tx-0", "tx-1",
    ]


def test_skb_mode_is_in_place_before_the_data_server_starts(world):
    assert world.add_data_server("ds1").xdp_mode() is None
    assert world.add_data_server("ds2", mode="skb").xdp_mode() == "skb"


@pytest.mark.parametrize("make", [
    lambda world: world.add_host("Bad Name"),
    lambda world: (world.add_host("pub"), world.add_host("pub")),
    lambda world: world.add_data_server("ds1", driver="net_none"),
])
def test_a_host_that_cannot_be_is_refused(world, make):
    with pytest.raises(harness.WorldError):
        make(world)


def test_the_judge_accepts_good_checksums_of_the_kernel_and_of_ours(two_hosts):
    pub, con = two_hosts
    with pub.socket() as kernel, harness.FrameSender(pub) as ours:
        capture = harness.Capture(con, "data0", "udp")
        kernel.sendto(b"by the kernel", (con.data_address, 20000))
        ours.send(frame_between(pub, con))
        ours.send(frame_between(pub, con, payload=b"odd"))
        ours.send(frame_between(pub, con, udp_checksum=0))
        path = capture.stop()
    assert harness.checksums_of(path) == harness.Checksums(4, ip_bad=0, udp_bad=0, udp_absent=1)
    first = harness.datagrams_of(path)[0]
    assert (first.source, first.destination) == (pub.data_address, con.data_address)
    assert (first.destination_port, first.payload) == (20000, b"by the kernel")
    assert abs(first.time_s - time.time()) < 60


def test_the_judge_finds_bad_checksums(two_hosts):
    pub, con = two_hosts
    capture = harness.Capture(con, "data0", "udp")
    with harness.FrameSender(pub) as sender:
        sender.send(frame_between(pub, con, udp_checksum=0x1234))
        sender.send(frame_between(pub, con, ip_checksum=0x1234))
        sender.send(frame_between(pub, con, payload=b""))
    path = capture.stop()
    assert harness.checksums_of(path) == harness.Checksums(3, ip_bad=1, udp_bad=1, udp_absent=0)


def test_a_capture_holds_a_whole_burst(two_hosts):
    pub, con = two_hosts
    capture = harness.Capture(con, "data0", "udp")
    payloads = [number.to_bytes(4, "big") * 300 for number in range(2000)]
    capture.process.signal(signal.SIGSTOP)  # so that it is far behind when stop() is called
    with harness.FrameSender(pub) as sender:
        template = frame_between(pub, con)
        for payload in payloads:
            template.payload = payload
            sender.send(template)
    threading.Timer(0.2, capture.process.signal, [signal.SIGCONT]).start()
    datagrams = harness.datagrams_of(capture.stop())
    assert [datagram.payload for datagram in datagrams] == payloads


def test_a_spoofed_source_arrives_as_sent(two_hosts):
    pub, con = two_hosts
    capture = harness.Capture(con, "data0", "udp")
    with harness.FrameSender(pub) as sender:
        sender.send(frame_between(pub, con, source="10.91.0.77", source_mac="02:00:00:00:00:77"))
    assert harness.datagrams_of(capture.stop())[0].source == "10.91.0.77"


def test_wait_for_finds_each_event_once(two_hosts):
    script = "echo state a; echo noise >&2; echo state b; read _; echo state c"
    words = ["sh", "-c", script]
    reader, writer = os.pipe()
    process = two_hosts[0].start("script", words, stdin=reader)
    os.close(reader)
    assert process.wait_for(r"^state (\w)", DEADLINE_S)[1] == "a"
    assert process.wait_for(r"^state (\w)", DEADLINE_S)[1] == "b"
    with pytest.raises(harness.ProcessFailed, match="within 0.05 s(.|\n)*noise"):
        process.wait_for(r"^state (\w)", 0.05)
    os.write(writer, b"\n")
    os.close(writer)
    assert process.wait_for(r"^state (\w)", DEADLINE_S)[1] == "c"
    assert process.wait(DEADLINE_S) == 0


def test_wait_for_object_finds_each_object_once(two_hosts):
    script = """echo '{"a":1,"b":2}'; echo note; echo '{"a":2}'; echo '{"a":1}'"""
    process = two_hosts[0].start("script", ["sh", "-c", script])
    assert process.wait_for_object(DEADLINE_S, a=1) == {"a": 1, "b": 2}
    assert process.wait_for_object(DEADLINE_S, a=1) == {"a": 1}
    with pytest.raises(harness.ProcessFailed, match="no object with {'a': 2}"):
        process.wait_for_object(DEADLINE_S, a=2)


def test_eventually_asks_until_the_answer_is_true():
    answers = iter([0, None, [], "yes", "never asked"])
    assert harness.eventually(lambda: next(answers)) == "yes"
    with pytest.raises(AssertionError, match="rain did not come within 0.1 s; last: 0"):
        harness.eventually(lambda: 0, timeout_s=0.1, what="rain")


def test_a_direct_wire_takes_the_place_of_the_bridge(world):
    server, host = world.add_data_server("ds1"), world.add_host("con")
    world.join_directly(server, host)
    capture = harness.Capture(server, "data0", "udp")
    with harness.FrameSender(host) as wire:
        wire.send(frame_between(host, server))
    assert len(harness.datagrams_of(capture.stop())) == 1
    assert world.add_host("pub").ping(host.data_address, timeout_s=1) == 0


def test_a_false_source_leads_nothing_astray_once_learning_is_off(world):
    pub, con, attacker = (world.add_host(name) for name in ("pub", "con", "attacker"))
    world.stop_learning(attacker)
    assert pub.ping(con.data_address) == 1
    capture = harness.Capture(con, "data0", "udp")
    with harness.FrameSender(attacker) as false, harness.FrameSender(pub) as true:
        false.send(frame_between(con, pub))
        true.send(frame_between(pub, con))
    assert len(harness.datagrams_of(capture.stop())) == 1


def test_wait_for_tells_of_an_early_end_with_the_output(two_hosts):
    process = two_hosts[0].start("script", ["sh", "-c", "echo why >&2; printf last; exit 3"])
    assert process.wait_for("^last$", DEADLINE_S)
    with pytest.raises(harness.ProcessFailed, match="status 3(.|\n)*why"):
        process.wait_for("never", DEADLINE_S)


def test_a_program_that_will_not_end_is_killed_with_its_children(two_hosts):
    script = "trap '' TERM; sleep 1000 & echo child $!; wait"
    process = two_hosts[0].start("stubborn", ["sh", "-c", script])
    child = os.pidfd_open(int(process.wait_for(r"child (\d+)", DEADLINE_S)[1]))
    assert process.stop(grace_s=0.2) == -signal.SIGKILL
    wait_for_end(child)


def test_a_stopped_program_is_woken_to_end(two_hosts):
    reader, writer = os.pipe()
    words = ["sh", "-c", "trap 'exit 7' TERM; echo ready; read _"]
    process = two_hosts[0].start("sleeper", words, stdin=reader)
    os.close(reader)
    process.wait_for("ready", DEADLINE_S)
    process.signal(signal.SIGSTOP)
    assert process.stop() == 7
    os.close(writer)


def test_a_program_killed_at_the_end_is_named(tmp_path):
    with harness.World(tmp_path) as world:
        stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"]
        world.add_host("pub").start("stubborn", stubborn).wait_for("ready", DEADLINE_S)
    assert world.killed == ["pub.stubborn"]


def test_settings_of_the_machine_do_not_reach_a_program(two_hosts, monkeypatch):
    monkeypatch.setenv("PENSTOCK_LISTEN", "192.0.2.1:1")
    shown = two_hosts[0].start("env", ["env"], environment={"PENSTOCK_POLL": "busy"})
    shown.wait(DEADLINE_S)
    assert "PENSTOCK_LISTEN" not in shown.stdout.text()
    assert "PENSTOCK_POLL=busy" in shown.stdout.text()


STAND_IN = """#!/bin/sh
case $0 in *presence | *data) echo "ready ${0##*/penstock-} " ;; esac
echo "info: attached to presence 10.90.0.1:7400 epoch=1" >&2
echo "{\\"words\\": \\"$*\\"}"
"""


@pytest.fixture
def programs(tmp_path, world):
    """Programs of a build in which each one only says that it is ready and how it was called."""
    made = harness.Programs(world, tmp_path / "build")
    for program in harness.programs.PATHS:
        path = made.path(program)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
    return made


def words_of(process):
    assert process.wait(DEADLINE_S) == 0
    return harness.json_lines(process.stdout.path)[0]["words"]


def test_servers_are_started_with_their_addresses(world, programs):
    presence = programs.presence("--recent-period", "2s")
    assert words_of(presence) == (
        f"--insecure --listen 10.90.0.1:7400 --store {world.directory / 'presence.db'}"
        " --recent-period 2s"
    )
    host = world.add_data_server("ds1", driver="net_af_xdp", queues=2)
    assert words_of(programs.data_server(host, "--workers", "2")) == (
        "--id ds1 --presence 10.90.0.1:7400 --insecure"
        " --port net_af_xdp0,iface=data0 --address 10.91.0.11/24"
        " --memory 192MiB --no-huge --workers 2"
    )
    again = programs.data_server(host, huge_pages=True, memory="128MiB", wait=False)
    assert words_of(again).endswith("--memory 128MiB")


def test_clients_are_started_on_the_data_network(world, programs):
    programs.presence(wait=False)
    host = world.add_host("con")
    common = "--presence 10.90.0.1:7400 --insecure --bind 10.91.0.101 --json"
    assert words_of(programs.publisher(host, "tv", "--generate")) == f"tv {common} --generate"
    assert words_of(programs.consumer(host, "tv", "--stats")) == f"tv {common} --stats"
    assert words_of(programs.consumer(host, "tv", "--stats")) == f"tv {common} --stats"


def test_the_operator_gets_objects(world, programs):
    programs.presence(wait=False)
    host = world.add_host("operator")
    shown = programs.control(host, "server", "list")
    assert shown == {"words": "--presence 10.90.0.1:7400 --insecure -j server list"}
    assert words_of(programs.events(host)).endswith("-j events --follow")


def test_run_names_what_failed_and_why():
    with pytest.raises(harness.CommandFailed, match="status 2: .*no-such-file"):
        harness.run(["ls", "/no-such-file"])
    with pytest.raises(harness.CommandFailed, match="^ls /no-such-file: status 2: "):
        harness.run([shutil.which("ls"), "/no-such-file"])
    with pytest.raises(harness.CommandFailed, match="not done after 0.1 s"):
        harness.run(["sleep", "1000"], timeout_s=0.1)
    with pytest.raises(harness.CommandFailed, match="no-such-program: not found"):
        harness.run(["no-such-program"])


def test_json_lines_takes_objects_and_refuses_half_ones():
    assert harness.json_lines('info: started\n{"a": 1}\n\n{"b": [2]}\n') == [{"a": 1}, {"b": [2]}]
    with pytest.raises(ValueError, match="line 2"):
        harness.json_lines('{"a": 1}\n{"b":\n')


def test_heads_tell_a_gap_a_repeat_and_another_run():
    def octets(*heads):
        return b"".join(struct.pack("!8sQQQ", b"PSTCONT1", *head).ljust(40, b".") for head in heads)

    heads = harness.heads_of(octets((7, 3, 1_500_000_000), (7, 4, 2_000_000_000)), 40)
    assert heads == [harness.Head(7, 3, 1.5), harness.Head(7, 4, 2.0)]
    assert harness.fault_in(heads) == ""
    for second in ((7, 5, 0), (7, 3, 0), (7, 2, 0), (8, 4, 0)):
        assert "datagram 1 of 2" in harness.fault_in(
            harness.heads_of(octets((7, 3, 0), second), 40)
        )
    with pytest.raises(ValueError, match="no whole datagrams"):
        harness.heads_of(octets((7, 3, 0))[:-1], 40)
    with pytest.raises(ValueError, match="no test content"):
        harness.heads_of(bytes(40), 40)


def test_content_is_mpegts_at_its_rate_and_decodes(tmp_path):
    path = harness.make_mpegts(tmp_path / "content.ts", seconds=2, bits_per_second=4_000_000)
    content = path.read_bytes()
    assert len(content) % harness.media.TS_PACKET_BYTES == 0
    assert all(content[at] == 0x47 for at in range(0, len(content), 188))
    assert 0.8 < len(content) / (2 * 4_000_000 / 8) < 1.2
    assert harness.decoded_frames(path) == 2 * harness.media.FRAMES_PER_SECOND


def test_what_is_no_content_has_no_frames(tmp_path):
    (tmp_path / "noise.ts").write_bytes(os.urandom(100_000))
    assert harness.decoded_frames(tmp_path / "noise.ts") == 0
