"""Pictures of UPS: which words are near, a pose as it is written, routes over training, actions foreseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lart_mini.figures.base import (
    CYCLE,
    FLOOR,
    LEFT,
    LOW_TO_HIGH,
    MIDDLE,
    PALETTE,
    RIGHT,
    literal,
    new_figure,
)
from lart_mini.ups.config import TREES
from lart_mini.ups.tasks import JOINTS
from lart_mini.ups.vocabulary import AXES, Vocabulary

PARENTS = TREES[len(JOINTS)]
COLOURS = [
    LEFT if name.startswith("left") else RIGHT if name.startswith("right") else MIDDLE for name in JOINTS
]


def word_map(vocabulary: Vocabulary, *, title: str) -> Figure:
    """Cosines of the vocabulary's embeddings: of actions with each other, and of all coordinates."""
    cosine, count, bins = vocabulary.cosines(), len(vocabulary.actions), vocabulary.bins
    figure = new_figure(10.4, 4.8, title)
    left, right = figure.subplots(1, 2)
    names = [literal(name.split(" (")[0]) for name in vocabulary.actions]
    left.imshow(cosine[:count, :count], cmap=LOW_TO_HIGH, vmin=0, vmax=1)
    left.set_xticks(range(count), names, rotation=90, fontsize=7)
    left.set_yticks(range(count), names, fontsize=7)
    left.set_xlabel("an action")
    left.set_ylabel("another action")
    shown = cosine[count : count + 3 * bins, count : count + 3 * bins]
    image = right.imshow(shown, cmap=LOW_TO_HIGH, vmin=0, vmax=1, interpolation="none")
    middles = [(axis + 0.5) * bins - 0.5 for axis in range(3)]
    right.set_xticks(middles, AXES)
    right.set_yticks(middles, AXES, rotation=90, va="center")
    right.set_xlabel(f"a coordinate, 1st to {bins}th on each axis")
    for edge in (bins - 0.5, 2 * bins - 0.5):
        right.axhline(edge, color="white", linewidth=1)
        right.axvline(edge, color="white", linewidth=1)
    figure.colorbar(image, ax=right, shrink=0.8, label="cosine of two texts")
    return figure


def pose_as_written(poses: NDArray, said: Sequence[int], truth: NDArray, *, title: str) -> Figure:
    """Poses (S, J, 3), metres about the hip in the camera's frame (y down), of which `said` joints are told.

    Above as the camera sees it, below from above; the truth (J, 3) is pale. A joint is drawn from the word
    that tells its depth on.
    """
    wide, high, deep = 1.15 * np.abs(np.concatenate([poses, truth[None]])).max(axis=(0, 1)).clip(0.2)
    ratios = (float(high), float(deep))
    figure = new_figure(1.5 * len(poses) + 0.6, 1.5 * sum(ratios) / float(wide) + 1, title)
    rows = figure.subplots(2, len(poses), squeeze=False, height_ratios=ratios)
    for column, (pose, count) in enumerate(zip(poses, said, strict=True)):
        for axes, (across, up) in zip(rows[:, column], ((0, 1), (0, 2)), strict=True):
            _draw_joints(axes, truth[:, (across, up)], len(truth), FLOOR, 1.2)
            _draw_joints(axes, pose[:, (across, up)], count)
            axes.set(xlim=(-wide, wide), aspect="equal")
            axes.set_xticks([])
            axes.set_yticks([])
        rows[0, column].set(ylim=(high, -high))
        rows[1, column].set(ylim=(-deep, deep), xlabel=f"{3 * count} words")
    rows[0, 0].set_ylabel("before the camera")
    rows[1, 0].set_ylabel("from above")
    return figure


def _draw_joints(axes: Axes, joints: NDArray, count: int, colour: str = "", width: float = 2.4) -> None:
    """The first `count` of J joints (J, 2), and the bones between those."""
    bones = [(PARENTS[joint], joint) for joint in range(1, count) if PARENTS[joint] < count]
    colours = [colour or COLOURS[joint] for _, joint in bones]
    axes.add_collection(
        LineCollection([joints[list(bone)] for bone in bones], colors=colours, linewidths=width)
    )
    dots = [colour or own for own in COLOURS[:count]]
    axes.scatter(joints[:count, 0], joints[:count, 1], s=3 * width, color=dots, zorder=3)


def routes_over_training(
    steps: Sequence[int], routes: NDArray, tasks: Sequence[str], *, title: str
) -> Figure:
    """Which block each task takes: routes (S, M, L) of M tasks and L layers, at S steps of training."""
    routes = np.asarray(routes)
    figure = new_figure(9, 0.62 * routes.shape[2] * max(2, len(tasks) / 2) + 1.1, title)
    rows = figure.subplots(routes.shape[2], 1, sharex=True, squeeze=False)[:, 0]
    blocks = int(routes.max()) + 1
    colours = ListedColormap([CYCLE[k % len(CYCLE)] for k in range(max(blocks, 2))])
    last = float(steps[-1]) if len(steps) > 1 else 1.0
    for layer, axes in enumerate(rows):
        axes.imshow(
            routes[:, :, layer].T, cmap=colours, vmin=0, vmax=max(blocks, 2) - 1, aspect="auto",
            extent=(float(steps[0]), last, len(tasks) - 0.5, -0.5), interpolation="none", alpha=0.85,
        )  # fmt: skip
        axes.set_yticks(range(len(tasks)), [literal(task) for task in tasks], fontsize=8)
        axes.set_ylabel(f"layer {layer + 1}")
        for edge in range(1, len(tasks)):
            axes.axhline(edge - 0.5, color="white", linewidth=2)
    rows[-1].set_xlabel("step of training")
    patches = [Patch(color=colours(k), label=f"block {k + 1}") for k in range(max(blocks, 2))]
    figure.legend(handles=patches, loc="outside lower right", ncols=len(patches), fontsize=8, frameon=False)
    return figure


def foreseen(
    pose: NDArray, odds: NDArray, names: Sequence[str], *, title: str, fps: float = 5, shown: int = 4
) -> Figure:
    """What is foreseen while one watches: pose (N, J, 3) before a camera, odds (N, C) after each frame.

    Drawn are the `shown` likeliest of the C named classes, by the most that each gets.
    """
    figure = new_figure(9, 4.6, title)
    above, below = figure.subplots(2, 1, height_ratios=(1, 1.5), sharex=True)
    times = (np.arange(len(pose)) + 1) / fps
    reach = float(np.abs(pose[..., 1]).max()) or 1.0
    scale = 0.72 * (times[1] - times[0] if len(times) > 1 else 1) / (2 * reach)
    for time, joints in zip(times, pose, strict=True):
        flat = joints[:, :2] - [joints[0, 0], 0]
        _draw_joints(above, flat * [scale, 1] + [time, 0], len(joints), width=1.8)
    above.set(ylim=(reach * 1.05, -reach * 1.05))
    above.set_yticks([])
    above.set_ylabel("as seen")
    order = np.argsort(-odds.max(axis=0), kind="stable")[:shown]
    for place, k in enumerate(order):
        below.plot(times, odds[:, k], "o-", color=CYCLE[place % len(CYCLE)], label=literal(names[k]))
    below.set(ylim=(-0.03, 1.03), xlabel="seconds observed", ylabel="probability")
    below.legend(fontsize=8, frameon=False, ncols=2)
    below.grid(axis="y", color="#E5E5E5")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def over_ratios(
    curves: Mapping[str, Sequence[Sequence[float]]], ratios: Sequence[float], *, title: str, measure: str
) -> Figure:
    """Systems by the share of frames observed: for each ratio [value, low, high] in percent."""
    figure = new_figure(7.6, 3.8, title)
    axes = figure.subplots()
    percent = 100 * np.asarray(ratios)
    for place, (name, rows) in enumerate(curves.items()):
        value, low, high = np.asarray(rows, float).T
        at, colour = percent + 1.2 * (place - (len(curves) - 1) / 2), CYCLE[place % len(CYCLE)]
        axes.errorbar(
            at, value, (value - low, high - value), fmt="o-", color=colour, label=literal(name), capsize=3
        )
    axes.set(xlabel="frames observed (%)", ylabel=literal(measure), xticks=percent)
    axes.grid(axis="y", color="#E5E5E5")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.tick_params(colors=PALETTE["black"])
    return figure
