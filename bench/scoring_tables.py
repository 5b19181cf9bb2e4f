"""What was measured of scoring, as Markdown tables and as one plot. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .measure import table
from .peaks import Peaks
from .scoring_lab import Measured, Way

_OURS = {"warm": "ours, warm packs", "cold": "ours, cold", "folder": "ours, a folder at a desk"}
_PEERS = {
    "process": "a process for each model",
    "loop": "a loop over `joblib.load` and `predict`",
    "tuned": "a specialist's loop, on all cores",
    "joblib": "joblib.Parallel",
    "dask": "a Dask bag",
    "ray": "Ray",
    "groupby": "pandas groupby-apply",
    "onnx": "an onnxruntime session each (float32)",
}
_FONT = 'font-family="sans-serif" font-size="12"'
# Peers, yet no measure of what people use: the one is hardly what anybody writes, the other computes in float32.
APART = ("tuned", "onnx")


def name(way: Way) -> str:
    """What a reader knows it by."""
    ours = _OURS.get(way.name)
    kind = f" ({way.files})" if way.name in ("cold", "folder") else ""
    return f"{ours}{kind}{', Azurite' if way.azurite else ''}" if ours else _PEERS[way.name]


def by_way(found: Sequence[Measured]) -> str:
    """A row for each way, with its start and its spread."""
    head = ["Who", "models", "s", "CPU s", "least to most", "start: s", "start: CPU s", "models/s", "models/CPU s"]
    return table([*head, "without the start", "CPU µs a model", "MiB", "times"], [_row(one) for one in found])


def _row(one: Measured) -> list[object]:
    whole, n = one.whole, one.models
    start = [one.start.middle.seconds, one.start.middle.cpu] if one.start else [None, None]
    cpu = whole.middle.cpu
    between = f"{whole.low.cpu:.3g} to {whole.high.cpu:.3g}"
    rates = [n / whole.middle.seconds, n / cpu, _told(1e6 / one.micro)]
    rest = [_told(one.micro), whole.middle.mebibytes, whole.times]
    return [name(one.way), n, whole.middle.seconds, cpu, between, *start, *rates, *rest]


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value


def ratio(found: Sequence[Measured], limit: float) -> str:
    """How our warm nodes compare with the best of the peers, and with the limit, in a sentence."""
    ours = next(one for one in found if one.way.name == "warm")
    told = (one for one in found if not (one.way.ours or math.isnan(one.micro)))
    peers = sorted(told, key=lambda one: one.micro)
    best = next((one for one in peers if one.way.name not in APART), None)
    if best is None or math.isnan(ours.micro):
        return "What a further model takes is lost in the noise of the starts: these fleets are too small to compare."
    others = (f"{one.micro / ours.micro:.0f} times those of {name(one.way)}" for one in peers if one.micro < best.micro)
    first = f"best that people use for the same answers ({name(best.way)})"
    return (
        f"For a second of CPU, without the start, ours scores {best.micro / ours.micro:.0f} times the models of the "
        f"{', '.join([first, *others])}. With the start, at {ours.models:,} models against {best.models:,}: "
        f"{_whole(best) / _whole(ours):.0f} times. The limit is {limit:.3g} µs: ours takes {ours.micro / limit:.1f} "
        "times that."
    )


def _whole(one: Measured) -> float:
    return one.whole.middle.cpu / one.models


def exactness(found: Sequence[Measured]) -> str:
    """How far scores lie from scikit-learn's, in a sentence."""
    exact = [one for one in found if one.way.files != "onnx"]
    rows = sum(one.checked.rows * one.whole.times for one in found)
    told = (
        f"{rows:,} rows were compared with scikit-learn's: the largest difference of a score is "
        f"{max(one.checked.largest for one in exact):.1e}, and no label differs."
    )
    for one in (one for one in found if one.way.files == "onnx"):
        told += (
            f" ONNX computes one-class SVMs in float32: there the largest difference is {one.checked.largest:.1e}, and "
            f"{one.checked.labels:,} of {one.checked.rows:,} labels differ."
        )
    return told


def grid(found: Sequence[Measured], peaks: Peaks, width: int) -> str:
    """CPU for each shape: ours, the peers', the limit."""
    ways = list(dict.fromkeys(one.way for one in found))
    shapes = list(dict.fromkeys((one.rows, one.vectors) for one in found))
    cells = {(one.rows, one.vectors, one.way): one for one in found}
    rows = []
    for shape in shapes:
        limit = peaks.seconds(*shape, width) * 1e6
        its = [cells[*shape, way] for way in ways]
        numbers = [limit, *(one.micro for one in its), *(one.micro / its[0].micro for one in its[1:])]
        rows.append([f"{shape[0]:,}", shape[1], *map(_told, [*numbers, its[0].micro / limit])])
    times = [f"times {name(way)}" for way in ways[1:]]
    return table(["Rows", "vectors", "limit", *map(name, ways), *times, "times the limit"], rows)


def plot(found: Sequence[Measured], limit: float) -> str:
    """CPU µs a model as bars on a logarithmic axis, an SVG."""
    bars = sorted(
        [("the limit", limit, "#888888"), *((_plain(o), o.micro, _colour(o)) for o in found if o.micro > 0)],
        key=lambda b: b[1],
    )
    low = 10 ** math.floor(math.log10(bars[0][1]))
    high = 10 ** math.ceil(math.log10(bars[-1][1]))
    left, wide, tall = 230, 380, 22
    bottom = 34 + tall * len(bars)

    def x(value: float) -> float:
        return left + wide * math.log10(value / low) / math.log10(high / low)

    ticks = [low * 10**k for k in range(round(math.log10(high / low)) + 1)]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{bottom + 26}" {_FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="18" font-weight="bold">CPU µs a model: 60 rows, 4 features, 100 support vectors</text>',
    ]
    for tick in ticks:
        lines.append(f'<line x1="{x(tick):.1f}" y1="28" x2="{x(tick):.1f}" y2="{bottom}" stroke="#dddddd"/>')
        lines.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{_unit(tick)}</text>')
    for i, (label, value, colour) in enumerate(bars):
        y = 32 + tall * i
        lines.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        lines.append(f'<rect x="{left}" y="{y}" width="{x(value) - left:.1f}" height="{tall - 6}" fill="{colour}"/>')
        lines.append(f'<text x="{x(value) + 5:.1f}" y="{y + 13}">{float(f"{value:.3g}"):,.10g}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _unit(micro: float) -> str:
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if micro >= size:
            return f"{micro / size:g} {unit}"
    return f"{micro:g} µs"


def _plain(one: Measured) -> str:
    return name(one.way).replace("`", "")


def _colour(one: Measured) -> str:
    return "#1b7f5a" if one.way.ours else "#c9703b"
