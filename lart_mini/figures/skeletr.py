"""Pictures of SkeleTR: the graph drawn on bodies, what it learnt, and who looks at whom, seen from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from numpy.typing import NDArray

from lart_mini.figures.base import (
    BELOW_TO_ABOVE,
    CYCLE,
    LEFT,
    MIDDLE,
    PALETTE,
    RIGHT,
    literal,
    new_figure,
)
from lart_mini.skeletr.stgcnpp import LAYOUTS, Layout

DOUBTED = 0.35  # a joint of a lower score is drawn hollow
GRAPHS = ("to itself", "inward", "outward")
# COCO's joints of somebody who faces us, x and y, y down: its left is at our right.
HALF = (
    (0.07, 0.03),
    (0.14, 0.08),
    (0.25, 0.36),
    (0.46, 0.64),
    (0.62, 0.92),
    (0.17, 0.98),
    (0.23, 1.42),
    (0.27, 1.86),
)
FRONT = np.array([(0, 0.1), *((side * x, y) for x, y in HALF for side in (1, -1))])


def graph_on_bodies(
    keypoint: NDArray,
    score: NDArray,
    box: NDArray,
    layout: Layout,
    frame_size: Sequence[float],
    *,
    title: str,
) -> Figure:
    """The graph on people in the picture plane: keypoint (P,V,2) and box (P,4) x, y, w, h in pixels.

    Shown is the part of the frame (height, width) that holds the boxes. score (P,V): joints below DOUBTED are
    hollow and their edges dotted. The person's left is blue.
    """
    height, width = frame_size
    corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]])
    margin = 0.12 * np.ptp(corners, axis=0).max()
    low, high = np.maximum(corners.min(0) - margin, 0), np.minimum(corners.max(0) + margin, [width, height])
    wide, deep = high - low
    figure = new_figure(8.4, float(np.clip(6.6 * deep / wide, 3, 5.4)) + 1.2, title)
    axes = figure.subplots()
    axes.set_facecolor("#F4F3EF")
    for points, sure, (x, y, w, h) in zip(keypoint, score, box, strict=True):
        axes.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=PALETTE["green"], linewidth=1))
        _draw_graph(axes, points, layout, sure, size=6)
    for label, colour in (("person's left", LEFT), ("person's right", RIGHT)):
        axes.plot([], [], color=colour, linewidth=2.5, label=label)
    axes.plot([], [], "o", color=MIDDLE, markerfacecolor="white", label=f"score below {DOUBTED}")
    figure.legend(loc="outside lower center", fontsize=9, ncols=3, frameon=False)
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
    axes.set(xlabel="x (pixels)", ylabel="y (pixels)")
    return figure


def _colours(layout: Layout) -> list[str]:
    """Of each joint: what is mirrored to a later joint is the person's left."""
    sides = np.sign(np.array(layout.mirrored) - np.arange(layout.joints))
    return [{1: LEFT, -1: RIGHT, 0: MIDDLE}[side] for side in sides.tolist()]


def _draw_graph(axes: Axes, points: NDArray, layout: Layout, score: NDArray, size: float = 4) -> None:
    """Edges from each joint to its parent, in the joint's colour; points (V,2), score (V,)."""
    colours, sure = _colours(layout), score >= DOUBTED
    for joint, parent in enumerate(layout.parents):
        dotted = not (sure[joint] and sure[parent])
        axes.plot(
            *points[[joint, parent]].T,
            color=colours[joint],
            linewidth=1.2 if dotted else 2,
            linestyle=":" if dotted else "-",
            zorder=2,
        )
    face = [colour if known else "white" for colour, known in zip(colours, sure, strict=True)]
    axes.scatter(points[:, 0], points[:, 1], s=size**2, c=face, edgecolors=colours, linewidths=1, zorder=3)


def learned_graph(graphs: NDArray, names: Sequence[str], *, title: str, strongest: int = 12) -> Figure:
    """What a block made of COCO's graphs (3,17,17): how each number changed, and the largest new links.

    names: of the joints. A link from joint v to w, graphs[k,v,w], is new where the skeleton has none.
    """
    layout, names = LAYOUTS["coco"], [literal(name) for name in names]
    start = layout.graphs().numpy()
    change = graphs - start
    limit = float(np.abs(change).max()) or 1.0
    figure = new_figure(10.5, 4.1, title)
    panels = figure.subplots(1, 4, width_ratios=[1, 1, 1, 0.85])
    for axes, one, name in zip(panels, change, GRAPHS, strict=False):
        image = axes.imshow(one, cmap=BELOW_TO_ABOVE, vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set_title(literal(name), fontsize=10)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names if axes is panels[0] else [], fontsize=6)
        axes.set_xlabel("is added to joint w", fontsize=8)
    panels[0].set_ylabel("what joint v holds", fontsize=8)
    bar = figure.colorbar(image, ax=panels[:3].tolist(), shrink=0.7, location="bottom", aspect=40)
    bar.set_label("change since the start of training (no unit)", fontsize=8)
    _draw_links(panels[3], change * (start.sum(0) == 0), layout, strongest)
    return figure


def _draw_links(axes: Axes, new: NDArray, layout: Layout, strongest: int) -> None:
    """The largest of the new links (3,V,V), added up, as arrows on a body whose own edges are grey."""
    axes.add_collection(
        LineCollection(list(FRONT[list(enumerate(layout.parents))]), colors="#C8C8C8", linewidths=4)
    )
    total = new.sum(0)
    for flat in np.argsort(-np.abs(total), axis=None)[:strongest].tolist():
        v, w = divmod(flat, layout.joints)
        colour = PALETTE["purple"] if total[v, w] > 0 else PALETTE["orange"]
        axes.add_patch(
            FancyArrowPatch(
                FRONT[v], FRONT[w], connectionstyle="arc3,rad=0.25", arrowstyle="-|>", mutation_scale=9,
                shrinkA=2, shrinkB=2, color=colour, linewidth=1.4, zorder=3,
            )
        )  # fmt: skip
    axes.scatter(FRONT[:, 0], FRONT[:, 1], s=12, color=MIDDLE, zorder=4)
    for joint, side, align in ((9, "  left", "left"), (10, "right  ", "right")):  # the wrists
        x, y = FRONT[joint].tolist()
        axes.text(x, y, side, ha=align, fontsize=7)
    for label, colour in (("adds", PALETTE["purple"]), ("takes away", PALETTE["orange"])):
        axes.plot([], [], color=colour, linewidth=1.6, label=label)
    axes.legend(fontsize=7, frameon=False, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 0.02))
    axes.set_title(f"the {strongest} largest new links,\nthe three graphs added up", fontsize=9)
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.invert_yaxis()
    axes.margins(0.12)
    for spine in axes.spines.values():
        spine.set_visible(False)


def attention_from_above(
    place: NDArray,
    facing: NDArray,
    weights: Sequence[NDArray],
    titles: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Who looks at whom at one moment: place (P,2) x and z in metres, facing (P,) radians (0 is +z).

    weights: of each panel (P,P), rows add up to 1. An arrow goes from who looks to who is looked at; its
    width is the weight by that of an even share, and below an even share there is none.
    """
    people = len(place)
    low, high = place.min(0) - 1.0, place.max(0) + 1.0
    deep = float(np.clip(4.3 * (high[1] - low[1]) / (high[0] - low[0]), 2.2, 5.5))
    figure = new_figure(4.6 * len(weights), deep + 1.1, title)
    for axes, weight, name in zip(
        figure.subplots(1, len(weights), squeeze=False)[0], weights, titles, strict=True
    ):
        share = weight * people  # 1: an even share
        for one, other in zip(*np.nonzero((share > 1) & ~np.eye(people, dtype=bool)), strict=True):
            axes.add_patch(
                FancyArrowPatch(
                    place[one], place[other], connectionstyle="arc3,rad=0.2", arrowstyle="-|>",
                    mutation_scale=12, shrinkA=9, shrinkB=11, color=CYCLE[one % len(CYCLE)],
                    linewidth=0.8 + 6 * (share[one, other] - 1), alpha=0.75,
                )
            )  # fmt: skip
        for one in range(people):
            ahead = 0.5 * np.array([np.sin(facing[one]), np.cos(facing[one])])
            axes.plot(*np.stack([place[one], place[one] + ahead]).T, color=MIDDLE, linewidth=2, zorder=3)
            axes.plot(*place[one], "o", color=CYCLE[one % len(CYCLE)], markersize=13, zorder=4)
            axes.annotate(str(one), place[one], ha="center", va="center", color="white", fontsize=8, zorder=5)
        axes.set_title(literal(name), fontsize=10)
        axes.set(
            xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="x (m)", ylabel="z (m)"
        )
        axes.grid(color="#EBEBEB")
        axes.set_axisbelow(True)
    return figure
