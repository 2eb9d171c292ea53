"""Pictures of the model and of results: encoding, masks, attention, losses, precision and recall, bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.figures.base import (
    BELOW_TO_ABOVE,
    CYCLE,
    LOW_TO_HIGH,
    MIDDLE,
    PALETTE,
    literal,
    new_figure,
)

CATEGORY_COLOURS = {"PM": PALETTE["blue"], "OM": PALETTE["orange"], "PI": PALETTE["green"]}


def positional_encoding(encoding: NDArray, *, title: str = "Positional encoding") -> Figure:
    """Heat maps of an encoding (P, T, D): person 0 over time (left), frame 0 over people (right)."""
    figure = new_figure(9, 3.4, title)
    over_time, over_people = figure.subplots(1, 2, width_ratios=[3, 1])
    for axes, values, name in (
        (over_time, encoding[0], "frame t (person 0)"),
        (over_people, encoding[:, 0], "person i (frame 0)"),
    ):
        image = axes.imshow(
            values.T, aspect="auto", cmap=BELOW_TO_ABOVE, vmin=-1, vmax=1, interpolation="nearest"
        )
        axes.axhline(encoding.shape[2] / 2 - 0.5, color=PALETTE["green"], linewidth=2)
        axes.set(xlabel=name, ylabel="dimension of the token")
    over_people.set_xticks(range(len(encoding)))
    figure.colorbar(image, ax=over_people, label="value (no unit)")
    return figure


def _people_grid(axes: Axes, people: int, frames: int) -> None:
    """Lines between the people of a token-by-token picture, and one tick in the middle of each."""
    for border in range(1, people):
        axes.axhline(border * frames - 0.5, color=MIDDLE, linewidth=1)
        axes.axvline(border * frames - 0.5, color=MIDDLE, linewidth=1)
    names = ["ego", *(f"other {i}" for i in range(1, people))]
    middles = [(i + 0.5) * frames - 0.5 for i in range(people)]
    axes.set_xticks(middles, names, fontsize=8)
    axes.set_yticks(middles, names, fontsize=8, rotation=90, va="center")
    axes.tick_params(length=0)


def attention_masks(masks: Mapping[str, NDArray], people: int, frames: int, *, title: str) -> Figure:
    """Who may attend to whom: name → mask (N, N) bool with N = people · frames, row attends to column."""
    figure = new_figure(3.6 * len(masks), 4.2, title)
    colours = ListedColormap(["#EFEFEF", PALETTE["blue"]])
    for axes, (name, mask) in zip(
        figure.subplots(1, len(masks), squeeze=False)[0], masks.items(), strict=True
    ):
        axes.imshow(mask, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
        _people_grid(axes, people, frames)
        axes.set_title(literal(name), fontsize=10)
        axes.set(xlabel="token attended to", ylabel="token that attends")
    figure.legend(
        handles=[Patch(color=PALETTE["blue"], label="may attend"), Patch(color="#EFEFEF", label="blocked")],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    return figure


def attention_maps(weights: NDArray, names: Sequence[str], people: int, frames: int, *, title: str) -> Figure:
    """Attention of some heads or layers (K, N, N), each row sums to 1; darker is more."""
    columns = min(4, len(weights))
    rows = -(-len(weights) // columns)
    figure = new_figure(2.7 * columns + 0.6, 2.75 * rows + 0.5, title)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    top = np.quantile(weights, 0.99)  # a few peaks would leave the rest of one colour
    for axes in panels[len(weights) :]:
        axes.set_axis_off()
    for axes, weight, name in zip(panels, weights, names, strict=False):
        image = axes.imshow(weight, cmap=LOW_TO_HIGH, vmin=0, vmax=top, interpolation="nearest")
        _people_grid(axes, people, frames)
        axes.set_title(literal(name), fontsize=10)
    figure.supxlabel("token that is attended to", fontsize=9)
    figure.supylabel("token that attends", fontsize=9)
    figure.colorbar(image, ax=panels.tolist(), label="attention weight", shrink=0.7, extend="max")
    return figure


def attention_over_time(weights: NDArray, query: int, detected: NDArray, *, title: str) -> Figure:
    """What one token looks at: weights (P, T) that sum to 1, each person's in all beside them.

    detected: (P, T) bool. Its own frame is dotted, gaps are grey.
    """
    people, frames = weights.shape
    figure = new_figure(8, 1.2 + 1.1 * people, title)
    panels = figure.subplots(people, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for person, axes in enumerate(panels):
        axes.fill_between(
            np.arange(frames), weights[person], color=CYCLE[person % len(CYCLE)], alpha=0.8, step="mid"
        )
        for frame in np.flatnonzero(~detected[person]):
            axes.axvspan(frame - 0.5, frame + 0.5, facecolor="#EDEDED", zorder=0)
        axes.axvline(query, color=MIDDLE, linestyle=":", linewidth=1.2)
        name = "ego" if person == 0 else f"other {person}"
        axes.set_ylabel(f"{name}\n{weights[person].sum():.0%} in all", fontsize=9)
        axes.set(xlim=(0, frames - 1), ylim=(0, weights.max() * 1.05))
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("frame of the window (grey: no detection, dotted: the token that asks)")
    figure.supylabel("attention weight", fontsize=9)
    return figure


def loss_curves(curves: Mapping[str, tuple[NDArray, NDArray]], *, title: str, unit: str = "epoch") -> Figure:
    """Name → (steps, losses), on a logarithmic axis."""
    figure = new_figure(7, 3.4, title)
    axes = figure.subplots()
    for (name, (steps, values)), colour in zip(curves.items(), CYCLE, strict=False):
        axes.plot(steps, values, color=colour, linewidth=1.8, label=literal(name))
    axes.set(xlabel=literal(unit), ylabel="binary cross-entropy (nats per class)", yscale="log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}" if high < 5 * low else NullFormatter())
    axes.grid(which="both", color="#EBEBEB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def precision_recall(curves: Mapping[str, tuple[NDArray, NDArray]], *, title: str) -> Figure:
    """Name → (precision, recall), each (K,), fractions of boxes."""
    figure = new_figure(5.4, 4, title)
    axes = figure.subplots()
    for (name, (precision, recall)), colour in zip(curves.items(), CYCLE, strict=False):
        axes.step(recall, precision, where="post", color=colour, linewidth=1.8, label=literal(name))
    axes.set(
        xlabel="recall (fraction of true boxes found)",
        ylabel="precision (fraction of rows right)",
        xlim=(0, 1.01),
        ylim=(0, 1.03),
    )
    axes.grid(color="#EBEBEB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure


def class_bars(
    values: Mapping[str, NDArray], names: Sequence[str], categories: Sequence[str], *, title: str
) -> Figure:
    """AP per class in percent: the last method as a bar in its category's colour, the others as dots on it.

    values: method → (C,) fractions, nan where a class has no ground truth (left out).
    categories: "PM" | "OM" | "PI" for each class.
    """
    table = np.stack([np.asarray(row, dtype=float) for row in values.values()])  # (M, C)
    keep = np.flatnonzero(~np.isnan(table).any(axis=0))
    keep = keep[np.argsort(table[-1, keep])].tolist()
    figure = new_figure(7.5, 1.3 + 0.27 * len(keep), title)
    axes = figure.subplots()
    colours = [CATEGORY_COLOURS[categories[i]] for i in keep]
    axes.barh(range(len(keep)), 100 * table[-1, keep], color=colours, height=0.72, alpha=0.85)
    markers, methods = ["o", "D", "s", "v"], list(values)
    for row, method in enumerate(methods[:-1]):
        axes.plot(
            100 * table[row, keep],
            range(len(keep)),
            linestyle="none",
            marker=markers[row % 4],
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=MIDDLE,
            label=literal(method),
        )
    for category in dict.fromkeys(categories[i] for i in keep):
        label = literal(f"{methods[-1]}: {ava.CATEGORIES[category]}")
        axes.barh(np.nan, 0, color=CATEGORY_COLOURS[category], label=label)
    axes.set_yticks(range(len(keep)), [literal(names[i]) for i in keep], fontsize=9)
    axes.set(xlabel="average precision (%)", xlim=(0, 102), ylim=(-0.6, len(keep) - 0.4))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def ladder(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float | None] | None = None,
    high: Sequence[float | None] | None = None,
    *,
    title: str = "Ladder of mean average precision",
) -> Figure:
    """mAP in percent, one row a rung, with its interval if it has one.

    values, low, high: fractions 0–1, all of the same boxes: only then do bars say what is better.
    """
    count = len(names)
    low, high = low or [None] * count, high or [None] * count
    figure = new_figure(7.8, 1.1 + 0.36 * count, title)
    axes = figure.subplots()
    for row, (value, bottom, top) in enumerate(zip(values, low, high, strict=True)):
        axes.barh(row, 100 * value, height=0.6, color=PALETTE["blue"])
        end = value
        if bottom is not None and top is not None:
            axes.plot([100 * bottom, 100 * top], [row, row], color=MIDDLE, linewidth=2, solid_capstyle="butt")
            end = max(value, top)
        axes.text(100 * end + 1.2, row, f"{100 * value:.1f}", va="center", fontsize=9)
    axes.set_yticks(range(count), list(map(literal, names)), fontsize=9)
    axes.set(xlabel="mAP (%), lines: interval", xlim=(0, 108))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def class_counts(counts: Mapping[str, NDArray], names: Sequence[str], *, title: str) -> Figure:
    """How many boxes each class has: split → (C,) counts, a dot each, on a logarithmic axis; none for 0."""
    figure = new_figure(7, 1.3 + 0.24 * len(names), title)
    axes = figure.subplots()
    rows, most = np.arange(len(names)), max(int(np.max(values)) for values in counts.values())
    shift = -0.11 * (len(counts) - 1)  # so that equal counts do not hide each other
    for (split, values), colour, marker in zip(counts.items(), CYCLE, "os^Dv", strict=False):
        seen = np.asarray(values) > 0
        axes.plot(
            np.asarray(values)[seen],
            (rows + shift)[seen],
            marker,
            color=colour,
            markersize=6,
            label=literal(split),
        )
        shift += 0.22
    ticks = [one * 10**power for power in range(7) for one in (1, 2, 5) if one * 10**power <= 1.5 * most]
    axes.set(xlabel="boxes (logarithmic)", xscale="log", ylim=(len(names) - 0.4, -0.6))
    axes.set_xlim(left=0.85)
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.set_xticks([], minor=True)
    axes.set_yticks(rows, list(map(literal, names)), fontsize=9)
    axes.grid(color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(fontsize=9, loc="lower right")
    return figure


def person_vectors(
    values: NDArray, parts: Mapping[str, tuple[int, Mapping[int, str]]], *, title: str
) -> Figure:
    """A tracklet as the model reads it: normalised vectors (T, D), nan where nobody was detected.

    parts: name → its width and the names of some of its rows, in the vectors' order; each has a panel, and
    narrow ones get rows that are high enough to be read.
    """
    heights = [0.13 * width if width < 30 else 0.015 * width for width, _ in parts.values()]
    figure = new_figure(8, 1.3 + sum(heights) + 0.1 * len(parts), title)
    panels = figure.subplots(len(parts), sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    first = 0
    for axes, (name, (width, ticks)) in zip(panels, parts.items(), strict=True):
        rows = values[:, first : first + width].T  # (width, T)
        image = axes.imshow(
            rows, aspect="auto", cmap=BELOW_TO_ABOVE, vmin=-3, vmax=3, interpolation="nearest"
        )
        axes.set_yticks(list(ticks), [literal(row) for row in ticks.values()], fontsize=8)
        axes.set_title(literal(f"{name} ({width})"), fontsize=9, loc="left", pad=3)
        first += width
    panels[-1].set_xlabel("frame of the tracklet (white: no detection)")
    figure.colorbar(image, ax=list(panels), label="standard deviations from the mean", extend="both")
    return figure


def differences(
    changes: Mapping[str, NDArray],
    groups: Sequence[str],
    half: Mapping[str, float | None],
    *,
    limit: float,
    title: str,
) -> Figure:
    """What changes do to mAP: one row each, (S,) differences in points, one of each seed, and their mean.

    groups: what each row belongs to, for its colour. half: half the width of each mean's interval, if it
    has one. Means beyond ±limit points stand as numbers at the edge.
    """
    figure = new_figure(7.8, 1.3 + 0.31 * len(changes), title)
    axes = figure.subplots()
    colours = dict(zip(dict.fromkeys(groups), CYCLE, strict=False))
    axes.axvline(0, color=MIDDLE, linewidth=1)
    for row, ((name, values), group) in enumerate(zip(changes.items(), groups, strict=True)):
        mean, colour, around = float(np.mean(values)), colours[group], half[name]
        if abs(mean) > limit:
            side, text = ("right", f"{mean:+.1f} ▸") if mean > 0 else ("left", f"◂ {mean:+.1f}")
            axes.text(np.sign(mean) * limit, row, text, ha=side, va="center", fontsize=9, color=colour)
            continue
        if around is not None:
            axes.plot([mean - around, mean + around], [row, row], color=colour, linewidth=2, alpha=0.6)
        axes.plot(values, np.full(len(values), row), "o", color=colour, markersize=4, markerfacecolor="white")
        axes.plot(mean, row, "o", color=colour, markersize=7)
    for group, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=literal(group))
    axes.set_yticks(range(len(changes)), list(map(literal, changes)), fontsize=9)
    axes.set(xlabel="change in mAP (points); filled: mean, open: seeds", xlim=(-1.05 * limit, 1.05 * limit))
    axes.set_ylim(len(changes) - 0.4, -0.6)
    axes.grid(axis="x", color="#EBEBEB")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
