"""Tables of answers: read and checked, drawn with every row and every interval's ends, and told on a page."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lart_mini.evaluation.answers import ANSWERS, FAILS, HOLDS, NEVER, OPEN, asked, read_answers
from lart_mini.figures.base import to_png
from lart_mini.figures.claims import class_gains, forest, hidden_curve, people_curve, scenes_curve
from lart_mini.files import BadInput
from lart_mini.runs import answers as page
from lart_mini.runs.answers import answers_of, answers_page

CLASSES = {"walk": (True, 30), "dance": (True, 4), "sit": (False, 1), "listen to (a person)": (False, 2)}


def row(question: str, system: str, value: float, **more: Any) -> dict[str, Any]:
    """An answer with an interval that is not symmetric."""
    plain = {"than": None, "scope": "headline", "low": value - 1.5, "high": value + 2.5, "claim": ""}
    plain |= {"paper": None, "verdict": "", "rests": True, "clips": None}
    told = {"command": f"lart-mini ablate {question} --size tiny", "commit": "c0ffee", "data": "da7a"}
    return {"question": question, "system": system, "value": value} | plain | told | more


def effect(question: str, system: str, than: str, value: float, claim: str, **more: Any) -> dict[str, Any]:
    return row(question, system, value, than=than, claim=claim, **{"verdict": OPEN} | more)


def per_class(question: str, system: str, value: float, **more: Any) -> list[dict[str, Any]]:
    found = enumerate(CLASSES.items())
    return [
        row(question, system, value + 3 * i, scope=name, rests=rests, clips=clips, **more)
        for i, (name, (rests, clips)) in found
    ]


LADDER = [
    *(row("ladder", name, value, scope=scope) for name, value in
      (("LART, many frames", 61.25), ("LART, one frame", 55.5), ("LART, shuffled labels (control)", 12.75))
      for scope in ("headline", "all")),
    *per_class("ladder", "LART, many frames", 41.0),
    effect("ladder", "LART, many frames", "LART, one frame", 5.75, "time matters", verdict=HOLDS),
    effect("ladder", "LART, many frames", "LART, one frame", 4.5, "time matters", scope="all"),
    effect("ladder", "LART, many frames", "LART, shuffled labels (control)", 48.5, "it is the labels",
           verdict=HOLDS),
]  # fmt: skip
PEOPLE = [
    *(row("people", f"n = {n}", 50 + n * n, scope=scope) for n in (1, 2, 5) for scope in ("all", "PI")),
    effect("people", "n = 5", "n = 1", 1.2, "five over one", scope="all", paper=1.2),
    effect("people", "n = 5", "n = 1", -2.75, "five over one, person interaction", scope="PI", paper=3.9,
           verdict=NEVER),
    effect("people", "n = 2", "n = 1", -4.0, "one more", scope="all", verdict=FAILS),
    effect("people", "n = 5", "n = 2", 1.0, "one more", scope="all"),
    *per_class("people", "n = 5", 40.0), *per_class("people", "n = 1", 38.0),
]  # fmt: skip
HIDDEN = [
    row("hidden", f"{name}; {frames} hidden", 60 - frames)
    for name in ("from scratch, no mask", "from scratch, masked", "pre-trained")
    for frames in (0, 13)
]
TABLE = pl.DataFrame([*LADDER, *PEOPLE, *HIDDEN], schema=ANSWERS)


def lines(figure: Figure, gid: str) -> list[Line2D]:
    """Lines that a figure drew under a name."""
    return [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]


def ends(found: list[Line2D]) -> list[tuple[float, ...]]:
    return [tuple(float(x) for x in line.get_xdata()) for line in found]


# ------------------------------------------------------------------------------------------------ reading


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    TABLE.write_parquet(path)
    assert read_answers(path).equals(TABLE)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (TABLE.drop("paper"), "paper: expected a column of Float64, as lart-mini ablate"),
        (
            TABLE.with_columns(value=pl.lit("high")),
            "value: expected a column of Float64, as lart-mini ablate",
        ),
        (TABLE.clear(), "rows: expected one at least, found none"),
        (TABLE.with_columns(low=pl.col("value") + 1), "value: expected a number within its interval"),
        (TABLE.with_columns(high=pl.lit(float("nan"))), "value: expected a number within its interval"),
        *(
            (
                TABLE.with_columns(pl.lit(None, ANSWERS[name]).alias(name)),
                f"{name}: expected a value in every row",
            )
            for name in ANSWERS
            if name not in ("than", "paper", "clips")
        ),
    ],
)
def test_what_is_no_table_of_answers_is_one_line(table: pl.DataFrame, line: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    table.write_parquet(path)
    with pytest.raises(BadInput, match=re.escape(f"answers.parquet: {line}")) as refused:
        read_answers(path)
    assert "\n" not in str(refused.value)


def test_a_file_of_another_kind_and_no_file_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"file: expected a parquet table, as lart-mini ablate .* found none"):
        read_answers(tmp_path / "answers.parquet")
    (tmp_path / "answers.parquet").write_text("no parquet")
    with pytest.raises(BadInput, match="file: expected a parquet table, as lart-mini ablate writes it"):
        read_answers(tmp_path / "answers.parquet")


def test_a_comparison_is_asked_in_the_scope_of_its_claim() -> None:
    found = asked(TABLE)
    assert found.select("claim", "than", "scope").rows() == [
        ("time matters", "LART, one frame", "headline"),
        ("it is the labels", "LART, shuffled labels (control)", "headline"),
        ("five over one", "n = 1", "all"),
        ("five over one, person interaction", "n = 1", "PI"),
        ("one more", "n = 1", "all"),
        ("one more", "n = 2", "all"),
    ]


# ------------------------------------------------------------------------------------------------ figures


def test_a_forest_has_every_row_with_its_ends_its_number_and_its_verdict() -> None:
    table = asked(TABLE)
    figure = forest(table, title="t", limit=15)
    assert ends(lines(figure, "interval")) == table.select("low", "high").rows()
    values = [end[0] for end in ends(lines(figure, "value"))]
    assert values == [min(value, 15) for value in table["value"]], "what is beyond the limit stands at it"
    assert [end[0] for end in ends(lines(figure, "paper"))] == [1.2, 3.9]
    left, right = ([tick.get_text() for tick in axes.get_yticklabels()] for axes in figure.axes)
    assert left == [
        "ladder", "time matters", "it is the labels", "people", "five over one (all classes)",
        "five over one, person interaction", "one more (n = 2 over n = 1, all classes)",
        "one more (n = 5 over n = 2, all classes)",
    ]  # fmt: skip
    assert figure.axes[0].get_xlabel().endswith("◇: the paper's, on AVA")
    assert [label.split(")")[1].strip() for label in right] == table["verdict"].to_list()
    assert right[1].startswith("+48.5 (+47.0 to +51.0)")


def test_a_forest_of_one_row_and_no_paper_is_drawn() -> None:
    table = asked(TABLE).drop("paper").with_columns(paper=pl.lit(None, pl.Float64)).head(1)
    figure = forest(table, title="t")
    assert len(lines(figure, "interval")) == 1 and not lines(figure, "paper")
    assert figure.axes[0].get_xlabel() == "difference in mAP (points); line: 95 % interval"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["time matters"]
    to_png(figure)


def bars(figure: Figure) -> list[list[list[float]]]:
    """Of each panel: x, low, high of every bar of an interval."""
    found = []
    for axes in figure.axes:
        segments = [segment for bar in axes.collections for segment in bar.get_segments()]
        found.append([[*segment[:1, 0].tolist(), *segment[:, 1].tolist()] for segment in segments])
    return found


def test_people_stand_at_their_numbers_and_the_paper_from_the_same_height() -> None:
    figure = people_curve(TABLE, title="t")
    expected = [[n, 50 + n * n - 1.5, 50 + n * n + 2.5] for n in (1, 2, 5)]
    assert bars(figure) == [expected, expected]
    first, second = lines(figure, "paper")
    assert list(first.get_xdata()) == [1, 5] and list(first.get_ydata()) == pytest.approx([51, 51 + 1.2])
    assert list(second.get_ydata()) == pytest.approx([51, 51 + 3.9])
    assert "n = 5 over n = 1: +1.2 (-0.3 to +3.7)" in figure.axes[0].get_title()
    alone = people_curve(TABLE, title="t", scopes=["all"], paper={})
    assert not lines(alone, "paper") and bars(alone) == [expected]
    to_png(alone)


def test_scenes_stand_at_their_numbers() -> None:
    rows = [
        row("scenes", f"{n:,} scenes", 40 + n / 100, scope=s) for s in ("headline", "all") for n in (60, 1200)
    ]
    rows += [effect("scenes", "1,200 scenes", "60 scenes", 11.4, "more help"), row("scenes", "shuffled", 9.0)]
    figure = scenes_curve(pl.DataFrame(rows, schema=ANSWERS), title="t")
    expected = [[40 + n / 100 - 1.5, 40 + n / 100 + 2.5] for n in (60, 1200)]
    (drawn,) = bars(figure)
    assert [bar[1:] for bar in drawn] == expected * 2
    (first, last), (beside, _) = ([x for x, *_ in drawn[at : at + 2]] for at in (0, 2))
    assert 58 < first < 60 < beside < 62 and 1160 < last < 1200, "no interval hides another"
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["60", "1,200"]
    to_png(figure)


def test_hidden_frames_are_drawn_for_every_system() -> None:
    figure = hidden_curve(TABLE, title="t")
    scratch, pretrained = bars(figure)
    assert len(scratch) == 4 and len(pretrained) == 2
    assert {tuple(end) for _, *end in scratch + pretrained} == {(58.5, 62.5), (45.5, 49.5)}
    assert all(abs(x - near) < 1 for x, near in zip([bar[0] for bar in scratch], [0, 13, 0, 13], strict=True))
    names = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert names == ["from scratch, no mask", "from scratch, masked", "pre-trained"]


def test_gains_are_sorted_and_classes_that_do_not_count_stand_apart() -> None:
    paired = [row("people", "n = 5", 7.0, than="n = 1", scope="dance", rests=True, clips=4)]
    table = pl.concat([TABLE, pl.DataFrame(paired, schema=ANSWERS)])
    figure = class_gains(table.filter(question="people"), "n = 5", "n = 1", title="t")
    labels = [[tick.get_text() for tick in axes.get_yticklabels()] for axes in figure.axes]
    assert labels == [
        ["walk, 30 clips", "dance, 4 clips"],
        ["listen to (a person), 2 clips", "sit, 1 clip"],
    ]
    assert [[bar.get_width() for bar in axes.patches] for axes in figure.axes] == [[2, 7], [2, 2]]
    assert ends(lines(figure, "interval")) == [(5.5, 9.5)], "an interval where the two are compared"


@pytest.mark.parametrize(
    "draw",
    [
        lambda table: forest(table, title="t"),
        lambda table: people_curve(table, title="t"),
        lambda table: hidden_curve(table, title="t"),
        lambda table: scenes_curve(table, title="t"),
        lambda table: class_gains(table, "n = 5", "n = 1", title="t"),
    ],
)
def test_a_table_without_rows_for_a_figure_is_one_line(draw: Any) -> None:
    with pytest.raises(BadInput, match=r"^answers: rows: expected .*, found none$") as refused:
        draw(TABLE.clear())
    assert "\n" not in str(refused.value)


# --------------------------------------------------------------------------------------------------- page


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", one)] for one in rows]


def test_the_page_holds_every_number_with_what_is_behind_it() -> None:
    html = answers_page(TABLE, "from a file & no run")
    assert "from a file &amp; no run" in html and "<script" not in html and 'src="data:' in html
    found = cells(html)
    assert ["LART, one frame", "55.5 (54.0 to 58.0)", "55.5 (54.0 to 58.0)"] in found
    assert ["LART, shuffled labels (control)", "12.8 (11.2 to 15.2)", "12.8 (11.2 to 15.2)"] in found
    time = ["ladder", "time matters", "LART, many frames − LART, one frame", "headline", "–"]
    assert [*time, "+5.8 (+4.2 to +8.2)", HOLDS] in found
    talk = ["people", "five over one, person interaction", "n = 5 − n = 1", "PI", "+3.9"]
    assert [*talk, "-2.8 (-4.2 to -0.2)", NEVER] in found
    assert ["sit", "1", "47.0 (45.5 to 49.5)"] in found and not any(one[:1] == ["walk"] for one in found)
    command = "lart-mini ablate ladder --size tiny"
    assert ["ladder", "12.8 (11.2 to 15.2)", command, "c0ffee", "da7a"] in found
    assert ["people", "–", "lart-mini ablate people --size tiny", "c0ffee", "da7a"] in found


@pytest.mark.parametrize("text", ["<script>", "12.5 (<script>", "+1.0 (0.1 <script>"])
def test_text_of_a_file_puts_nothing_into_the_page(text: str) -> None:
    html = answers_page(TABLE.with_columns(commit=pl.lit(text)), "here")
    assert "<script>" not in html and "&lt;script&gt;" in html


@pytest.mark.parametrize("part", [PEOPLE[:1], LADDER[:2], LADDER[-1:], PEOPLE[-2:]])
def test_a_page_of_part_of_the_answers_is_written(part: list[dict[str, Any]]) -> None:
    assert "c0ffee" in answers_page(pl.DataFrame(part, schema=ANSWERS), "here")


def test_a_run_without_answers_shows_the_stored_ones_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, run = tmp_path / "kit", tmp_path / "run"
    kit.mkdir()
    run.mkdir()
    monkeypatch.setattr(page, "shipped", lambda name: kit)
    assert answers_of(run) is None
    TABLE.write_parquet(kit / page.STORED)
    found = answers_of(run)
    assert found is not None and found[0].equals(TABLE) and "not computed" in found[1]
    TABLE.head(3).write_parquet(run / "answers.parquet")
    found = answers_of(run)
    assert found is not None and len(found[0]) == 3 and "of this run" in found[1]
    (run / "answers.parquet").write_text("no parquet")
    with pytest.raises(BadInput, match=r"answers\.parquet: file"):
        answers_of(run)
