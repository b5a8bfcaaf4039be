"""What outlives a presence server: its store under kills, damage, and disks that refuse it."""

import os
import shutil
import signal

import pytest
from stage import Stage, lost_nothing, only_server, states_of
from world import CommandFailed, ProcessFailed, epochs_obeyed, eventually, run

DEADLINE_S = 30
NAMES_BEYOND_A_PAGE = 20  # of 255 bytes: the store has to grow for them
FAILING_DISK_BYTES = 4 << 20


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


class FailingDisk:
    """A file system that can be made to do what one does whose device has failed: what is open
    stays open, and nothing can be written any more."""

    def __init__(self, world):
        self.directory = world.directory / "failing"
        self.directory.mkdir()
        self._image = world.directory / "image"
        self._image.touch()
        os.truncate(self._image, FAILING_DISK_BYTES)
        run(["mkfs.ext4", "-q", self._image])
        self._mount()

    def _mount(self):
        run(["mount", "-o", "loop,errors=remount-ro", self._image, self.directory])

    def fail(self):
        run(["mount", "-o", "remount,abort", self.directory])  # ext4(5)

    def replace(self):
        """What could be written is there again, on a new one."""
        # Programs that run have the old one in their mount namespaces.
        self._image = shutil.copy(self._image, self._image.with_name("copy"))
        self.close()
        self._mount()

    def close(self):
        run(["umount", self.directory])


@pytest.fixture
def failing_disk(world):
    disk = FailingDisk(world)
    yield disk
    world.close()
    disk.close()


@pytest.fixture
def small_disk(world):
    """A directory on a file system of its own, of 64 KiB."""
    directory = world.directory / "disk"
    directory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory])
    yield directory
    run(["umount", "--lazy", directory])


def fill(directory):
    """Takes all space that is left; the file that has it."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1024))
    return filler


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


@pytest.mark.parametrize("damage", ["emptied", "cut short", "flipped", "no store"])
def test_a_damaged_store_is_refused(world, programs, damage):
    presence = programs.presence()
    assert presence.stop() == 0
    store = store_of(world)
    good = store.read_bytes()
    bad = {
        "emptied": b"",
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
    filler = fill(small_disk)
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


def assert_goes_on(stage, trouble):
    """Presence serves who comes though it can store nothing, and takes no orders that would be
    forgotten."""
    with pytest.raises(CommandFailed, match=trouble):
        stage.programs.control(stage.world.presence, "server", "cordon", "ds1")
    assert stage.programs.server("ds1")["state"] == "attached"
    stage.await_more()
    assert lost_nothing(stage.consumer)


def assert_is_taken_over(stage):
    """The next presence finds the stream as it was: its publisher was never told to cease, and its
    consumer has had every packet."""
    stage.servers["ds1"].wait_for(r"attached to presence ", DEADLINE_S, stream="stderr")
    eventually(lambda: stage.programs.stream("tv")["consumers"] == 1, DEADLINE_S, "adoption")
    stage.await_more()
    states = states_of(stage.publisher)
    assert not {"stopped", "waiting"} & set(states[states.index("transmitting") :]), states
    assert lost_nothing(stage.consumer)


def test_presence_goes_on_while_its_disk_is_full(world, programs, small_disk):
    store = small_disk / "presence.db"
    presence = programs.presence("--store", store)
    events = programs.events(world.presence)
    filler = fill(small_disk)
    host = world.add_host("crowd")
    for number in range(NAMES_BEYOND_A_PAGE):
        words = ["busy", programs.presence_addresses()[0], f"{number:0255}", "1"]
        programs.start(host, "control-load", *words).wait_for_object(DEADLINE_S, event="welcome")
    stage = Stage(world, programs, servers=("ds1",), running=only_server(world, programs))
    failed = events.wait_for_object(DEADLINE_S, kind="store_failed")
    assert str(store) in failed["detail"] and "free space on its disk" in failed["detail"]
    assert_goes_on(stage, "free space on its disk")
    filler.unlink()
    programs.control(world.presence, "server", "cordon", "ds1")
    presence.kill()
    programs.presence("--store", store)
    assert_is_taken_over(stage)
    assert programs.server("ds1")["state"] == "cordoned"


def test_presence_goes_on_while_its_disk_can_only_be_read(world, programs, failing_disk):
    store = failing_disk.directory / "presence.db"
    presence = programs.presence("--store", store)
    events = programs.events(world.presence)
    failing_disk.fail()
    stage = Stage(world, programs, servers=("ds1",), running=only_server(world, programs))
    failed = events.wait_for_object(DEADLINE_S, kind="store_failed")
    assert str(store) in failed["detail"] and "can be written to" in failed["detail"]
    assert_goes_on(stage, "can be written to")
    presence.kill()
    assert str(store) in refusal(programs, "--store", store)
    failing_disk.replace()
    programs.presence("--store", store)
    assert_is_taken_over(stage)


def test_presence_commands_nobody_whose_epoch_it_cannot_outrun(world, programs, failing_disk):
    store = failing_disk.directory / "presence.db"
    programs.presence("--store", store).kill()
    for _ in range(3):
        programs.presence().kill()
    other = programs.presence()  # with a store of its own, which is further on
    stage = Stage(world, programs, servers=("ds1",), running=only_server(world, programs))
    obeyed = epochs_obeyed(stage.servers["ds1"])
    world.plug(stage.hosts["ds1"], False, "control")
    other.kill()
    presence = programs.presence("--store", store)
    failing_disk.fail()
    world.plug(stage.hosts["ds1"], True, "control")
    events = programs.events(world.presence)
    events.wait_for_object(DEADLINE_S, kind="store_failed")
    stage.await_more(3000)  # 8 s of content, longer than a presence only watches at first
    assert programs.control(world.presence, "server", "list") == []
    assert epochs_obeyed(stage.servers["ds1"]) == obeyed
    assert presence.kill() == -signal.SIGKILL
    failing_disk.replace()
    programs.presence("--store", store)
    assert_is_taken_over(stage)
    assert epochs_obeyed(stage.servers["ds1"])[-1] > obeyed[-1]


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
