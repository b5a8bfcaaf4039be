"""SVG plots by gnuplot."""

from world import CommandFailed, run

from . import MeasurementFailed
from .penstock_bench import Row

PACKAGES = ["gnuplot-nox"]
_PERCENTILES = ("p50", "p90", "p99", "p999", "max")
HEAD = """set terminal svg size 800,500 dynamic background 'white' font 'sans,13'
set output '{file}'
set title '{title}'
set xlabel '{x}'
set ylabel '{y}'
set key outside bottom center horizontal
set grid
"""


def block(name, rows):
    """Rows of numbers as gnuplot's inline data `$name`."""
    lines = "\n".join(" ".join(str(cell) for cell in row) for row in rows)
    return f"${name} << EOD\n{lines}\nEOD\n"


def sweep_script(rows: list[Row], file, title, y, value):
    """A line for each payload over the number of consumers. `value(row)` is the height."""
    payloads = sorted({row.payload_bytes for row in rows})
    data = "".join(
        block(f"p{payload}", [(row.consumers, value(row)) for row in rows
                              if row.payload_bytes == payload])
        for payload in payloads
    )
    lines = ", ".join(f"$p{payload} with linespoints title '{payload} B'" for payload in payloads)
    head = HEAD.format(file=file, title=title, x="consumers (N)", y=y)
    return data + head + f"set logscale x 2\nset yrange [0:*]\nplot {lines}\n"


def latency_script(row, file):
    """A line for added latency, first copy, last copy and the time between, over the percentiles.
    Without what is nothing: where one burst has all copies, first to last is."""
    kinds = [("added_us", "added"), ("first_us", "first copy, since due"),
             ("last_us", "last copy, since due"), ("skew_us", "first to last")]
    shown = [(key, title) for key, title in kinds if any(row.get(key, {}).values())]
    data = "".join(
        block(key, [(place, row[key][name], name) for place, name in enumerate(_PERCENTILES)])
        for key, _ in shown
    )
    head = HEAD.format(file=file, title="Added latency, N = 64, half the highest rate",
                        x="percentile", y="µs")
    lines = ", ".join(f"${key} using 1:2:xtic(3) with linespoints title '{title}'"
                      for key, title in shown)
    xrange = f"set xrange [-0.5:{len(_PERCENTILES) - 0.5}]\n"
    return f"{data}{head}{xrange}set logscale y\nplot {lines}\n"


def draw(script):
    """Runs gnuplot on a script. MeasurementFailed with what it said if it refuses."""
    try:
        run(["gnuplot"], 60, stdin_text=script)
    except CommandFailed as error:
        raise MeasurementFailed(f"no plot: {error}") from error
