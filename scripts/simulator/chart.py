"""A run over time: as text for the terminal, or as an SVG file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from simulator.fleet import Sample

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROWS = 4
SERIES: dict[str, Callable[[Sample], int]] = {
    "waiting, interactive": lambda sample: sample.waiting,
    "waiting, batch": lambda sample: sample.waiting_batch,
    "running": lambda sample: sample.running,
    "parked": lambda sample: sample.parked,
    "pods": lambda sample: sample.replicas,
    "paid so far, pod minutes": lambda sample: round(sample.pod_s / 60),
}


def text(samples: Sequence[Sample], width: int = 72) -> str:
    """Each series that is ever above zero, the greatest value of each column, with its scale at the left."""
    lines: list[str] = []
    for name, value in SERIES.items():
        columns = _columns([value(sample) for sample in samples], width)
        most = max(columns, default=0)
        if most:
            lines.append(f"{name}, at most {most:,}")
            lines += [f"  │{_row(columns, most, row)}" for row in reversed(range(_ROWS))]
    if samples:
        end = _clock(samples[-1].at_s)
        lines += ["  └" + "─" * width, "   0" + end.rjust(width - 1)]
    return "\n".join(lines)


def svg(samples: Sequence[Sample], title: str, width: int = 900, height: int = 110) -> str:
    """The same series, one above the other, as a drawing that any browser shows."""
    shown = [(name, [value(sample) for sample in samples]) for name, value in SERIES.items()]
    shown = [(name, values) for name, values in shown if any(values)]
    left, gap = 60, 34
    total = 40 + len(shown) * (height + gap)
    end_s = samples[-1].at_s if samples and samples[-1].at_s else 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" font-family="sans-serif">',
        f'<rect width="{width}" height="{total}" fill="white"/>',
        f'<text x="{left}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, (name, values) in enumerate(shown):
        top = 40 + number * (height + gap)
        most = max(values)
        inner = width - left - 20
        points = " ".join(
            f"{left + inner * sample.at_s / end_s:.1f},{top + height - height * value / most:.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        parts += [
            f'<text font-size="12" x="{left}" y="{top - 4}">{escape(name)}</text>',
            f'<text font-size="12" x="{left - 6}" y="{top + 10}" text-anchor="end">{most:,}</text>',
            f'<text font-size="12" x="{left - 6}" y="{top + height}" text-anchor="end">0</text>',
            f'<path d="M{left} {top} V{top + height} H{width - 20}" fill="none" stroke="#999"/>',
            f'<polyline points="{points}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>',
        ]
    parts.append(
        f'<text font-size="12" x="{width - 20}" y="{total - 8}" text-anchor="end">{_clock(end_s)}</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _columns(values: Sequence[int], width: int) -> list[int]:
    count = len(values)
    return [
        max(values[column * count // width : max(column * count // width + 1, (column + 1) * count // width)])
        for column in range(width)
        if column * count // width < count
    ]


def _row(columns: Sequence[int], most: int, row: int) -> str:
    eighths = [round(value / most * _ROWS * 8) for value in columns]
    return "".join(_BLOCKS[min(8, max(0, height - row * 8))] for height in eighths)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
