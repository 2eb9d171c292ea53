"""The report's page of answers: ladder, claims and controls in folds of takes, with all that is behind them.

A run's own answers are RUN/answers.parquet (`lart-mini ablate … --out RUN`). Where it has none, the page
shows those that come with the kit, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import polars as pl

from lart_mini.evaluation.answers import asked, read_answers
from lart_mini.figures.base import to_html
from lart_mini.figures.claims import forest, interval_text
from lart_mini.figures.model import ladder
from lart_mini.files import shipped

FOLDS = "Answers in folds of takes"  # the page's title
SHOWN, CONTROL = "LART, many frames", "(control)"  # whose classes are shown; what a control's name ends in
NUMBER = re.compile(r"[-+]?\d+(\.\d+ \(.*|\.\d+|)$|–$")  # with its interval or without, or none
STORED = "claims.parquet"  # in benchmarks
MEASURED = """Every take of captured motion is held out once, with its siblings, and scored by a model
that never saw it; the boxes of all folds are judged together, those that all systems of a question have
(LART on perfect detections has boxes of its own). AVA-style mAP at IoU 0.5, percent. In brackets: 95 %
interval, a bootstrap over takes and seeds, paired where two systems are compared. The headline is the
mean over classes that rest on at least three takes of two sources. <b>Captured</b>: the motion, and who
does what. <b>Composed</b>: scenes, cameras, who stands beside whom. <b>Simulated</b>: detections, the
errors of poses, and lost people. No number here is of AVA's videos, as the paper's are: theirs stand
beside ours for the direction and size of a difference; levels cannot be compared."""
VERDICTS = """A claim <b>holds</b> where its whole interval is above 0, <b>does not hold</b> where it is
below, and is <b>not settled</b> where 0 is inside: the data allow both. It <b>cannot be asked</b> where
no class of its scope rests on enough takes. Claims are judged one by one: of forty true zeros, about two
would be called settled by chance."""
APART = (
    "They rest on fewer than three takes or on one source: such a number says more of a take than of a class."
)
MADE_WITH = """Commits are of the runs. Data: digest of the names of their data sets, each of which
carries a digest of all that it depends on. The control has learnt other tracklets' labels: what is left
is chance."""


def answers_of(run_dir: Path) -> tuple[pl.DataFrame, str] | None:
    """The answers to show for a run and a line on where they come from; None where there are none.

    Raises BadInput for a file that `lart-mini ablate` did not write.
    """
    own, stored = run_dir / "answers.parquet", shipped("benchmarks") / STORED
    if own.exists():
        return read_answers(own), "These answers stand in the folder of this run."
    if not stored.exists():
        return None
    line = f"This run has not computed these answers: they come with the kit, as benchmarks/{STORED}."
    return read_answers(stored), line


def answers_page(table: pl.DataFrame, source: str) -> str:
    """HTML of a table as in ANSWERS: ladder, claims, classes that do not count, commands and data."""
    return "".join(
        [
            f"<h1>{FOLDS}</h1><p><b>{escape(source)}</b> Commit, data and command of each stand below.</p>",
            f"<p>{MEASURED}</p>",
            _ladder(table.filter(pl.col("than").is_null() & (pl.col("question") == "ladder"))),
            _claims(asked(table)),
            _apart(table.filter(pl.col("than").is_null() & ~pl.col("rests"))),
            _made_with(table),
        ]
    )


def _ladder(systems: pl.DataFrame) -> str:
    """Figure and table: a row a system, headline and all classes."""
    by_scope = {scope: systems.filter(scope=scope) for scope in ("headline", "all")}
    rows, every = (by_scope[scope].to_dicts() for scope in by_scope)
    if not rows:
        return ""
    ends = ([row[end] / 100 for row in rows] for end in ("value", "low", "high"))
    names = [row["system"] for row in rows]
    figure = ladder(names, *ends, title="The ladder in folds of takes: classes of the headline")
    alt = "Bars of mAP: " + ", ".join(f"{row['system']} {row['value']:.1f}" for row in rows)
    head = ("system", "mAP, headline", "mAP, all classes")
    body = [(a["system"], interval_text(a), interval_text(b)) for a, b in zip(rows, every, strict=True)]
    return f"<h2>The ladder</h2>{to_html(figure, alt)}{_html(head, body)}"


def _claims(compared: pl.DataFrame) -> str:
    """Figures and table of the comparisons; hidden frames, and what is no mAP, have figures of their own."""
    if compared.is_empty():
        return ""
    shown = ""
    apart = pl.col("question").is_in(["hidden", "direction"])
    for title, measure, part in (
        ("Differences of two systems", "mAP", compared.filter(~apart)),
        ("Masks, where the person is hidden", "mAP", compared.filter(question="hidden")),
        ("Forwards or backwards?", "% told right", compared.filter(question="direction")),
    ):
        if len(part):
            told = (f"{row['claim']} {row['value']:+.1f}, {row['verdict']}" for row in part.to_dicts())
            shown += to_html(forest(part, title=title, measure=measure), f"{title}: {'; '.join(told)}")
    head = ("question", "claim", "compared", "classes", "the paper", "here", "verdict")
    body = [
        (
            row["question"], row["claim"], f"{row['system']} − {row['than']}", row["scope"],
            "–" if row["paper"] is None else f"{row['paper']:+.1f}", interval_text(row, "+"), row["verdict"],
        )
        for row in compared.to_dicts()
    ]  # fmt: skip
    return f"<h2>Claims</h2><p>{VERDICTS}</p>{shown}{_html(head, body)}"


def _apart(systems: pl.DataFrame) -> str:
    """Classes that rest on too little for the headline, with their clips, and what LART has in them."""
    found = systems.filter(pl.col("clips").is_not_null()).sort("system", maintain_order=True)
    rows = found.filter((pl.col("question") == "ladder") & (pl.col("system") == SHOWN)).to_dicts()
    rows = rows or found.unique("scope", keep="first", maintain_order=True).to_dicts()
    if not rows:
        return ""
    named = rows[0]["system"]
    head, body = (
        ("class", "clips", f"AP of {named}"),
        [(r["scope"], str(r["clips"]), interval_text(r)) for r in rows],
    )
    return f"<h2>Classes that do not count in the headline</h2><p>{APART}</p>{_html(head, body)}"


def _made_with(table: pl.DataFrame) -> str:
    """For each question: its shuffled control, the command that gives it again, commit and data."""
    controls = table.filter(pl.col("system").str.ends_with(CONTROL) & pl.col("than").is_null())
    control = {row["question"]: interval_text(row) for row in controls.filter(scope="headline").to_dicts()}
    made = table.unique("question", keep="first", maintain_order=True).to_dicts()
    body = [
        (row["question"], control.get(row["question"], "–"), row["command"], row["commit"], row["data"])
        for row in made
    ]
    head = ("question", "shuffled labels, headline", "command", "commit", "data")
    return f"<h2>Controls, commands, commits and data</h2><p>{MADE_WITH}</p>{_html(head, body)}"


def _html(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    rows = ("".join(map(_cell, row)) for row in body)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(text: str) -> str:
    """A number stays on its line."""
    number = ' class="number"' if NUMBER.match(text) else ""
    return f"<td{number}>{escape(text)}</td>"
