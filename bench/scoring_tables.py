"""What was measured of scoring, as Markdown tables and as one plot. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .measure import format_table
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


def name_way(way: Way) -> str:
    """What a reader knows it by."""
    title = _OURS.get(way.name)
    kind = f" ({way.files})" if way.name in ("cold", "folder") else ""
    return f"{title}{kind}{', Azurite' if way.azurite else ''}" if title else _PEERS[way.name]


def format_ways(results: Sequence[Measured]) -> str:
    """A row for each way, with its start and its spread."""
    head = ["Who", "models", "s", "CPU s", "least to most", "start: s", "start: CPU s", "models/s", "models/CPU s"]
    return format_table(
        [*head, "without the start", "CPU µs a model", "MiB", "times"], [_format_row(result) for result in results]
    )


def _format_row(measured: Measured) -> list[object]:
    total, n = measured.total, measured.models
    start = [measured.start.middle.seconds, measured.start.middle.cpu] if measured.start else [None, None]
    cpu = total.middle.cpu
    between = f"{total.low.cpu:.3g} to {total.high.cpu:.3g}"
    rates = [n / total.middle.seconds, n / cpu, _hide_nan(1e6 / measured.micro)]
    rest = [_hide_nan(measured.micro), total.middle.mebibytes, total.times]
    return [name_way(measured.way), n, total.middle.seconds, cpu, between, *start, *rates, *rest]


def _hide_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def describe_ratio(results: Sequence[Measured], limit: float) -> str:
    """How our warm nodes compare with the best of the peers, and with the limit, in a sentence."""
    warm = next(result for result in results if result.way.name == "warm")
    candidates = (result for result in results if not (result.way.ours or math.isnan(result.micro)))
    peers = sorted(candidates, key=lambda result: result.micro)
    best = next((result for result in peers if result.way.name not in APART), None)
    if best is None or math.isnan(warm.micro):
        return "What a further model takes is lost in the noise of the starts: these fleets are too small to compare."
    comparisons = (
        f"{result.micro / warm.micro:.0f} times those of {name_way(result.way)}"
        for result in peers
        if result.micro < best.micro
    )
    first = f"best that people use for the same answers ({name_way(best.way)})"
    return (
        f"For a second of CPU, without the start, ours scores {best.micro / warm.micro:.0f} times the models of the "
        f"{', '.join([first, *comparisons])}. With the start, at {warm.models:,} models against {best.models:,}: "
        f"{_get_total(best) / _get_total(warm):.0f} times. The limit is {limit:.3g} µs: ours takes "
        f"{warm.micro / limit:.1f} times that."
    )


def _get_total(measured: Measured) -> float:
    return measured.total.middle.cpu / measured.models


def describe_exactness(results: Sequence[Measured]) -> str:
    """How far scores lie from scikit-learn's, in a sentence."""
    exact = [result for result in results if result.way.files != "onnx"]
    rows = sum(result.checked.rows * result.total.times for result in results)
    text = (
        f"{rows:,} rows were compared with scikit-learn's: the largest difference of a score is "
        f"{max(result.checked.largest for result in exact):.1e}, and no label differs."
    )
    for result in (result for result in results if result.way.files == "onnx"):
        text += (
            " ONNX computes one-class SVMs in float32: there the largest difference is "
            f"{result.checked.largest:.1e}, and {result.checked.labels:,} of {result.checked.rows:,} labels differ."
        )
    return text


def format_grid(results: Sequence[Measured], peaks: Peaks, width: int) -> str:
    """CPU for each shape: ours, the peers', the limit."""
    ways = list(dict.fromkeys(result.way for result in results))
    shapes = list(dict.fromkeys((result.rows, result.vectors) for result in results))
    cells = {(result.rows, result.vectors, result.way): result for result in results}
    rows = []
    for shape in shapes:
        limit = peaks.seconds(*shape, width) * 1e6
        row_cells = [cells[*shape, way] for way in ways]
        numbers = [
            limit,
            *(result.micro for result in row_cells),
            *(result.micro / row_cells[0].micro for result in row_cells[1:]),
        ]
        rows.append([f"{shape[0]:,}", shape[1], *map(_hide_nan, [*numbers, row_cells[0].micro / limit])])
    times = [f"times {name_way(way)}" for way in ways[1:]]
    return format_table(["Rows", "vectors", "limit", *map(name_way, ways), *times, "times the limit"], rows)


def draw_plot(results: Sequence[Measured], limit: float) -> str:
    """CPU µs a model as bars on a logarithmic axis, an SVG."""
    bars = sorted(
        [
            ("the limit", limit, "#888888"),
            *((_name_plainly(o), o.micro, _choose_colour(o)) for o in results if o.micro > 0),
        ],
        key=lambda b: b[1],
    )
    low = 10 ** math.floor(math.log10(bars[0][1]))
    high = 10 ** math.ceil(math.log10(bars[-1][1]))
    margin, wide, tall = 230, 380, 22
    bottom = 34 + tall * len(bars)

    def x(value: float) -> float:
        return margin + wide * math.log10(value / low) / math.log10(high / low)

    ticks = [low * 10**k for k in range(round(math.log10(high / low)) + 1)]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{bottom + 26}" {_FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="18" font-weight="bold">CPU µs a model: 60 rows, 4 features, 100 support vectors</text>',
    ]
    for tick in ticks:
        lines.append(f'<line x1="{x(tick):.1f}" y1="28" x2="{x(tick):.1f}" y2="{bottom}" stroke="#dddddd"/>')
        lines.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{_format_unit(tick)}</text>')
    for i, (label, value, colour) in enumerate(bars):
        y = 32 + tall * i
        lines.append(f'<text x="{margin - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        lines.append(
            f'<rect x="{margin}" y="{y}" width="{x(value) - margin:.1f}" height="{tall - 6}" fill="{colour}"/>'
        )
        lines.append(f'<text x="{x(value) + 5:.1f}" y="{y + 13}">{float(f"{value:.3g}"):,.10g}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _format_unit(micro: float) -> str:
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if micro >= size:
            return f"{micro / size:g} {unit}"
    return f"{micro:g} µs"


def _name_plainly(measured: Measured) -> str:
    return name_way(measured.way).replace("`", "")


def _choose_colour(measured: Measured) -> str:
    return "#1b7f5a" if measured.way.ours else "#c9703b"
