#!/usr/bin/python3
"""Joins a second at a data server and requests a second at presence: the figures by one command.

Makes network namespaces, starts presence and a data server in them, and runs penstock-bench join.
Further words go to it; its --help explains them. Run as root, from a build.
"""

import sys

sys.dont_write_bytecode = True

import whole_chain  # noqa: E402 - after the line above


def main():
    arguments, words = whole_chain.parser(__doc__).parse_known_args()
    report = whole_chain.measure(arguments, ["penstock-bench", "join"], words)
    row = report["rows"][0]
    if row["joins_per_second"]["max"] <= 0 or row["requests_per_second"]["max"] <= 0:
        sys.exit("join.py: nobody joined, or presence answered no request")
    return 0


if __name__ == "__main__":
    whole_chain.run(main)
