"""What outlives a presence server: its store under kills, damage, and disks that refuse it."""

import signal

import pytest
from world import ProcessFailed, eventually, run

DEADLINE_S = 30


def store_of(world):
    return world.directory / "presence.db"


def refusal(programs, *words):
    """Starts a presence server that cannot start; the one line it says."""
    process = programs.presence(*words, wait=False)
    assert process.wait(DEADLINE_S) == 1
    lines = process.stderr.text().splitlines()
    assert len(lines) == 1 and lines[0].startswith("penstock-presence: "), lines
    assert process.stdout.text() == ""
    return lines[0]


@pytest.fixture
def small_disk(world):
    """A directory on a file system of its own, of 64 KiB."""
    directory = world.directory / "disk"
    directory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory])
    yield directory
    run(["umount", "--lazy", directory])


def test_every_start_has_a_higher_epoch(world, programs):
    epochs = []
    for _ in range(8):
        presence = programs.presence()
        epochs.append(int(programs.status()["epoch"]))
        assert presence.kill() == -signal.SIGKILL
    assert epochs == list(range(epochs[0], epochs[0] + 8))


def test_a_presence_killed_while_it_starts_leaves_a_good_store(world, programs):
    first = programs.presence()
    epoch = int(programs.status()["epoch"])
    first.kill()
    for _ in range(20):
        starting = programs.presence(wait=False)
        # From before it has opened the store to after it has written it.
        eventually(starting.running, DEADLINE_S)
        starting.kill()
    programs.presence()
    assert epoch < int(programs.status()["epoch"]) <= epoch + 21


def test_two_presences_do_not_share_a_store(world, programs):
    first = programs.presence()
    said = refusal(programs, "--listen", "127.0.0.1:0")
    assert "in use by another presence server" in said and str(store_of(world)) in said
    assert first.running()
    assert first.stop() == 0
    programs.presence()


@pytest.mark.parametrize("damage", ["cut short", "flipped", "no store"])
def test_a_damaged_store_is_refused(world, programs, damage):
    presence = programs.presence()
    assert presence.stop() == 0
    store = store_of(world)
    good = store.read_bytes()
    bad = {
        "cut short": good[: len(good) // 2],
        "flipped": good.replace(b"epoch", b"epocj"),
        "no store": b"epoch = 7\n" * 100,
    }[damage]
    assert bad != good
    store.write_bytes(bad)
    said = refusal(programs)
    assert "is damaged" in said and "restore it from a copy" in said
    assert store.read_bytes() == bad, "it is left for whoever wants to save it"
    store.write_bytes(good)
    programs.presence()


def test_a_store_on_a_full_disk_is_refused(world, programs, small_disk):
    store = small_disk / "presence.db"
    presence = programs.presence("--store", store)
    epoch = int(programs.status()["epoch"])
    assert presence.stop() == 0
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1024))
    said = refusal(programs, "--store", store)
    assert str(store) in said and "free space on its disk" in said
    filler.unlink()
    programs.presence("--store", store)
    assert int(programs.status()["epoch"]) == epoch + 1, "no epoch was used up"


def test_a_store_on_a_read_only_disk_is_refused(world, programs, small_disk):
    store = small_disk / "presence.db"
    presence = programs.presence("--store", store)
    assert presence.stop() == 0
    run(["mount", "-o", "remount,ro", small_disk])
    said = refusal(programs, "--store", store)
    assert str(store) in said and "can only be read" in said


def test_a_store_others_may_read_is_refused(world, programs):
    presence = programs.presence()
    assert presence.stop() == 0
    store_of(world).chmod(0o644)
    assert "chmod 600" in refusal(programs)


def test_without_the_option_the_store_is_in_the_state_directory(world, programs):
    host = world.add_presence()
    state = world.directory / "state"
    words = [programs.path("penstock-presence"), "--listen", "127.0.0.1:0"]
    presence = host.start("presence", words, environment={"STATE_DIRECTORY": str(state)})
    presence.wait_for(r"^ready presence ", DEADLINE_S)
    assert (state / "presence.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProcessFailed):
        host.start("second", words, environment={"STATE_DIRECTORY": str(state)}).wait_for(
            r"^ready presence ", DEADLINE_S
        )
