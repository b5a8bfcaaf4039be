#!/usr/bin/python3
"""How fast START reaches a publisher that has been waiting: the whole figure by one command.

Makes network namespaces, starts presence and a data server in them, and runs penstock-bench-start:
100 samples, each of a publisher that waited 10 s. Further words go to penstock-bench-start, whose
--help explains them. Run as root, from a build.
"""

import sys

sys.dont_write_bytecode = True

import whole_chain  # noqa: E402 - after the line above

TINY = ["--samples", "3", "--parallel", "3", "--idle", "100ms"]
# 50 streams at a time have to find room beside each other.
SMALL_RINGS = ["--ring-packets", "256"]


def main():
    parser = whole_chain.parser(__doc__)
    parser.add_argument("--tiny", action="store_true", help="3 samples, to see that it works")
    arguments, words = parser.parse_known_args()
    words = [*(TINY if arguments.tiny else []), *words]
    whole_chain.measure(arguments, ["penstock-bench-start"], words, SMALL_RINGS)
    return 0


if __name__ == "__main__":
    whole_chain.run(main)
