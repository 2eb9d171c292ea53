"""Pictures of tracking: a frame's detections, what pairs cost, who was held by whom, trackers compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lart_mini.figures.base import BELOW_TO_ABOVE, CYCLE, MIDDLE, MISSING, PALETTE, literal, new_figure
from lart_mini.figures.people import BONES
from lart_mini.people.body import JOINT_NAMES

IDS = [*CYCLE, PALETTE["black"], PALETTE["grey"], PALETTE["yellow"]]
HEAD = JOINT_NAMES.index("head")
DEAREST = 40  # cost at which colours end


def draw_detections(
    axes: Axes, boxes: NDArray, joints: NDArray, colours: Sequence, margin: float = 50, width: float = 1.6
) -> None:
    """The n detections of one frame, each in one colour, and the part of the picture that they fill.

    boxes: (n, 4) x, y, w, h pixels · joints: (n, 24, 2) pixels · margin: pixels about the boxes.
    """
    for box, points, colour in zip(boxes, joints, colours, strict=True):
        axes.add_patch(Rectangle(box[:2], box[2], box[3], fill=False, edgecolor=colour, linewidth=width))
        axes.add_collection(LineCollection(list(points[BONES]), colors=[colour], linewidths=width))
        axes.plot(*points[HEAD], "o", color=colour, markersize=3 * width)
    low, high = boxes[:, :2].min(axis=0) - margin, (boxes[:, :2] + boxes[:, 2:]).max(axis=0) + margin
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
    axes.set_facecolor("#F4F3EF")


def cost_tables(
    terms: Mapping[str, NDArray],
    tracks: Sequence[str],
    detections: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    *,
    title: str,
) -> Figure:
    """What each pair of a track and a detection costs: a table a term, and their sum with the pairs framed.

    terms: name → (K, n) · pairs: (track, detection) rows that were made.
    """
    tables = {**terms, "sum": np.sum(list(terms.values()), axis=0)}
    figure = new_figure(2.2 * len(tables), 1.8 + 0.42 * len(tracks), title)
    panels = figure.subplots(1, len(tables), sharey=True)
    for axes, (name, cost) in zip(panels, tables.items(), strict=True):
        image = axes.imshow(cost, cmap=f"{BELOW_TO_ABOVE}_r", vmin=-DEAREST, vmax=DEAREST, aspect="auto")
        for k, n in np.ndindex(cost.shape):
            colour = "white" if abs(cost[k, n]) > 0.6 * DEAREST else MIDDLE
            axes.text(n, k, f"{cost[k, n]:.0f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_title(literal(name), fontsize=10)
        axes.set_xticks(range(len(detections)), list(map(literal, detections)), fontsize=8)
        axes.set_xlabel("detection", fontsize=9)
    for k, n in pairs:
        frame = Rectangle((n - 0.47, k - 0.47), 0.94, 0.94, fill=False, linewidth=2.5, edgecolor=MIDDLE)
        panels[-1].add_patch(frame)
    panels[0].set_yticks(range(len(tracks)), list(map(literal, tracks)), fontsize=8)
    figure.colorbar(image, ax=panels, label="cost (−ln ratio)", extend="both", shrink=0.8)
    return figure


def track_rows(
    frame: NDArray, actor: NDArray, ids: Mapping[str, NDArray], *, title: str, cut: int | None = None
) -> Figure:
    """Who was held by which track: a row for each actor, a colour for each id; a panel for each of `ids`.

    frame, actor: (N,) of the detections, actor −1 for nobody · ids: name → (N,) track ids, −1 for none ·
    cut: the first frame of another shot. Lines bridge gaps, pale parts are in no track.
    """
    actors = np.unique(actor[actor >= 0])
    figure = new_figure(8.5, 1.1 + len(ids) * (0.35 + 0.3 * len(actors)), title)
    panels = figure.subplots(len(ids), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, own) in zip(panels, ids.items(), strict=True):
        known = np.unique(own[own >= 0]).tolist()
        for row, one in enumerate(actors):
            _one_row(axes, row, frame[actor == one], own[actor == one], known)
        axes.set_yticks(range(len(actors)), [f"actor {a}" for a in actors], fontsize=8)
        axes.set_title(literal(name), fontsize=10)
        axes.set(xlim=(0, frame.max() + 1), ylim=(len(actors) - 0.5, -0.5))
        axes.spines[["top", "right", "left"]].set_visible(False)
        if cut is not None:
            axes.axvline(cut, color=MIDDLE, linestyle="--", linewidth=1)
    note = "" if cut is None else ", dashed: a cut"
    panels[-1].set_xlabel(f"frame (30 a second); numbers: track ids, lines: coasting, pale: no track{note}")
    return figure


def _one_row(axes: Axes, row: int, frame: NDArray, ids: NDArray, known: list[int]) -> None:
    """One actor's detections, coloured by the tracks that held them."""
    for one in np.unique(ids).tolist():
        frames, colour = frame[ids == one], IDS[known.index(one) % len(IDS)] if one >= 0 else MISSING
        axes.broken_barh([(int(f), 1) for f in frames], (row - 0.3, 0.6), color=colour)
        if one >= 0:
            axes.plot([frames[0], frames[-1]], [row, row], color=colour, linewidth=1)
            ink = MIDDLE if colour == IDS[-1] else "white"
            text = axes.text(frames[0] + 1, row, str(one), color=ink, fontsize=8, va="center", clip_on=True)
            text.set_fontweight("bold")


def tracker_dots(
    results: Mapping[str, NDArray], trackers: Sequence[str], colours: Sequence[str], *, title: str
) -> Figure:
    """Trackers by several measures: a dot for each set of scenes, a bar at the mean.

    results: measure → (sets, trackers); shares of 1 are drawn in percent, `switches` as they are.
    """
    figure = new_figure(9, 1.2 + 0.34 * len(trackers), title)
    panels = figure.subplots(1, len(results), sharey=True)
    for axes, (name, values) in zip(panels, results.items(), strict=True):
        scale = 1 if name == "switches" else 100
        for i, colour in enumerate(colours):
            dots = scale * np.asarray(values)[:, i]
            axes.plot(dots, np.full(len(dots), i), "o", color=colour, alpha=0.5, markersize=5)
            axes.plot(dots.mean(), i, "|", color=MIDDLE, markersize=14, markeredgewidth=2)
        label = "identity switches\n(less" if scale == 1 else f"{name} (%)\n(more"
        axes.set_xlabel(label + " is better)")
        axes.grid(axis="x", color="#E5E5E5")
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(trackers)), list(map(literal, trackers)), fontsize=9)
    panels[0].invert_yaxis()
    return figure
