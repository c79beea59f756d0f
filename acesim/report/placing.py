"""Puts labels beside points so that they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

OFFSETS = ((-5, 5, "right", "bottom"), (5, 5, "left", "bottom"), (-7, 0, "right", "center"), (7, 0, "left", "center"),
           (5, -5, "left", "top"), (-5, -5, "right", "top"), (0, 9, "center", "bottom"), (0, -9, "center", "top"),
           (0, 19, "center", "bottom"), (0, -19, "center", "top"), (12, 16, "left", "bottom"), (12, -16, "left", "top"))
"""Where a label may go, in points from its point, best first: a Pareto front runs right and up from its points."""


def place_labels(panel: Axes, x: np.ndarray, y: np.ndarray, labels: Sequence[str], colours: Sequence[str]) -> None:
    """Write each label at the first of OFFSETS where it covers least."""
    canvas: Any = panel.figure.canvas
    canvas.draw()  # the layout must be settled before pixels mean anything
    dots = panel.transData.transform(np.column_stack([x, y])) if len(x) else np.empty((0, 2))
    taken = [Bbox.from_bounds(across - 6, up - 14, 12, 28) for across, up in dots]
    frame = panel.get_window_extent()
    for place, label in enumerate(labels):
        best: tuple[float, tuple[float, float, str, str], Bbox] | None = None
        for offset in OFFSETS:
            box = _box(panel, canvas, (x[place], y[place]), label, offset)
            cost = _overlap(box, taken, frame)
            if best is None or cost < best[0]:
                best = (cost, offset, box)
            if cost == 0:
                break
        if best is not None:
            taken.append(best[2])
            _write(panel, (x[place], y[place]), label, best[1], colours[place])


def _write(panel: Axes, point: tuple[float, float], label: str, offset: tuple[float, float, str, str],
           colour: str) -> object:
    across, up, ha, va = offset
    text = panel.annotate(label, point, xytext=(across, up), textcoords="offset points", ha=ha, va=va, fontsize=8,
                          color=colour)
    text.set_in_layout(False)
    return text


def _box(panel: Axes, canvas: Any, point: tuple[float, float], label: str,
         offset: tuple[float, float, str, str]) -> Bbox:
    across, up, ha, va = offset
    text = panel.annotate(label, point, xytext=(across, up), textcoords="offset points", ha=ha, va=va, fontsize=8)
    box: Bbox = text.get_window_extent(canvas.get_renderer())
    text.remove()
    return box


def _overlap(box: Bbox, taken: Sequence[Bbox], frame: Bbox) -> float:
    """Return the area in pixels that a label would cover, what sticks out of the frame included."""
    shared = sum(_common(box, other) for other in taken)
    return shared + box.width * box.height - _common(box, frame)


def _common(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))
