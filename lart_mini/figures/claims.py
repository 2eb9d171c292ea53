"""Pictures of answers: effects with their intervals, people, hidden frames, gains class by class.

The tables have the columns of `evaluation.ANSWERS`, or those of them that a figure names; mAP points
throughout. Every function raises BadInput where the table has no row for it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lart_mini import ava
from lart_mini.evaluation.answers import FAILS, HOLDS, NEVER, OPEN
from lart_mini.figures.base import CYCLE, MIDDLE, PALETTE, literal, new_figure
from lart_mini.figures.model import CATEGORY_COLOURS
from lart_mini.files import BadInput

VERDICT_COLOURS = {
    HOLDS: PALETTE["blue"],
    FAILS: PALETTE["vermillion"],
    OPEN: PALETTE["grey"],
    NEVER: PALETTE["grey"],
}
SCOPES = {"all": "all classes", **ava.CATEGORIES}
# LART-pose on AVA, Table 2: mAP by n. Figure 6 shows the steps between them without numbers.
PAPER_PEOPLE: dict[str, dict[int, float]] = {"all": {1: 22.9, 5: 24.1}, "PI": {1: 22.0, 5: 25.9}}


def _rows(table: pl.DataFrame, what: str) -> list[dict[str, Any]]:
    if table.is_empty():
        raise BadInput("answers", "rows", what, "none")
    return table.to_dicts()


def interval_text(row: Mapping[str, Any], sign: str = "") -> str:
    """A row's value with its interval, one decimal; -0.0 is below 0."""
    value, low, high = (f"{row[name]:{sign}.1f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


# ------------------------------------------------------------------------------------------------ forest


def forest(table: pl.DataFrame, *, title: str, limit: float = 15, measure: str = "mAP") -> Figure:
    """Forest plot: one row a comparison, its difference with the 95 % interval, and its verdict.

    table: comparisons; columns question, claim, scope, value, low, high, paper, verdict. A hollow diamond is
    the paper's difference. What lies beyond ±limit points stands at the edge, as an arrow. measure: what the
    differences are of.
    """
    rows = _rows(table, "a comparison")
    lines = list(_with_headings(rows))
    labels = [line if isinstance(line, str) else _claim(line, rows) for line in lines]
    heights = [0.25 + 0.15 * label.count("\n") for label in labels]
    middle = np.cumsum(heights) - np.array(heights) / 2  # inches from the top
    figure = new_figure(10, 1.2 + sum(heights), title)
    axes = figure.subplots()
    axes.axvline(0, color=MIDDLE, linewidth=1)
    for line, at in zip(lines, middle.tolist(), strict=True):
        if not isinstance(line, str):
            _effect(axes, line, at, limit)
    axes.set_yticks(middle, [literal(label) for label in labels], fontsize=8.5)
    for line, tick in zip(lines, axes.get_yticklabels(), strict=True):
        tick.set_fontweight("bold" if isinstance(line, str) else "normal")
    lowest = min(-2.0, *(max(row["low"], -limit) for row in rows))
    highest = max(2.0, *(min(row["high"], limit) for row in rows))
    room = 0.05 * (highest - lowest)
    axes.set(xlim=(lowest - room, highest + room), ylim=(sum(heights), 0))
    paper = "; ◇: the paper's, on AVA" if any(row["paper"] is not None for row in rows) else ""
    axes.set_xlabel(f"difference in {measure} (points); line: 95 % interval{paper}")
    _told_at_the_right(
        axes, [(at, line) for line, at in zip(lines, middle, strict=True) if not isinstance(line, str)]
    )
    _rows_only(axes)
    return figure


def _with_headings(rows: Sequence[dict[str, Any]]) -> Iterator[str | dict[str, Any]]:
    """The rows; where there are several questions, each question's name before its own."""
    several, before = len({row["question"] for row in rows}) > 1, None
    for row in rows:
        if several and row["question"] != before:
            yield row["question"]
        before = row["question"]
        yield row


def _claim(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """A claim as a label: where others say the same, with the two systems; and its classes."""
    label, scope, more = row["claim"], row["scope"], []
    if sum((one["question"], one["claim"]) == (row["question"], label) for one in rows) > 1:
        more.append(f"{row['system']} over {row['than']}")
    if scope != "headline" and ava.CATEGORIES.get(scope, scope) not in label:
        more.append(SCOPES.get(scope, scope))
    return textwrap.fill(f"{label} ({', '.join(more)})" if more else label, 48)


def _effect(axes: Axes, row: Mapping[str, Any], at: float, limit: float) -> None:
    """One comparison: interval, point, and the paper's number."""
    colour, value = VERDICT_COLOURS.get(row["verdict"], MIDDLE), row["value"]
    axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=2, gid="interval")
    marker, size = ("o", 6) if abs(value) <= limit else (">" if value > 0 else "<", 8)
    look: dict[str, Any] = {
        "color": colour,
        "markersize": size,
        "markerfacecolor": "white" if row["verdict"] == NEVER else colour,
    }
    axes.plot(np.clip(value, -limit, limit), at, marker, gid="value", **look)
    if row["paper"] is not None:
        look = {"color": MIDDLE, "markersize": 6.5, "markerfacecolor": "none"}
        axes.plot(np.clip(row["paper"], -limit, limit), at, "D", gid="paper", **look)


def _told_at_the_right(axes: Axes, rows: Sequence[tuple[float, Mapping[str, Any]]]) -> None:
    """Each comparison's numbers and verdict, as labels of an axis of their own."""
    right = axes.twinx()
    labels = [f"{interval_text(row, '+'):<23s}{row['verdict']}" for _, row in rows]
    right.set_yticks([at for at, _ in rows], labels, fontsize=8, family="monospace", color=MIDDLE)
    right.set_ylim(axes.get_ylim())
    _rows_only(right)


def _rows_only(axes: Axes) -> None:
    """Rows of a table, not a scale: no ticks and no frame, lines for x alone."""
    axes.grid(axis="x", color="#EBEBEB")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


# ------------------------------------------------------------------------------------------------ people


def people_curve(
    table: pl.DataFrame,
    *,
    title: str,
    scopes: Sequence[str] = ("all", "PI"),
    paper: Mapping[str, Mapping[int, float]] = PAPER_PEOPLE,
) -> Figure:
    """mAP by the most people whom the model sees (the paper's Figure 6), a panel a scope, with intervals.

    table: systems "n = 1", "n = 2", …; columns system, than, scope, value, low, high. paper: scope → n →
    its mAP, drawn on the right-hand axis, which has the same unit and starts at the same n = 1.
    """
    systems = table.filter(pl.col("than").is_null() & pl.col("system").str.contains(r"^n = \d+$"))
    found = {s: _rows(systems.filter(scope=s), f"systems n = 1, … in scope {s}") for s in scopes}
    figure = new_figure(4.5 * len(scopes), 3.9, title)
    panels = figure.subplots(1, len(scopes), squeeze=False)[0]
    for axes, (scope, rows) in zip(panels, found.items(), strict=True):
        people = [int(row["system"].removeprefix("n = ")) for row in rows]
        _with_bars(axes, people, rows, color=PALETTE["blue"], label="here, with 95 % interval")
        own, theirs = dict(zip(people, rows, strict=True)), paper.get(scope, {})
        start = min(own.keys() & theirs.keys(), default=None)
        if start is not None:
            _beside(axes, theirs, own[start]["value"] - theirs[start])
        axes.set_xticks(sorted({*people, *theirs}))
        axes.set(xlabel="most people, the ego among them (n)", ylabel="mAP (%)")
        gained = table.filter(system=f"n = {max(people)}", than=f"n = {min(people)}", scope=scope).to_dicts()
        told = (
            f"\nn = {max(people)} over n = {min(people)}: {interval_text(gained[0], '+')}" if gained else ""
        )
        axes.set_title(SCOPES.get(scope, scope) + told, fontsize=10)
        axes.margins(x=0.08)
        _bare(axes, right=start is None)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    return figure


def _beside(axes: Axes, theirs: Mapping[int, float], shift: float) -> None:
    """The paper's numbers, moved by `shift` points, and an axis at the right that names them as they are."""
    axes.plot(
        list(theirs), [value + shift for value in theirs.values()], "D--", color=MIDDLE, linewidth=1,
        markerfacecolor="white", label="the paper on AVA, right-hand axis", gid="paper",
    )  # fmt: skip
    moved: Any = (lambda y: y - shift, lambda y: y + shift)
    right = axes.secondary_yaxis("right", functions=moved)
    right.set_ylabel("the paper's mAP on AVA (%)")


def _with_bars(axes: Axes, x: Sequence[float], rows: Sequence[Mapping[str, Any]], **look: Any) -> None:
    """Points joined by a line, each with its interval."""
    value, low, high = (np.array([row[name] for row in rows]) for name in ("value", "low", "high"))
    axes.errorbar(x, value, [value - low, high - value], marker="o", markersize=5, capsize=2, linewidth=1.6,
                  elinewidth=1.1, **look)  # fmt: skip


def _bare(axes: Axes, right: bool = True) -> None:
    axes.grid(axis="y", color="#EBEBEB")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"] if right else ["top"]].set_visible(False)


# ------------------------------------------------------------------------------------- scenes learnt from


def scenes_curve(table: pl.DataFrame, *, title: str, scopes: Sequence[str] = ("headline", "all")) -> Figure:
    """mAP by how many composed scenes are learnt from, at equal steps; a line a scope, with intervals.

    table: systems "60 scenes", "1,200 scenes", …; columns system, than, scope, value, low, high.
    """
    number = pl.col("system").str.extract(r"^([\d,]+) scenes$").str.replace_all(",", "").cast(pl.Int64)
    table = table.filter(pl.col("than").is_null()).with_columns(scenes=number).drop_nulls("scenes")
    figure = new_figure(6.4, 4.0, title)
    axes = figure.subplots()
    axes.set_xscale("log")
    for place, scope in enumerate(scopes):
        rows = _rows(table.filter(scope=scope), f"systems 60 scenes, … in scope {scope}")
        aside = 1.04 ** (place - (len(scopes) - 1) / 2)  # so that no interval hides another
        colour, label = CYCLE[place % len(CYCLE)], SCOPES.get(scope, f"{scope} classes")
        _with_bars(axes, [row["scenes"] * aside for row in rows], rows, color=colour, label=label)
    ticks = table["scenes"].unique().sort().to_list()
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="scenes composed of the same takes", ylabel="mAP (%), 95 % intervals")
    axes.legend(frameon=False, fontsize=8)
    _bare(axes)
    return figure


# ---------------------------------------------------------------------------------------- hidden frames


def hidden_curve(table: pl.DataFrame, *, title: str, scope: str = "headline") -> Figure:
    """mAP against frames hidden about the key frame, a line a system, with intervals; panels of like systems.

    table: systems "…; 13 hidden"; columns system, than, scope, value, low, high.
    """
    named = pl.col("system").str.extract(r"^(.*); \d+ hidden$")
    table = table.filter(pl.col("than").is_null() & (pl.col("scope") == scope)).with_columns(
        name=named, hidden=pl.col("system").str.extract(r"; (\d+) hidden$").cast(pl.Int64)
    )
    rows = _rows(table.drop_nulls("name"), f"systems …; 13 hidden in scope {scope}")
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        kind = "trained from scratch" if name.startswith("from scratch") else "pre-trained"
        panels.setdefault(kind, []).append(name)
    figure = new_figure(4.7 * len(panels), 4.6, title)
    for axes, (kind, names) in zip(
        figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items(), strict=True
    ):
        for number, name in enumerate(names):
            own = [row for row in rows if row["name"] == name]
            aside = 0.5 * (number - (len(names) - 1) / 2)  # so that no interval hides another
            colour, label = CYCLE[number % len(CYCLE)], literal(name)
            _with_bars(axes, [row["hidden"] + aside for row in own], own, color=colour, label=label)
        axes.set(xlabel="frames hidden about the key frame (30 a second)", title=kind)
        axes.set_xticks(sorted({row["hidden"] for row in rows}))
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17))
        _bare(axes)
    figure.axes[0].set_ylabel("mAP (%), 95 % intervals")
    return figure


# ---------------------------------------------------------------------------------------- class by class


def class_gains(table: pl.DataFrame, system: str, than: str, *, title: str) -> Figure:
    """What `system` gains over `than` in each class (the paper's Figures 2 and 7), sorted, AP points.

    table: columns system, than, scope, value, low, high, rests, clips. A class has its interval where the
    table compares the two in it; else the difference of their APs stands alone. Classes that rest on too
    few takes for the headline are drawn apart, pale.
    """
    gains = _gains(table.filter(pl.col("clips").is_not_null()), system, than)
    parts = [part for part in (gains.filter("rests"), gains.filter(~pl.col("rests"))) if len(part)]
    if not parts:
        raise BadInput("answers", "rows", f"classes in which {system} and {than} stand", "none")
    figure = new_figure(8.2, 1.5 + 0.26 * len(gains) + 0.3 * (len(parts) - 1), title)
    panels = figure.subplots(
        len(parts), 1, sharex=True, squeeze=False, height_ratios=[len(p) for p in parts]
    )[:, 0]
    for axes, part in zip(panels, parts, strict=True):
        _gain_bars(axes, part.sort("value", "scope").to_dicts())
    if len(parts) > 1:
        panels[1].set_title("too few takes or sources for the headline", fontsize=9, loc="left")
    panels[-1].set_xlabel("gain in average precision (points); lines: 95 % interval where known")
    shown = {_category(scope) for scope in gains["scope"]}
    handles = [
        Line2D([], [], color=CATEGORY_COLOURS[kind], linewidth=6, label=name)
        for kind, name in ava.CATEGORIES.items()
        if kind in shown
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _category(scope: str) -> str:
    return next((action.category for action in ava.CLASSES if action.name == scope), "PM")


def _gains(classes: pl.DataFrame, system: str, than: str) -> pl.DataFrame:
    """scope, value, low, high, rests, clips: paired differences, and plain ones where there are none."""
    columns = ["scope", "value", "low", "high", "rests", "clips"]
    paired = classes.filter(system=system, than=than).unique("scope", keep="first", maintain_order=True)
    alone = classes.filter(pl.col("than").is_null()).unique(
        ["system", "scope"], keep="first", maintain_order=True
    )
    one, other = (alone.filter(system=name) for name in (system, than))
    both = one.join(other.select("scope", other="value"), on="scope", maintain_order="left")
    both = both.join(paired, on="scope", how="anti", maintain_order="left")
    nothing = pl.lit(None, pl.Float64)
    plain = both.with_columns(value=pl.col("value") - pl.col("other"), low=nothing, high=nothing)
    return pl.concat([paired.select(columns), plain.select(columns)])


def _gain_bars(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar a class, the largest gain on top."""
    for at, row in enumerate(rows):
        pale = 0.85 if row["rests"] else 0.35
        axes.barh(at, row["value"], height=0.7, color=CATEGORY_COLOURS[_category(row["scope"])], alpha=pale)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [at, at], color=MIDDLE, linewidth=1.4, gid="interval")
    clips = [f"{row['clips']} clip" + "s" * (row["clips"] != 1) for row in rows]
    labels = [f"{row['scope']}, {count}" for row, count in zip(rows, clips, strict=True)]
    axes.set_yticks(range(len(rows)), list(map(literal, labels)), fontsize=8.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.axvline(0, color=MIDDLE, linewidth=1)
    _rows_only(axes)
