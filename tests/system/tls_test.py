"""The whole chain by TLS, and who is refused, by which end, in words that say what to mend."""

import re
import shutil
import signal
import struct

import pytest
import world as harness
from stage import DEADLINE_S, DRIVER, Stage, states_of
from world import Certificates, CommandFailed, EtcdCluster, eventually, last_stats

HOST = "10.90.0.1"  # of presence; the first that a world adds
WHO = (f"presence={HOST}", "data:ds1", "data:ds2", "client", f"etcd={HOST}")
NOT_OURS = "its certificate is not of the authority in"
REFUSED = "that is not of the authority it trusts, or not for clients"


@pytest.fixture
def certificates(programs, tmp_path):
    """Everybody has one, of the same authority."""
    programs.certificates = Certificates(tmp_path / "certificates", *WHO)
    return programs.certificates


@pytest.fixture
def strangers(tmp_path):
    """The same names, of another authority."""
    return Certificates(tmp_path / "strangers", *WHO)


def lost_nothing(consumer):
    stats = last_stats(consumer)
    return (stats["lost"], stats["duplicates"], stats["reordered"]) == (0, 0, 0)


def test_content_flows_and_nobody_reads_what_is_said_of_it(world, programs, certificates):
    host = world.add_presence()
    assert host.control_address == HOST
    said = harness.Capture(host, "ctl0", "tcp")
    stage = Stage(world, programs, servers=("ds1",))
    told = programs.publisher(stage.pub, "a-name-to-be-kept", "--generate", "--rate", "1Mbit")
    harness.publisher_state(told, "transmitting", DEADLINE_S)
    stage.await_more()
    assert programs.server("ds1")["state"] == "attached"
    assert programs.stream("tv")["consumers"] == 1
    octets = said.stop().read_bytes()
    assert len(octets) > 10_000 and b"a-name-to-be-kept" not in octets
    assert lost_nothing(stage.consumer)


def test_a_data_server_is_taken_at_its_certificates_word_only(world, programs, certificates):
    del certificates
    programs.presence()
    host = world.add_data_server("ds1", DRIVER)
    for certificate, has in (("ds2", "ds/ds2"), ("client", "client/client")):
        rogue = programs.data_server(host, certificate=certificate, wait=False)
        said = rogue.wait_for(r"it rejects us: (.*)", DEADLINE_S, stream="stderr")[1]
        assert "ds1 needs a certificate with the name spiffe://penstock/ds/ds1;" in said
        assert f"the one it showed has spiffe://penstock/{has};" in said
        assert programs.control(world.presence, "server", "list") == []
        assert rogue.stop() == 0
    programs.data_server(host)
    assert programs.server("ds1")["state"] == "attached"


def assert_each_says(world, programs, told, why):
    """Each program, told this of TLS, does not reach presence and says why."""
    presence = ["--presence", programs.presence_addresses()[0]]
    host = world.add_data_server("ds1", DRIVER)

    asked = host.run([programs.path("penstockctl"), *presence, *told, "status"], check=False)
    assert (asked.returncode, asked.stdout, asked.stderr.count("\n")) == (1, "", 1), asked.stderr
    assert asked.stderr.startswith("penstockctl: ") and why in asked.stderr

    consumer = programs.start(host, "penstock-consume", "tv", *presence, *told, "--stats")
    assert consumer.wait(DEADLINE_S) == 1
    last = consumer.stderr.text().splitlines()[-1]
    assert last.startswith("penstock-consume: ") and why in last

    publisher = programs.start(
        host, "penstock-publish", "tv", *presence, *told, "--generate"
    )
    publisher.wait_for(re.escape(why), DEADLINE_S, stream="stderr")
    assert publisher.running(), "presence may be mended"

    words = ["--id", "ds1", *presence, *told, "--port", *host.ports(), "--memory", "128MiB"]
    words += ["--address", f"{host.data_address}/24", "--no-huge"]
    data_server = programs.start(host, "penstock-data", *words)
    data_server.wait_for(re.escape(why), DEADLINE_S, stream="stderr")
    assert data_server.running()


def test_presence_of_another_authority_is_not_believed(world, programs, certificates, strangers):
    programs.presence()
    told = certificates.words("ds1", authority=strangers.authority)
    assert_each_says(world, programs, told, f"{NOT_OURS} {strangers.authority}")


def test_callers_of_another_authority_are_refused(world, programs, certificates, strangers):
    programs.presence()
    told = strangers.words("ds1", authority=certificates.authority)
    why = f"it refuses our certificate {strangers.directory}/ds1.pem (tlsv1 alert unknown ca): {REFUSED}"
    assert_each_says(world, programs, told, why)


def test_callers_without_a_certificate_are_refused(world, programs, certificates):
    programs.presence()
    told = ["--tls-ca", certificates.authority]
    assert_each_says(world, programs, told, "it demands a certificate of us; give --tls-cert")


def test_callers_in_plaintext_are_told_that_presence_wants_tls(world, programs, certificates):
    del certificates
    programs.presence()
    assert_each_says(world, programs, ["--insecure"], "it wants TLS; give --tls-ca")


def test_callers_by_tls_are_told_that_presence_speaks_none(world, programs, certificates):
    programs.certificates = None
    programs.presence()
    told = certificates.words("ds1")
    assert_each_says(world, programs, told, "it does not speak TLS; have it do so, or leave --tls-ca")


def test_presence_called_by_a_name_it_is_not_certified_for_is_not_believed(
    world, programs, certificates
):
    programs.certificates = Certificates(certificates.directory, "elsewhere=10.90.0.99")
    shutil.copy(certificates.directory / "elsewhere.pem", certificates.directory / "presence.pem")
    shutil.copy(certificates.directory / "elsewhere.key", certificates.directory / "presence.key")
    programs.presence()
    told = certificates.words("ds1")
    assert_each_says(world, programs, told, f"its certificate does not name {HOST}")


def test_without_an_authority_presence_demands_no_certificate(world, programs, certificates):
    _, _, *identity = certificates.words("presence")
    programs.certificates = None
    host = world.add_presence()
    listen = ["--listen", f"{HOST}:7400", "--store", world.directory / "presence.db"]
    presence = programs.start(host, "penstock-presence", *listen, *identity)
    presence.wait_for("^ready presence ", DEADLINE_S)
    words = ["--presence", f"{HOST}:7400", "--tls-ca", certificates.authority, "status"]
    host.run([programs.path("penstockctl"), *words])


def test_nobody_starts_with_a_certificate_that_has_expired(world, programs, certificates):
    clock = world.directory / "wall_clock"
    clock.write_bytes(struct.pack("=q", -366 * 86_400 * 1_000_000_000))
    preload = f"LD_PRELOAD={programs.path('wall-clock')}"
    certificates.make(f"old={HOST}", under=["env", preload, f"WALL_CLOCK_SHIFT={clock}"])
    told = certificates.words("old")
    host = world.add_data_server("ds1", DRIVER)
    presence = ["--presence", f"{HOST}:7400"]
    port = ["--port", *host.ports(), "--address", f"{host.data_address}/24", "--no-huge"]
    starts = {
        "penstock-presence": ["--listen", "0.0.0.0:7400", "--store", world.directory / "db"],
        "penstock-data": ["--id", "ds1", *presence, *port],
        "penstock-publish": ["tv", *presence, "--generate"],
        "penstock-consume": ["tv", *presence],
        "penstockctl": [*presence, "status"],
    }
    for program, words in starts.items():
        done = host.run([programs.path(program), *words, *told], check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert re.match(
            rf"{program}: --tls-cert {certificates.directory}/old.pem expired on 20", done.stderr
        )
    assert not (world.directory / "db").exists()


def test_certificates_are_renewed_without_a_restart(world, programs, certificates, strangers):
    """And so is their authority, which everybody has to take from the next one at once here."""
    stage = Stage(world, programs, servers=("ds1",))
    stage.await_more()
    for path in strangers.directory.iterdir():
        path.rename(certificates.directory / path.name)

    def is_called_with_new_files():
        words = [*certificates.words("client"), "--presence", f"{HOST}:7400", "status"]
        return world.presence.run([programs.path("penstockctl"), *words], check=False).stdout

    eventually(is_called_with_new_files, DEADLINE_S, "presence with new files")
    stage.servers["ds1"].signal(signal.SIGSTOP)
    eventually(lambda: programs.server("ds1")["state"] == "gone", DEADLINE_S, "a lost session")
    stage.servers["ds1"].signal(signal.SIGCONT)
    stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    second = stage.consume("tv")
    assert second.running()


def test_presence_servers_elect_and_follow_by_tls(world, programs, certificates):
    host = world.add_presence()
    with EtcdCluster(world, host, members=1, certificates=certificates) as etcd:
        presences = programs.presences(
            etcd.store, *certificates.words("presence", kind="etcd"), count=2
        )
        leader = eventually(
            lambda: next((a for a, p in presences.items() if "leading as" in p.stderr.text()), None),
            DEADLINE_S,
            "a leader",
        )
        follower = next(address for address in presences if address != leader)
        words = [programs.path("penstockctl"), *certificates.words("client"), "--presence"]
        with pytest.raises(CommandFailed, match=f"{leader} does"):
            host.run([*words, follower, "status"])
        ds1 = world.add_data_server("ds1", DRIVER)
        running = {"ds1": (ds1, programs.data_server(ds1, presence=[follower, leader]))}
        stage = Stage(world, programs, servers=("ds1",), running=running)
        stage.await_more()
        presences[leader].kill()
        presences[follower].wait_for(r"leading as", DEADLINE_S, stream="stderr")
        stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
        stage.await_more()
        assert lost_nothing(stage.consumer)
        states = states_of(stage.publisher)
        assert states[-1] == "transmitting" and "stopped" not in states


def test_presence_says_what_is_wrong_between_it_and_etcd(world, programs, certificates, strangers):
    host = world.add_presence()
    with EtcdCluster(world, host, members=1, certificates=certificates) as etcd:
        for told, why in (
            (
                certificates.words("presence", "etcd", strangers.authority),
                f"{NOT_OURS} {strangers.authority}",
            ),
            (
                strangers.words("presence", "etcd", certificates.authority),
                f"it refuses our certificate {strangers.directory}/presence.pem",
            ),
            (["--insecure"], "it wants TLS; give --etcd-ca"),
        ):
            (presence,) = programs.presences(etcd.store, *told, count=1).values()
            presence.wait_for(re.escape(why), DEADLINE_S, stream="stderr")
            assert presence.stop() == 0
