#!/usr/bin/python3
"""The life of a stream, shown step by step on this machine alone. Run by tools/demo.

Real programs, real DPDK drivers, real H.264: only the wires are veths between namespaces.
"""

import argparse
import contextlib
import json
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests" / "support"))

import world as harness  # noqa: E402 - found by the line above

STREAM = "demo/camera"
CLOSE_AFTER_S = 2
HISTORY_S = 3
LIVE_S = 6
STEP_TIMEOUT_S = 20


class DemoFailed(Exception):
    """A step did not show what it should; the message says which and why."""


class Narrator:
    """Prints what happens with the time since the start, and remembers how long steps took."""

    def __init__(self, out):
        self._out = out
        self._started = time.monotonic()
        self._step_started = self._started
        self.steps = []

    def say(self, text):
        elapsed = time.monotonic() - self._started
        print(f"{elapsed:7.2f}s  {text}", file=self._out, flush=True)

    def note(self, text):
        for line in text.splitlines():
            print(f"{'':10}{line}", file=self._out, flush=True)

    @contextlib.contextmanager
    def step(self, name, title):
        self._step_started = time.monotonic()
        self.say(f"── {title}")
        yield
        took_ms = (time.monotonic() - self._step_started) * 1000
        self.steps.append({"name": name, "ms": round(took_ms)})


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        description="Runs presence, two data servers, one publisher and three consumers in network"
        " namespaces and shows the life of a stream. Installs and builds what is missing.",
    )
    parser.add_argument("--input", metavar="FILE", help="a film of your own (anything ffmpeg reads)")
    parser.add_argument("--driver", choices=harness.DRIVERS, help="do not choose by what works")
    parser.add_argument("--json", action="store_true", help="a line of JSON at the end, on stdout")
    parser.add_argument("--keep", metavar="DIR", help="leave outputs and logs in this directory")
    parser.add_argument("--build-dir", default="build", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.input and not Path(arguments.input).is_file():
        parser.exit(1, f"tools/demo: --input {arguments.input}: no such file; give a film's path\n")
    return arguments


def ffmpeg_command(film):
    """H.264 in MPEG-TS at 4 Mbit/s on standard output, at the speed of its clock."""
    source = (
        ["-stream_loop", "-1", "-re", "-i", str(Path(film).resolve())]
        if film
        else ["-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"]
    )
    words = ["exec", "ffmpeg", "-nostdin", "-v", "error", *source, "-map", "0:v:0"]
    words += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]
    words += ["-pix_fmt", "yuv420p", "-g", "12", "-threads", "1", "-b:v", "3200k"]
    words += ["-maxrate", "3200k", "-bufsize", "800k", "-muxrate", "4M"]
    words += ["-flush_packets", "1", "-f", "mpegts", "-"]
    return shlex.join(words)


class Demo:
    """One run: the world, its programs, and what is checked on the way."""

    def __init__(self, arguments, directory, narrator):
        self._arguments = arguments
        self._directory = directory
        self._tell = narrator
        self._consumers = []  # (label, output file, process)
        self.driver = None

    def run(self, made):
        self._world = made
        self._programs = harness.Programs(made, self._arguments.build_dir)
        self._start_servers()
        self._publish()
        self._first_consumers()
        self._late_joiner()
        self._last_one_leaves()
        self._again()
        return self._judge()

    # ----------------------------------------------------------------------------- the steps

    def _start_servers(self):
        tell = self._tell
        with tell.step("presence", "a presence server and two data servers"):
            words = ["--close-after", f"{CLOSE_AFTER_S}s", "--recent-period", "60s"]
            self._programs.presence(*words)
            tell.say(f"presence listens on {self._world.presence.control_address}:7400")
            self._operator = self._world.add_host("operator")
            self._events = self._programs.events(self._operator, "--stream", STREAM)
        with tell.step("attach", "data servers attach and answer for their data address"):
            self.driver = self._start_data_servers()
            for name in ("ds1", "ds2"):
                address = self._world.hosts[name].data_address
                replies = self._operator.ping(address)
                if replies != 1:
                    raise DemoFailed(f"{name} does not answer ping at {address}")
                tell.say(f"{name} ({self.driver}) attached; ping {address}: answered by Linux")

    def _start_data_servers(self):
        """The first driver that runs here; says so when it is not the first choice."""
        drivers = [self._arguments.driver] if self._arguments.driver else list(harness.DRIVERS)
        for number, driver in enumerate(drivers):
            hosts = [
                self._world.add_data_server(f"ds{index}" if number == 0 else f"ds{index}p", driver)
                for index in (1, 2)
            ]
            try:
                for host in hosts:
                    self._programs.data_server(host)
            except harness.ProcessFailed as error:
                if number + 1 == len(drivers):
                    raise
                reason = str(error).rstrip().splitlines()[-1]
                self._tell.say(f"{driver} does not run here ({reason}): using {drivers[number + 1]}")
            else:
                self._world.hosts["ds1"], self._world.hosts["ds2"] = hosts
                return driver
        raise DemoFailed("no driver runs here")

    def _publish(self):
        tell = self._tell
        with tell.step("assigned", "a publisher asks; presence assigns the least busy data server"):
            studio = self._world.add_host("studio")
            self._record = self._directory / "published.ts"
            words = ["--exec", ffmpeg_command(self._arguments.input)]
            words += ["--record", str(self._record), "--max-rate", "5Mbit"]
            self._publisher = self._programs.publisher(studio, STREAM, *words)
            self._wait_event("assigned")
            self._explain()
        with tell.step("start", "START: the publisher runs ffmpeg and transmits, unwatched yet"):
            self._wait_event("start_sent")
            self._wait_event("transmitting")

    def _first_consumers(self):
        with self._tell.step("flowing", "two consumers ask, join directly, and copies flow"):
            for label in ("viewer1", "viewer2"):
                self._consume(label)
            self._bytes_after_join("viewer1")  # ffmpeg has begun
            self._table(LIVE_S)

    def _late_joiner(self):
        title = f"a late joiner asks for {HISTORY_S} s of history and is served from the ring"
        with self._tell.step("late_joiner", title):
            asked = time.monotonic()
            self._consume("viewer3", "--history", f"{HISTORY_S}s")
            history = self._bytes_after_join("viewer3")
            took = time.monotonic() - asked
            self._tell.say(f"viewer3 has {history / 1e6:.2f} MB {took:.2f} s after asking")
            self._table(3)

    def _last_one_leaves(self):
        tell = self._tell
        with tell.step("stop", f"everybody leaves; after {CLOSE_AFTER_S} s presence says STOP"):
            for label, _, process in self._consumers:
                if process.stop() != 0:
                    raise DemoFailed(process.describe(f"{label} did not end cleanly"))
            self._wait_event("lingering")
            self._wait_event("stop_sent")
        with tell.step("wait", "the publisher ends ffmpeg, acknowledges, and WAITs"):
            self._wait_event("stopped")
            self._wait_event("waiting")
            self._await_state("waiting")
            self._stopped_bytes = self._record.stat().st_size

    def _again(self):
        with self._tell.step("again", "a second request: assigned afresh, START again"):
            self._consume("viewer1_again", wait_joined=False)
            self._wait_event("assigned")
            self._explain()
            self._wait_event("start_sent")
            self._wait_event("transmitting")
            self._wait_joined(self._consumers[-1][2], "viewer1_again")
            self._table(4)
            for _, _, process in self._consumers:
                process.stop()
            self._publisher.stop()

    # ------------------------------------------------------------------------------- helpers

    def _wait_event(self, kind):
        line = self._events.wait_for(rf'.*"kind":"{kind}".*', STEP_TIMEOUT_S)
        event = json.loads(line[0])
        where = f" on {event['data_server']}" if event.get("data_server") else ""
        detail = f": {event['detail']}" if event.get("detail") else ""
        self._tell.say(f"{kind.replace('_', ' ')}{where}{detail}")

    def _await_state(self, state):
        self._publisher.wait_for(rf'"state":"{state}"', STEP_TIMEOUT_S)

    def _explain(self):
        program = str(self._programs.path("penstockctl"))
        presence = f"{self._world.presence.control_address}:7400"
        words = [program, "--presence", presence, "--insecure", "explain", STREAM]
        self._tell.note(self._operator.run(words).stdout)

    def _consume(self, label, *words, wait_joined=True):
        name = label.removesuffix("_again")
        host = self._world.hosts.get(name) or self._world.add_host(name)
        output = self._directory / f"{label}.ts"
        arguments = ["--output", str(output), "--stats", "--wait", "20s", *words]
        process = self._programs.consumer(host, STREAM, *arguments)
        self._consumers.append((label, output, process))
        if wait_joined:
            self._wait_joined(process, label)

    def _wait_joined(self, process, label):
        found = process.wait_for(r"receiving.*?(\d+\.\d+\.\d+\.\d+:\d+)", STEP_TIMEOUT_S, "stderr")
        self._tell.say(f"{label} receives from {found[1]}")

    def _bytes_after_join(self, label):
        process = next(entry[2] for entry in self._consumers if entry[0] == label)
        found = process.wait_for(r'"bytes":([1-9]\d*)', STEP_TIMEOUT_S)
        return int(found[1])

    def _table(self, seconds):
        """Rates by presence's own view, once a second."""
        before = None
        until = time.monotonic() + seconds
        while True:
            at = time.monotonic()
            flows = self._flows()
            if before:
                self._print_rates(before, (at, flows))
            before = (at, flows)
            if time.monotonic() >= until:
                return
            time.sleep(1)

    def _flows(self):
        listed = self._programs.control(self._operator, "consumer", "list", STREAM)
        rows = listed[0]["consumers"] if listed and "consumers" in listed[0] else listed
        return {row["consumer_id"]: row for row in rows}

    def _print_rates(self, before, now):
        seconds = now[0] - before[0]
        cells = []
        for identity, row in sorted(now[1].items(), key=lambda item: str(item[1].get("address"))):
            flow, earlier = row.get("flow") or {}, before[1].get(identity, {}).get("flow") or {}
            sent = int(flow.get("copy_bytes", 0)) - int(earlier.get("copy_bytes", 0))
            address = str(row.get("address", "?")).rsplit(":", 1)[0]
            lost = flow.get("lost", 0)
            cells.append(f"{address} {sent * 8 / seconds / 1e6:5.2f} Mbit/s lost {lost}")
        self._tell.say("   ".join(cells) or "no consumers")

    # --------------------------------------------------------------------------------- verdict

    def _judge(self):
        with self._tell.step("verify", "what consumers wrote decodes, and is a run of what was sent"):
            published = self._record.read_bytes()
            results = [self._judge_one(published, *entry) for entry in self._consumers]
        return results

    def _judge_one(self, published, label, output, process):
        received = output.read_bytes()
        finals = [o for o in harness.json_lines(process.stdout.path) if o.get("final")]
        result = {
            "name": label,
            "bytes": len(received),
            "lost": finals[-1]["lost"] if finals else None,
            "identical": bool(received) and received in published,
            "decoded_frames": harness.decoded_frames(output),
        }
        verdict = "a run of what was published" if result["identical"] else "NOT what was published"
        self._tell.say(
            f"{label}: {result['bytes']} bytes, lost {result['lost']}, {verdict},"
            f" {result['decoded_frames']} pictures decoded"
        )
        return result


def passed(results):
    return all(r["identical"] and r["lost"] == 0 and r["decoded_frames"] > 0 for r in results)


def main():
    arguments = parse_arguments()
    out = sys.stderr if arguments.json else sys.stdout
    narrator = Narrator(out)
    directory = Path(arguments.keep or tempfile.mkdtemp(prefix="penstock-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    demo = Demo(arguments, directory, narrator)
    results, problem = [], None
    try:
        harness.sweep()
        with harness.World(directory) as made:
            results = demo.run(made)
    except KeyboardInterrupt:
        problem = "interrupted; everything was removed"
    except (DemoFailed, harness.WorldError, harness.ProcessFailed, harness.CommandFailed) as error:
        problem = str(error)
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    succeeded = problem is None and passed(results)
    if problem:
        print(f"tools/demo: {problem}", file=sys.stderr)
    if arguments.json:
        report = {"ok": succeeded, "driver": demo.driver}
        report |= {"steps": narrator.steps, "consumers": results}
        print(json.dumps(report, separators=(",", ":")), flush=True)
    else:
        narrator.say("the whole chain works" if succeeded else "FAILED")
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
