#!/usr/bin/python3
"""Checks who includes whom: usage: check_includes.py [ROOT]

Prints one line a violation, `file:line: #include "…": reason`, and exits 1 if there is any.
Every rule stands in the two tables below, with its reason.
"""

import re
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from project_files import cpp_files

# Layers: the project's own headers that a folder may include, as folders of src/ ("penstock" is
# include/penstock; a folder outside src/ goes by its own path). The first match from the top counts.
LAYERS = [
    # folder, may include, reason when it includes another
    ("include/penstock", ["penstock"], "the public API includes the standard library and itself"),
    ("src/base", ["penstock", "base"], "base is the bottom layer (L0)"),
    ("src/wire", ["penstock", "base", "wire"], "wire is layer L1: no sideways includes"),
    ("src/rpc", ["penstock", "base", "rpc"], "rpc is layer L1: no sideways includes"),
    ("src/dpdk", ["penstock", "base", "dpdk"], "dpdk is layer L1: no sideways includes"),
    ("src/data_path", ["penstock", "base", "wire", "dpdk", "data_path"],
     "control enters the data path by mailbox.h and leaves by counters.h, nowhere else"),
    ("src/presence", ["penstock", "base", "wire", "rpc", "presence"],
     "presence builds and runs with no DPDK installed"),
    ("src/data_server", ["penstock", "base", "wire", "rpc", "dpdk", "data_path", "data_server"],
     "processes (L3) do not include each other"),
    ("src/client", ["penstock", "base", "wire", "rpc", "client"],
     "the client library needs no DPDK and no server"),
    ("tools/penstockctl", ["penstock", "base", "rpc", "penstockctl"],
     "penstockctl speaks to presence over the control network only"),
    ("tools/media", ["penstock", "base", "media"], "what both reference clients know of content"),
    ("tools/penstock_publish", ["penstock", "base", "media", "penstock_publish"],
     "the reference clients use the public API (and base/ for their options and log)"),
    ("tools/penstock_consume", ["penstock", "base", "media", "penstock_consume"],
     "the reference clients use the public API (and base/ for their options and log)"),
    ("bench", ["penstock", "base", "wire", "rpc", "dpdk", "data_path", "presence", "data_server",
               "client", "bench"], "nothing but tests includes tests/"),
    ("tests", ["*"], ""),
]

EVERYWHERE = ["src/*", "include/*", "tools/*", "bench/*", "tests/*"]


@dataclass(frozen=True)
class Rule:
    """Forbids in files matching `files`, except `but`, the includes that `includes` matches."""

    includes: str
    files: list[str]
    but: list[str]
    reason: str


# Libraries: patterns of includes as written between <> or "".
LIBRARIES = [
    Rule(r"rte_.*|ethdev_.*|bus_.*_driver\.h", EVERYWHERE,
         ["src/dpdk/*", "src/data_path/*", "src/data_server/*", "tests/*", "bench/*"],
         "DPDK stays in dpdk/, data_path/ and data_server/"),
    Rule(r"grpc.*|google/protobuf/.*|.*\.pb\.h", EVERYWHERE,
         ["src/rpc/*", "src/*/*_service.cc", "src/*/*_session.cc", "src/client/*",
          "tools/penstockctl/*", "bench/start_latency*", "bench/presence_load/*", "tests/*"],
         "gRPC and protobuf stay at the edge: rpc/, *_service.cc, *_session.cc, client/, penstockctl"),
    Rule(r"mutex|shared_mutex|condition_variable|thread|semaphore|latch|barrier|future",
         ["src/data_path/*"], [], "no lock and no thread in the data path"),
    Rule(r"iostream|fstream|sstream|ostream|istream|cstdio|stdio\.h|fmt/.*|base/log\.h",
         ["src/data_path/*"], [], "no log and no system call in the data path"),
    Rule(r"string|functional|map|unordered_map|set|unordered_set|list|deque|memory_resource|regex",
         ["src/data_path/*"], [], "no allocation in the data path"),
    Rule(r"boost/program_options.*", EVERYWHERE, ["src/base/options*.cc"],
         "options are read in base/options*.cc only; use base/options.h"),
    Rule(r"boost/.*", EVERYWHERE, ["src/base/*.cc"], "Boost does not leave base/*.cc"),
    Rule(r"sodium.*", EVERYWHERE, ["src/wire/*", "tests/unit/wire/*"],
         "keys and MACs are made in wire/ only; use wire/ticket.h"),
    Rule(r"openssl/.*", EVERYWHERE, ["src/rpc/openssl_handles.h", "tests/*"],
         "certificates are read and TLS is spoken in rpc/tls* only; use rpc/tls.h"),
    Rule(r"nghttp2/.*", EVERYWHERE, ["src/rpc/*", "bench/presence_load/*"],
         "HTTP/2 is spoken in rpc/ only; use rpc/grpc_server.h"),
    Rule(r"netlink/.*|linux/(rt)?netlink\.h|bpf/.*|linux/bpf\.h|xdp/.*", EVERYWHERE,
         ["src/data_server/*", "tests/*"], "only the data server speaks netlink and BPF"),
    Rule(r"sqlite3\.h", EVERYWHERE, ["src/presence/store*", "tests/unit/presence/store*"],
         "durable facts live behind presence/store"),
    Rule(r"gtest/.*|gmock/.*", EVERYWHERE, ["tests/*"], "GoogleTest is for tests"),
    Rule(r"benchmark/.*", EVERYWHERE, ["bench/*"], "Google Benchmark is for bench/"),
    Rule(r"(boost|fmt)/.*", ["include/*"], [], "the public API needs only the standard library"),
    Rule(r"source_location|ranges|format|expected", EVERYWHERE, [],
         "g++ 12 or clang-tidy 14 cannot read this header in C++20; use fmt, Result<T> and loops"),
]

# Words that belong to the file that starts a process.
WORDS = [
    # pattern, files it is refused in, except, reason
    (re.compile(r"^int main\("), ["src/*", "tools/*", "include/*"], ["*/main.cc"],
     "a process starts in main.cc"),
    (re.compile(r"\b(sigaction|std::signal|::signal)\("), EVERYWHERE, ["*/main.cc", "tests/*"],
     "only main.cc installs signal handlers"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def folder_of(include: str, path: str, files: set[str]) -> str | None:
    """The folder, as LAYERS calls it, of the project header `include`; None if it is not ours."""
    if include.startswith("penstock/") or include.endswith(".pb.h"):
        return "penstock" if include.startswith("penstock/") else "rpc"
    top = path.split("/")[0]
    for base in ("src", "tools", "bench", top):
        if f"{base}/{include}" in files:
            return include.split("/")[0] if base in ("src", "tools") else base
    return None


def layer_violation(path: str, quoted: bool, include: str, files: set[str]) -> str | None:
    """Why `path` may not include the project header `include`; None if it may, or is not ours."""
    folder = folder_of(include, path, files)
    if folder is None:
        if quoted:
            return "no such header: project includes are written from src/ (tests/, bench/, tools/)"
        return None
    if include.startswith("penstock/"):
        if quoted:
            return "public headers are included as <penstock/…>"
        if f"include/{include}" not in files:
            return "no such public header"
    elif not quoted:
        return 'project headers are included as "folder/name.h"'
    if ".." in include:
        return "project includes are written from src/, without .."
    for place, allowed, reason in LAYERS:
        if path.startswith(place + "/"):
            return None if "*" in allowed or folder in allowed else reason
    return None


def check_file(path: str, text: str, files: set[str]) -> list[str]:
    violations = []
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, refused, but, reason in WORDS:
            if pattern.search(line) and matches(path, refused) and not matches(path, but):
                violations.append(f"{path}:{number}: {line.strip()}: {reason}")
        found = INCLUDE.match(line)
        if not found:
            continue
        quoted, include = found[1] == '"', found[2]
        reasons = [layer_violation(path, quoted, include, files)]
        reasons += [
            rule.reason
            for rule in LIBRARIES
            if re.fullmatch(rule.includes, include)
            and matches(path, rule.files)
            and not matches(path, rule.but)
        ]
        violations += [
            f"{path}:{number}: {line.strip()}: {reason}" for reason in reasons if reason is not None
        ]
    return violations


def find_cycle(graph: dict[str, list[str]]) -> list[str] | None:
    """A cycle of `graph` (header → headers it includes) as a path whose ends are equal, or None."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str] | None:
        if node in trail:
            return trail[trail.index(node):] + [node]
        if node in done:
            return None
        for following in graph.get(node, []):
            cycle = visit(following, trail + [node])
            if cycle:
                return cycle
        done.add(node)
        return None

    for start in sorted(graph):
        cycle = visit(start, [])
        if cycle:
            return cycle
    return None


def check_tree(root: Path) -> list[str]:
    """All violations below `root`, one line each."""
    paths = cpp_files(root)
    files = set(paths)
    violations = []
    graph = {}
    for path in paths:
        text = (root / path).read_text(encoding="utf-8")
        violations += check_file(path, text, files)
        if path.endswith(".h"):
            includes = [found[2] for found in map(INCLUDE.match, text.splitlines()) if found]
            places = [f"{base}/{include}" for include in includes
                      for base in ("src", "include", path.split("/")[0])]
            graph[path] = [place for place in places if place in files]
    cycle = find_cycle(graph)
    if cycle:
        violations.append(f"{cycle[0]}:1: headers include each other: {' -> '.join(cycle)}")
    return violations


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    violations = check_tree(root)
    for violation in violations:
        print(violation)
    if not violations:
        print("every include goes down a layer, and every library stays where it belongs")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
