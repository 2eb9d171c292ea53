"""Pictures of the Action Transformer: attention over frames, keys in colour, what is looked at, AP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lart_mini.figures.base import CYCLE, MIDDLE, MISSING, PALETTE, literal, new_figure

Picture = NDArray[np.uint8]


def attention_on_frames(
    pictures: Sequence[Picture],
    maps: Mapping[str, NDArray],
    box: Sequence[float],
    times: Sequence[str],
    *,
    title: str,
    covered: tuple[float, float] = (1.0, 1.0),
) -> Figure:
    """Where one person's query looks: a row for each of `maps`, a column a frame.

    pictures: T of (H,W,3). maps: name → (T,h,w), of which the shares `covered` of height and width are
    pictures. box: corners of the person at the middle frame, fractions. Brighter is more; a number over each
    frame is its share of the whole attention.
    """
    high, wide = pictures[0].shape[:2]
    rows = list(maps.items())
    figure = new_figure(9.5, 0.5 + len(rows) * (9.5 / len(pictures) * high / wide + 0.28), title)
    panels = figure.subplots(len(rows), len(pictures), squeeze=False)
    for line, (name, attention) in zip(panels, rows, strict=True):
        top = np.quantile(attention, 0.999)
        for t, (axes, picture) in enumerate(zip(line, pictures, strict=True)):
            grey = picture.mean(axis=-1, keepdims=True).repeat(3, axis=-1) / 255
            axes.imshow(0.35 + 0.5 * grey, extent=(0, wide, high, 0))
            extent = (0, wide / covered[1], high / covered[0], 0)
            axes.imshow(attention[t], cmap="inferno", vmin=0, vmax=top, alpha=0.6, extent=extent)
            axes.set_xlim(0, wide)
            axes.set_ylim(high, 0)
            axes.set(xticks=[], yticks=[])
            if t == len(pictures) // 2:
                corners = np.array(box) * [wide, high, wide, high]
                size = corners[2:] - corners[:2]
                axes.add_patch(Rectangle(tuple(corners[:2]), *size, fill=False, ec=PALETTE["sky"], lw=1.6))
            share = attention[t].sum() / attention.sum()
            axes.set_title(literal(f"{times[t]} · {share:.0%}"), fontsize=8, color=MIDDLE)
        line[0].set_ylabel(literal(name), fontsize=9)
    return figure


def pca_colours(keys: NDArray) -> NDArray[np.float64]:
    """Keys (…,D) as colours (…,3) in 0–1: their three largest principal components, over all cells."""
    flat = keys.reshape(-1, keys.shape[-1]).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    found = flat @ directions[:3].T
    low, high = np.quantile(found, [0.02, 0.98], axis=0)
    return ((found - low) / (high - low + 1e-12)).clip(0, 1).reshape(*keys.shape[:-1], 3)


def keys_in_colour(
    picture: Picture, keys: Mapping[str, NDArray], *, title: str, covered: tuple[float, float] = (1.0, 1.0)
) -> Figure:
    """The paper's Figure 4: the key frame (H,W,3), and of each head the keys (h,w,D) by three PCA colours."""
    high, wide = picture.shape[:2]
    columns = 3
    rows = -(-(len(keys) + 1) // columns)
    figure = new_figure(9.5, rows * (9.5 / columns * high / wide + 0.3) + 0.4, title)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    panels[0].imshow(picture, extent=(0, wide, high, 0))
    panels[0].set_title("the key frame", fontsize=9)
    for axes, (name, own) in zip(panels[1:], keys.items(), strict=False):
        extent = (0, wide / covered[1], high / covered[0], 0)
        axes.imshow(pca_colours(own), extent=extent, interpolation="nearest")
        axes.set(xlim=(0, wide), ylim=(high, 0))
        axes.set_title(literal(name), fontsize=9)
    return figure


def looked_bars(ratios: Mapping[str, Mapping[str, float]], *, title: str) -> Figure:
    """Attention by area: of each system (its name → group → ratio) a bar for each group; 1 is chance."""
    groups = list(next(iter(ratios.values())))
    figure = new_figure(9.0, 3.4, title)
    axes = figure.subplots()
    width = 0.8 / len(ratios)
    for number, (name, own) in enumerate(ratios.items()):
        places = np.arange(len(groups)) + (number - (len(ratios) - 1) / 2) * width
        bars = axes.bar(
            places, [own[group] for group in groups], width, color=CYCLE[number], label=literal(name)
        )
        over = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # the line of chance runs behind
        axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=1, bbox=over, zorder=5)
    axes.axhline(1, color=MIDDLE, lw=1, ls="--")
    axes.set_xticks(np.arange(len(groups)), [literal(group) for group in groups], fontsize=9)
    axes.set_ylabel("share of attention\n÷ share of the picture")
    axes.margins(y=0.12)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def binned_ap(bins: Mapping[str, Sequence[tuple[str, float, int]]], *, title: str) -> Figure:
    """The paper's Figure 5 b and c: a panel for each of `bins`, whose bins are (name, AP in 0–1, boxes)."""
    figure = new_figure(9.0, 3.0, title)
    panels = figure.subplots(1, len(bins), squeeze=False, sharey=True)[0]
    for axes, (name, own) in zip(panels, bins.items(), strict=True):
        bars = axes.bar(range(len(own)), [100 * value for _, value, _ in own], 0.65, color=CYCLE[0])
        axes.bar_label(bars, [f"{100 * value:.0f}" for _, value, _ in own], fontsize=8)
        labels = [literal(f"{label}\n{count} boxes") for label, _, count in own]
        axes.set_xticks(range(len(own)), labels, fontsize=8)
        axes.set(title=literal(name), ylabel="mAP, %")
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.grid(True, color=MISSING, lw=0.6)
        axes.set_axisbelow(True)
    return figure
