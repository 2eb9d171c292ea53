"""LART on one page: what each stage makes of its input, with the shapes of a LARTConfig (section 3)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyArrowPatch, FancyBboxPatch, Rectangle

from lart_mini.evaluation.key_boxes import POOLED_FRAMES
from lart_mini.figures.base import MIDDLE, PALETTE, new_figure
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.tokens import JOINTS_WIDTH
from lart_mini.tracklets.tracklet import VECTOR_WIDTH

WIDTH, HEIGHT = 10.0, 5.3  # inches, the unit of all places here
UPPER, LOWER = 3.75, 1.2  # of the two rows' middles
STAGES = {  # stage → its left and right end, and its row
    "tracks": (0.08, 2.3, UPPER),
    "vectors": (2.6, 4.45, UPPER),
    "encoder": (4.8, 6.9, UPPER),
    "tokens": (7.1, 9.98, UPPER),
    "sequence": (0.15, 3.05, LOWER),
    "blocks": (3.35, 5.7, LOWER),
    "head": (5.85, 7.6, LOWER),
    "pooled": (7.72, 9.82, LOWER),
}
CELL = 0.24
SEEN, GAP, MASKED = "seen", "gap", "masked"
PEOPLE = (PALETTE["blue"], PALETTE["orange"], PALETTE["green"])  # ego, two others
FOUND = ("111111", "110011", "011110")  # of three people in six frames
HIDDEN = ((0, 3), (1, 1), (2, 2), (2, 4))  # (person, frame) of mask 2


def lart_diagram(
    config: LARTConfig, *, title: str = "LART: from tracks to actions", here: Collection[str] = ()
) -> Figure:
    """Tracks → person-vectors → tokens → blocks → a score for each class, each with its shape in `config`.

    Three people in six frames stand for all. Ten inches wide: as wide as a page, or a slide.
    here: stages that are spoken of, names in STAGES, on a coloured ground. Raises KeyError for others.
    """
    figure = new_figure(WIDTH, HEIGHT, title)
    axes = figure.subplots()
    axes.set(xlim=(0, WIDTH), ylim=(-0.1, 4.8), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    P, T, D = config.people, config.frames, config.width
    axes.set_xlabel(
        f"B samples · P = {P} people, the ego first · T = {T} frames · "
        f"N = P · T = {P * T} tokens of D = {D} numbers"
    )
    for stage in here:
        _ground(axes, *STAGES[stage])
    _tracks(axes)
    _vectors(axes, config)
    _encoder(axes, config)
    _tokens(axes)
    _sequence(axes)
    _blocks(axes, config)
    _head(axes, config)
    _pooled(axes, config)
    for start, end in ((2.2, 2.75), (4.35, 4.85), (6.85, 7.35)):
        _arrow(axes, (start, UPPER), (end, UPPER))
    for start, end in ((2.95, 3.4), (5.6, 6.05), (7.45, 7.95)):
        _arrow(axes, (start, LOWER), (end, LOWER))
    return figure


def _ground(axes: Axes, left: float, right: float, middle: float) -> None:
    style = "round,pad=0,rounding_size=0.12"
    bottom, width = middle - 1.26, right - left
    axes.add_patch(
        FancyBboxPatch((left, bottom), width, 2.28, boxstyle=style, facecolor="#FFF1B8", edgecolor="none")
    )


def _tracks(axes: Axes) -> None:
    _words(axes, 1.25, UPPER, "tracks", "(B, P, T)", "dashed: no detection")
    _people(axes, 0.7, UPPER, names=("ego", "other", "other"))


def _vectors(axes: Axes, config: LARTConfig) -> None:
    parts = {"pose": VECTOR_WIDTH - 13, "shape": 10, "place": 3}
    others = {"joints": config.joints_width and JOINTS_WIDTH, "looks": config.appearance}
    parts |= {name: width for name, width in others.items() if width}
    height, top = 1.25 / len(parts), UPPER + 0.625
    for shade, (name, width) in zip((0.8, 0.6, 0.45, 0.3, 0.2), parts.items(), strict=False):
        top -= height
        axes.add_patch(
            Rectangle((2.95, top), 0.5, height, facecolor=_pale(PEOPLE[0], shade), edgecolor="none")
        )
        axes.text(3.52, top + height / 2, f"{name} {width}", va="center", fontsize=9)
    widths = " + ".join(str(one) for one in (VECTOR_WIDTH, *others.values()) if one)
    _words(axes, 3.5, UPPER, "person-vectors", f"(B, P, T, {widths})", "one a person and frame")


def _encoder(axes: Axes, config: LARTConfig) -> None:
    lines = []
    inputs = (
        (VECTOR_WIDTH, config.pose_hidden, config.pose_width),
        (JOINTS_WIDTH, config.joints_hidden, config.joints_width),
        (config.appearance, config.appearance_hidden, config.appearance_width),
    )
    for width, hidden, given in inputs:
        if given:
            widths = [width, *((given, given) if hidden is None else hidden), given]
            lines.append("→".join(map(str, widths)))
    together = sum(given for *_, given in inputs)
    if together != config.width:
        lines.append(f"linear {together}→{config.width}")
    _box(axes, 4.95, UPPER - 0.5, 1.8, 1.0, PALETTE["sky"])
    axes.text(5.85, UPPER, "\n".join(lines), ha="center", va="center", fontsize=9, linespacing=1.5)
    _words(axes, 5.85, UPPER, "encoder (MLP)", "(B, P, T, D)", "the same for every person")


def _tokens(axes: Axes) -> None:
    _words(axes, 8.55, UPPER, "mask token, encoding", "(B, P, T, D)", "m: mask token; wave: PE(t, i)")
    _people(axes, 7.5, UPPER, masked=True)
    axes.text(9.17, UPPER, "+", ha="center", va="center", fontsize=14)
    steps = [i / 40 for i in range(41)]
    wave = [UPPER + 0.18 * math.sin(4 * math.pi * step) for step in steps]
    axes.plot([9.35 + 0.45 * step for step in steps], wave, color=MIDDLE, linewidth=1.4)
    axes.plot([8.55, 8.55, 1.6], [2.62, 2.42, 2.42], color=MIDDLE, linewidth=1.2)  # to the lower row
    _arrow(axes, (1.6, 2.44), (1.6, 2.14))


def _sequence(axes: Axes) -> None:
    """All people's tokens in one row, and whom one of them reads."""
    left, step = 0.3, 0.145
    states = [(person, state) for person in range(3) for state in _states(person, masked=True)]
    asking = 2
    for place, (person, state) in enumerate(states):
        _cell(axes, left + place * step, LOWER - 0.1, state, PEOPLE[person], size=step)
        if place == asking:
            axes.add_patch(
                Rectangle((left + place * step, LOWER - 0.1), step, step, facecolor="none", edgecolor=MIDDLE)
            )
        elif state == SEEN:
            middle, width = left + (place + asking + 1) / 2 * step, abs(place - asking) * step
            axes.add_patch(
                Arc(
                    (middle, LOWER + 0.06),
                    width,
                    min(1.0, 0.3 + width / 2),
                    theta1=0,
                    theta2=180,
                    color=MIDDLE,
                    linewidth=0.8,
                )
            )
    _words(
        axes,
        left + 9 * step,
        LOWER,
        "every token, one row",
        "(B, N, D)",
        "one asks; arcs: what else it reads",
    )


def _blocks(axes: Axes, config: LARTConfig) -> None:
    hidden = round(config.width * config.mlp_ratio)
    halves = [f"attention, {config.heads} heads", f"MLP D→{hidden}→D"]
    norm = "+, LayerNorm"
    lines = []
    for half in halves:
        lines += (
            [("norm", "LayerNorm"), ("half", half), ("add", "+")]
            if config.norm == "pre"
            else [("half", half), ("add", norm)]
        )
    for depth in (0.12, 0.06, 0)[-config.depth :]:
        _box(axes, 3.5 + depth, LOWER - 0.65 + depth, 1.95, 1.18, PALETTE["grey" if depth else "orange"])
    height = 1.1 / len(lines)
    for row, (kind, text) in enumerate(lines):
        weight = "bold" if kind == "half" else "normal"
        axes.text(
            4.475,
            LOWER + 0.49 - (row + 0.5) * height,
            text,
            ha="center",
            va="center",
            fontsize=9,
            fontweight=weight,
        )
    _words(axes, 4.475, LOWER, f"{config.depth} blocks", "(B, N, D)", "each with its own weights")


def _head(axes: Axes, config: LARTConfig) -> None:
    _box(axes, 6.15, LOWER - 0.35, 1.2, 0.7, PALETTE["green"])
    axes.text(6.75, LOWER, f"linear\nD→{config.classes}", ha="center", va="center", fontsize=9)
    _words(axes, 6.75, LOWER, "head", f"(B, P, T, {config.classes})", "of every frame")


def _pooled(axes: Axes, config: LARTConfig) -> None:
    for frame in range(6):
        _cell(
            axes,
            8.05 + frame * CELL,
            LOWER - CELL / 2,
            SEEN,
            PEOPLE[0],
            alpha=0.85 if frame in (2, 3) else 0.25,
        )
    axes.plot(
        [8.55, 8.55, 8.99, 8.99], [LOWER + y for y in (0.18, 0.25, 0.25, 0.18)], color=MIDDLE, linewidth=1.2
    )
    _words(
        axes,
        8.77,
        LOWER,
        "pooled",
        f"(B, {config.classes})",
        f"mean of the ego's {POOLED_FRAMES} frames\nabout a key frame",
    )


# ------------------------------------------------------------------------------------------------- strokes


def _states(person: int, masked: bool) -> list[str]:
    """What each of a person's six cells is."""
    found = [SEEN if there == "1" else GAP for there in FOUND[person]]
    return [MASKED if masked and (person, frame) in HIDDEN else state for frame, state in enumerate(found)]


def _people(axes: Axes, left: float, middle: float, names: Sequence[str] = (), masked: bool = False) -> None:
    """Three people in six frames, the ego above."""
    for person in range(3):
        bottom = middle + (0.5 - person) * 1.25 * CELL * 1.2
        for frame, state in enumerate(_states(person, masked)):
            _cell(axes, left + frame * CELL, bottom, state, PEOPLE[person])
        if names:
            axes.text(left - 0.08, bottom + CELL / 2, names[person], ha="right", va="center", fontsize=9)


def _cell(
    axes: Axes, x: float, y: float, state: str, colour: str, size: float = CELL, alpha: float = 0.85
) -> None:
    face: str | tuple[float, float, float] = "none"
    edge, line = "#9A9A9A", ":"
    if state == SEEN:
        face, edge, line = _pale(colour, alpha), "white", "-"
    elif state == MASKED:
        face, edge, line = "white", colour, "-"
    inset = 0.015
    axes.add_patch(
        Rectangle(
            (x + inset, y + inset),
            size - 2 * inset,
            size - 2 * inset,
            facecolor=face,
            edgecolor=edge,
            linestyle=line,
        )
    )
    if state == MASKED:
        axes.text(x + size / 2, y + size / 2, "m", ha="center", va="center", fontsize=8)


def _pale(colour: str, share: float) -> tuple[float, float, float]:
    """A colour mixed with white, of which it is `share`."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle=style, facecolor="white", edgecolor=colour, linewidth=2
        )
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color=MIDDLE, linewidth=1.2)
    )


def _words(axes: Axes, x: float, middle: float, name: str, shape: str, note: str) -> None:
    """A stage's name above it, its shape and a remark below."""
    axes.text(x, middle + 0.72, name, ha="center", va="bottom", fontsize=11, fontweight="bold")
    axes.text(x, middle - 0.72, shape, ha="center", va="top", fontsize=10, family="monospace")
    axes.text(x, middle - 0.92, note, ha="center", va="top", fontsize=9, color="#555555")
