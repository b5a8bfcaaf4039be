"""Commands and programs, every one given as a list of arguments and every wait with a deadline.

Waiting blocks on the file itself (inotify) and on the process (pidfd): there is no sleep here, so
a wait ends at the moment its event happens and a slow machine only makes it longer, never wrong.
"""

import ctypes
import json
import os
import re
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

OUTPUT_BYTES_SHOWN_MAX = 8192  # how much of an output an error message quotes
_POLL_INTERVAL_S = 0.05
_IN_MODIFY = 0x00000002  # inotify(7)
_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(Exception):
    """A command could not be run, took too long, or ended with another status than 0."""


class ProcessFailed(Exception):
    """A program did not do what was waited for; the message carries its output."""


def run(arguments, timeout_s=10, check=True, stdin_text=None, environment=None):
    """Runs a command to its end and returns its subprocess.CompletedProcess (text).

    `check` turns a nonzero status into CommandFailed, whose message quotes standard error.
    """
    words = [str(word) for word in arguments]
    try:
        done = subprocess.run(
            words,
            input=stdin_text,
            stdin=subprocess.DEVNULL if stdin_text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{words[0]}: not found; run tools/setup") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{_spoken(words)}: not done after {timeout_s} s") from error
    if check and done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip())[-OUTPUT_BYTES_SHOWN_MAX:]
        raise CommandFailed(f"{_spoken(words)}: status {done.returncode}: {reason}")
    return done


def _spoken(words):
    """A command for a message, which may go into a report: programs without where they lie here."""
    return " ".join(Path(word).name if _is_program(word) else word for word in words)


def _is_program(word):
    return word.startswith("/") and os.path.isfile(word) and os.access(word, os.X_OK)


def json_lines(source):
    """Objects of an output with one JSON object a line: a Path, or the text itself.

    Lines that do not begin with "{" are other output and are left out; a line that begins with one
    and is no JSON is an error, because a program that says --json promised it.
    """
    text = source.read_text() if isinstance(source, Path) else source
    objects = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("{"):
            try:
                objects.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} is no JSON: {error}: {line[:200]}") from error
    return objects


def eventually(check, timeout_s=10, what="it"):
    """Calls check() until what it returns is true, and returns that.

    For state that can only be asked for (counters of a report); what a program tells by itself is
    waited for with Process.wait_for(). AssertionError with the last answer at the end of the time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout_s} s; last: {answer!r}")
        time.sleep(_POLL_INTERVAL_S)


class HeldThread:
    """One thread of a process that is made to stand still while the others go on; a context
    manager. Thread: the main thread. Source: ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT."""

    _SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
    _WALL = 0x40000000

    def __init__(self, thread):
        self._thread = thread

    def __enter__(self):
        self._ptrace(self._SEIZE)
        self._ptrace(self._INTERRUPT)
        os.waitpid(self._thread, self._WALL)
        return self

    def __exit__(self, *_):
        try:
            self._ptrace(self._DETACH)
        except ProcessLookupError:  # its process was killed meanwhile
            os.waitpid(self._thread, self._WALL)

    def _ptrace(self, request):
        words = [ctypes.c_long(word) for word in (request, self._thread, 0, 0)]
        if _libc.ptrace(*words) < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"ptrace: {os.strerror(error)}")


class FileWatch:
    """Blocks until a file is written to. Made before the file is read, so no change is missed."""

    def __init__(self, path):
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(path), _IN_MODIFY) < 0:
            error = ctypes.get_errno()
            self.close()
            raise OSError(error, f"inotify: {os.strerror(error)}", str(path))

    def wait(self, deadline, pidfd):
        """Returns True at a change of the file or the end of the process, False at `deadline`
        (of time.monotonic())."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        remaining_ms = max(0, int((deadline - time.monotonic()) * 1000) + 1)
        ready = dict(poller.poll(remaining_ms))
        if self._fd in ready:
            os.read(self._fd, 65536)
        return bool(ready)

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Output:
    """One output stream of a process: a file that grows, read line by line by one cursor."""

    def __init__(self, path):
        self.path = path
        self._offset = 0
        self._rest = b""

    def text(self):
        return self.path.read_text(errors="replace")

    def next_match(self, matcher, ended):
        """First true answer of `matcher` to the lines behind the cursor, which moves behind the
        line that it was given for.

        A line without its newline counts only when the process has `ended`.
        """
        with self.path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        self._offset += len(fresh)
        lines = (self._rest + fresh).split(b"\n")
        for index, line in enumerate(lines):
            if index + 1 == len(lines) and not (ended and line):
                break
            match = matcher(line.decode(errors="replace"))
            if match:
                self._rest = b"\n".join(lines[index + 1 :])
                return match
        self._rest = lines[-1]
        return None


class Process:
    """A program running in a namespace, its outputs in files.

    It is in a session of its own (an interrupt of the terminal reaches us, not it) and gets SIGKILL
    should we die without having ended it. The kernel sends that when the *thread* that started it
    ends, so only the main thread may.
    """

    def __init__(
        self, name, arguments, directory, namespace=None, environment=None, stdin=subprocess.DEVNULL
    ):
        """`directory` gets NAME.stdout and NAME.stderr. `environment` is added to ours, in which
        nothing named PENSTOCK_… survives: the machine's settings must not change a test.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("only the main thread may start a Process")
        self.name = name
        self.arguments = [str(word) for word in arguments]
        self.stdout = Output(Path(directory) / f"{name}.stdout")
        self.stderr = Output(Path(directory) / f"{name}.stderr")
        prefix = ["setpriv", "--pdeathsig", "KILL"]
        if namespace is not None:
            prefix += ["ip", "netns", "exec", namespace]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        with self.stdout.path.open("xb") as stdout, self.stderr.path.open("xb") as stderr:
            self._popen = subprocess.Popen(
                prefix + self.arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=inherited | (environment or {}),
                start_new_session=True,
            )
        self._told_to_end = False
        self.pid = self._popen.pid
        self._pidfd = os.pidfd_open(self.pid)

    def running(self):
        return self._popen.poll() is None

    def exit_status(self):
        """None while it runs; negative: ended by that signal."""
        return self._popen.poll()

    def wait_for(self, pattern, timeout_s, stream="stdout"):
        """Waits for the next line of "stdout" or "stderr" that matches, and returns the match.

        The search goes on behind the line found by the wait before it, so the same pattern finds
        the same event only once. ProcessFailed when the time is over or the program has ended.
        """
        regex = re.compile(pattern)
        return self._wait_for(regex.search, f"line matching {pattern!r}", timeout_s, stream)

    def wait_for_object(self, timeout_s, stream="stdout", /, **fields):
        """The same for the next line that is a JSON object with these fields; returns the object."""

        def has_fields(line):
            found = json_lines(line)
            return found[0] if found and fields.items() <= found[0].items() else None

        return self._wait_for(has_fields, f"object with {fields}", timeout_s, stream)

    def _wait_for(self, matcher, wanted, timeout_s, stream):
        output = {"stdout": self.stdout, "stderr": self.stderr}[stream]
        deadline = time.monotonic() + timeout_s
        with FileWatch(output.path) as watch:
            while True:
                ended = not self.running()  # asked before reading: what it wrote last is seen
                match = output.next_match(matcher, ended)
                if match:
                    return match
                what = f"no {wanted} on {stream}"
                if ended:
                    raise ProcessFailed(self.describe(what))
                if not watch.wait(deadline, self._pidfd):
                    raise ProcessFailed(self.describe(f"{what} within {timeout_s} s"))

    def wait_for_change(self, watch, deadline):
        """Blocks until the watched file changes or the program ends; False at `deadline`."""
        return watch.wait(deadline, self._pidfd)

    def wait(self, timeout_s):
        """Waits for its own end and returns the exit status; ProcessFailed if it goes on."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(self.describe(f"still running after {timeout_s} s")) from error

    def signal(self, number):
        """Sends a signal to the program itself; nothing if it has ended."""
        self._popen.send_signal(number)

    def threads(self):
        """Its threads' ids by name."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return {(task / "comm").read_text().strip(): int(task.name) for task in tasks}

    def tell_to_end(self):
        """SIGTERM, once however often this is called; returns without waiting."""
        if not self._told_to_end and self.running():
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)  # one that a test had stopped must wake up to end
        self._told_to_end = True

    def stop(self, grace_s=5):
        """Ends it: SIGTERM, and SIGKILL to its whole session after `grace_s`.

        Returns the exit status; -SIGKILL tells that it did not end when told to.
        """
        self.tell_to_end()
        try:
            return self._popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self):
        """SIGKILL to the program and to whatever it started. Returns the exit status."""
        if self.running():
            os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait(10)

    def close(self, grace_s=5):
        """Ends it if need be, as stop() does, and gives the pidfd back. The output files stay."""
        status = self.stop(grace_s)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        return status

    def describe(self, what):
        """One text for a failure: what was missed, the command, its state and its output."""
        status = self.exit_status()
        state = "running" if status is None else f"ended with status {status}"
        parts = [f"{self.name}: {what} ({state}): {' '.join(self.arguments)}"]
        for label, output in (("stdout", self.stdout), ("stderr", self.stderr)):
            parts.append(f"--- {label}\n{output.text()[-OUTPUT_BYTES_SHOWN_MAX:]}")
        return "\n".join(parts)
