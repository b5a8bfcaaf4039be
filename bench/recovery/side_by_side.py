"""Trials of one figure in several worlds at once, each the world of a process of its own."""

import contextlib
import json
import signal
import subprocess

from .figures import Row

_END_TIMEOUT_S = 30


def shares(trials, parallel):
    """How many trials each of at most `parallel` worlds has, all of them together `trials`."""
    worlds = min(parallel, trials)
    return [trials // worlds + (number < trials % worlds) for number in range(worlds)]


def play(figure, commands):
    """Runs the commands at once, each of which prints the rows of `figure` as JSON, and returns
    its rows with the values of all. Ends them all if it is interrupted."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_running(command)) for command in commands]
        return joined(figure, [child.communicate()[0] for child in children])


def joined(figure, texts):
    """Rows of `figure` with the values of several texts of as_json()."""
    rows = [Row(part, []) for part in figure.parts]
    for text in texts:
        try:
            said = {one["figure"]: one for one in json.loads(text)}
        except json.JSONDecodeError:
            said = {}
        for row in rows:
            one = said.get(row.part.name, {"values": [], "failure": "a world of it gave nothing"})
            row.values += one["values"]
            row.failure = row.failure or one.get("failure", "")
    return rows


@contextlib.contextmanager
def _running(command):
    """A process, told to end if it has not at the end of the block, or if we die."""
    words = ["setpriv", "--pdeathsig", "TERM", *map(str, command)]
    # In a session of its own: an interrupt of the terminal reaches us, who tell it.
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait(_END_TIMEOUT_S)
        child.stdout.close()
