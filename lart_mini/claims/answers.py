"""Answers from kept scores alone: each system's mAP, each comparison's difference, with intervals; as tables.

The boxes of all folds are judged together. All systems of a question are scored on the boxes that all of them
have; people seen as they are have boxes of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from lart_mini import ava
from lart_mini.claims.direction import accuracy
from lart_mini.claims.experiment import Experiment, Scores
from lart_mini.claims.question import STEPS, Question, System
from lart_mini.claims.questions import chosen
from lart_mini.claims.runner import Kept, commits, run_all
from lart_mini.data.folds import assign, rests_on
from lart_mini.data.videos import PERFECT
from lart_mini.evaluation.answers import ANSWERS, FAILS, HOLDS, NEVER, OPEN, read_answers
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.evaluation.frame_map import FRAME, evaluate
from lart_mini.evaluation.intervals import MOST_SEEDS, Draws, Estimate, Resampled, draw, resample
from lart_mini.evaluation.key_boxes import KeyBoxes, ava_rows
from lart_mini.files import BadInput, atomic_path, whole_number
from lart_mini.people.clips import load_library


@dataclass(frozen=True)
class Answer:
    """One number of a question, fractions: a system's mAP or accuracy, or with `than` a difference."""

    question: str
    system: str
    than: str | None
    scope: str
    estimate: Estimate
    claim: str = ""
    paper: float | None = None  # mAP points
    rests: bool = True  # on a class of the headline
    clips: int | None = None  # of motion that a class rests on; None for other scopes

    @property
    def verdict(self) -> str:
        """Does a claimed difference hold? With 0 in the interval it is not settled. Empty for a system.

        A scope without any class that rests on enough takes cannot be asked, whatever its number.
        """
        if self.than is None:
            return ""
        if not self.rests:
            return NEVER
        return HOLDS if self.estimate.low > 0 else FAILS if self.estimate.high < 0 else OPEN


def headline(folds: int) -> tuple[int, ...]:
    """The evaluated classes that rest on at least three takes of two sources."""
    library, found = load_library(), []
    for action in ava.EVALUATED:
        try:
            counts = rests_on(library, folds, action).counts
        except BadInput:  # no take shows it
            continue
        found += [action] if counts else []
    return tuple(found)


class Judge:
    """Judges systems on the boxes of all folds together."""

    def __init__(
        self, base: Experiment, kept: Mapping[Experiment, Kept], seeds: int, draws: int = 1000
    ) -> None:
        self.base, self.kept, self.seeds = base, kept, seeds
        self.groundtruth = pl.concat(
            _of_fold(replace(base, fold=fold).data().scored().groundtruth, fold) for fold in range(base.folds)
        )
        self.draws: Draws = draw(self.groundtruth, draws)
        self.firm = headline(base.folds)
        self.scopes = _scopes(self.groundtruth, self.firm)
        library = load_library()
        self.clips = {  # class → clips of motion that it rests on
            scope: len(rests_on(library, base.folds, classes[0]).clips)
            for scope, classes in self.scopes.items()
            if scope == ava.NAMES[classes[0]]
        }

    def answers(self, name: str, question: Question) -> Iterator[Answer]:
        """Every system in every scope, every scored class of its own, then the comparisons in the same.

        Raises BadInput for a system of data with another ground truth.
        """
        self._check_truth(name, question)
        common = self._common(question)
        resampled = {row: self._resampled(system, common) for row, system in question.systems.items()}
        known = [set(one.known(ava.EVALUATED)) for one in resampled.values()]
        scopes = _among(self.scopes, set.intersection(*known))  # hidden: not those whom no track shows
        for row, one in resampled.items():
            for scope, classes in scopes.items():
                rests, clips = self._rests(classes), self.clips.get(scope)
                yield Answer(name, row, None, scope, one.estimate(classes), rests=rests, clips=clips)
        for asked in question.comparisons:
            pair = resampled[asked.system], resampled[asked.than]
            wanted = dict.fromkeys((asked.scope, "headline", "all", *self.clips))
            for scope in [one for one in wanted if one in scopes]:
                difference = pair[0].minus(pair[1], scopes[scope])
                paper = asked.paper if scope == asked.scope else None
                rests, clips = self._rests(scopes[scope]), self.clips.get(scope)
                about = asked.claim, paper, rests, clips
                yield Answer(name, asked.system, asked.than, scope, difference, *about)

    def _check_truth(self, name: str, question: Question) -> None:
        """A system may learn from other scenes, and must be scored on the same."""
        for row, system in question.systems.items():
            folds = [system.experiment(replace(self.base, fold=fold)) for fold in range(self.base.folds)]
            truth = pl.concat(_of_fold(one.data().scored().groundtruth, one.fold) for one in folds)
            if not truth.equals(self.groundtruth):
                expected = f"the ground truth of size {self.base.size}"
                raise BadInput(name, row, expected, f"another, of size {folds[0].size}")

    def _rests(self, classes: tuple[int, ...]) -> bool:
        """Is a class of the headline among these?"""
        return bool(set(classes) & set(self.firm))

    def _common(self, question: Question) -> pl.DataFrame:
        """The boxes (video, second, corners) that all systems of a question have."""
        keys, common = [*FRAME, *CORNERS], None
        for system in question.systems.values():
            if system.changes.get("tracker") != PERFECT:
                boxes = self._boxes(system)
                own = pl.concat(_of_fold(one.table.select(keys), fold) for fold, one in enumerate(boxes))
                common = own if common is None else common.join(own, on=keys, how="semi")
        assert common is not None
        return common

    def _resampled(self, system: System, common: pl.DataFrame) -> Resampled:
        boxes, scores = self._boxes(system), self._by_seed(system)
        tables = [_detections(boxes, own) for own in scores]
        if system.changes.get("tracker") != PERFECT:
            tables = [
                one.join(common, on=common.columns, how="semi", maintain_order="left") for one in tables
            ]
        groundtruth = self.groundtruth
        if system.changes.get("hidden"):  # the question is about people whom a track shows
            shown = pl.concat(_of_fold(one.table, fold) for fold, one in enumerate(boxes))
            keys = [*FRAME, "person"]
            groundtruth = groundtruth.join(shown.select(keys), on=keys, how="semi", maintain_order="left")
        return resample(groundtruth, tables, self.draws)

    def _boxes(self, system: System) -> list[KeyBoxes]:
        """Each fold's."""
        return [system.experiment(replace(self.base, fold=fold)).boxes() for fold in range(self.base.folds)]

    def _by_seed(self, system: System) -> list[list[Scores]]:
        """Each seed's scores of each fold; of one seed where there is but one, or they are averaged."""
        if system.best_of:
            each = {name: self._by_seed(one) for name, one in system.best_of.items()}
            best = self.best(system)
            seeds = range(len(each[best[0]]))
            return [[each[name][seed][fold] for fold, name in enumerate(best)] for seed in seeds]
        experiments = [system.experiment(replace(self.base, seed=seed)) for seed in range(self.seeds)]
        scores = [self._scores(system, seed) for seed in dict.fromkeys(one.seed for one in experiments)]
        if system.fused is not None:
            share = np.float32(system.weights[0] / sum(system.weights))
            others = self._by_seed(system.fused)
            scores = [
                [share * a + (1 - share) * b for a, b in zip(*pair, strict=True)]
                for pair in zip(scores, others, strict=True)
            ]
        if system.averaged:
            return [[np.mean(of_fold, axis=0) for of_fold in zip(*scores, strict=True)]]
        return scores

    def best(self, system: System) -> list[str]:
        """For each fold, which of `best_of` has the best mAP, mean over seeds, on all others' boxes."""
        found = np.zeros((self.base.folds, len(system.best_of)))
        for number, one in enumerate(system.best_of.values()):
            boxes, of_seeds = self._boxes(one), self._by_seed(one)
            for fold in range(self.base.folds):
                others = ~pl.col("video").str.starts_with(f"{fold}/")
                truth = self.groundtruth.filter(others)
                tables = [_detections(boxes, scores).filter(others) for scores in of_seeds]
                found[fold, number] = np.mean([evaluate(truth, table).mean_ap for table in tables])
        names = list(system.best_of)
        return [names[number] for number in found.argmax(axis=1)]

    def _scores(self, system: System, seed: int) -> list[Scores]:
        """Scores (N, 60) of each fold."""
        found = []
        for fold in range(self.base.folds):
            experiment = system.experiment(replace(self.base, fold=fold, seed=seed))
            variants = experiment.variants()
            number = 0 if system.variant is None else variants.index(system.variant)
            found.append(self.kept[experiment].scores()[number])
        return found


class DirectionJudge(Judge):
    """Judges who tells forwards from backwards: accuracy over the pieces takes the place of mAP.

    Its headline is all pieces, each counted once for every class that it shows.
    """

    def __init__(
        self, base: Experiment, kept: Mapping[Experiment, Kept], seeds: int, draws: int = 1000
    ) -> None:
        super().__init__(replace(base, task="direction"), kept, seeds, draws)
        found = pl.concat(own.table.select("take", "actions") for own in self._boxes(System()))
        self.draws, shown = draw(found, draws), set(found["actions"].explode())
        self.scopes["headline"] = self.scopes.pop("all")
        self.scopes = _among(self.scopes, shown)

    def _common(self, question: Question) -> pl.DataFrame:
        return self.groundtruth  # all systems have the same pieces

    def _resampled(self, system: System, common: pl.DataFrame) -> Resampled:
        return accuracy(self._boxes(system), self._by_seed(system), self.draws)


JUDGES = {"mAP": Judge, "accuracy": DirectionJudge}


def _of_fold(table: pl.DataFrame, fold: int) -> pl.DataFrame:
    """The table with its videos named apart from other folds'."""
    return table.with_columns(video=pl.format("{}/{}", pl.lit(fold), pl.col("video")))


def _detections(boxes: Sequence[KeyBoxes], scores: Sequence[Scores]) -> pl.DataFrame:
    """AVA detections of all folds, each with its take; a score of 0 is no detection."""
    rows = [
        _of_fold(ava_rows(own, values), fold)
        for fold, (own, values) in enumerate(zip(boxes, scores, strict=True))
    ]
    wanted = [*FRAME, *CORNERS, "action", "score", "take"]
    return pl.concat(one.select(wanted) for one in rows).filter(pl.col("score") > 0)


def _scopes(groundtruth: pl.DataFrame, first: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Scored classes by scope: headline (those of `first`), all, AVA's categories, and each on its own."""
    scored = tuple(action for action in ava.EVALUATED if (groundtruth["action"] == action).any())
    scopes = {"headline": tuple(action for action in scored if action in first), "all": scored}
    for category in ava.CATEGORIES:
        scopes[category] = tuple(action for action in scored if ava.CLASSES[action - 1].category == category)
    scopes = {scope: classes for scope, classes in scopes.items() if classes}
    return scopes | {ava.NAMES[action]: (action,) for action in scored}


def _among(scopes: Mapping[str, tuple[int, ...]], shown: set[int]) -> dict[str, tuple[int, ...]]:
    """The scopes with those classes alone that are shown, and without those that have none."""
    found = {scope: tuple(one for one in classes if one in shown) for scope, classes in scopes.items()}
    return {scope: classes for scope, classes in found.items() if classes}


# --------------------------------------------------------------------------------------------------- tables


def table_of(answers: Sequence[Answer], command: str = "", commit: str = "", data: str = "") -> pl.DataFrame:
    """One row an answer, columns as in ANSWERS; value, low and high in mAP points, or % of accuracy.

    command: what gives them again. commit, data: what the runs were made at and of.
    """
    return pl.DataFrame(
        [
            {"question": a.question, "system": a.system, "than": a.than, "scope": a.scope}
            | {"value": 100 * a.estimate.value, "low": 100 * a.estimate.low, "high": 100 * a.estimate.high}
            | {"claim": a.claim, "paper": a.paper, "verdict": a.verdict, "rests": a.rests, "clips": a.clips}
            | {"command": command, "commit": commit, "data": data}
            for a in answers
        ],
        schema=ANSWERS,
    )


def write(table: pl.DataFrame, path: Path) -> None:
    """The table as parquet; answers that the file has of other questions stay."""
    if path.exists():
        others = ~pl.col("question").is_in(table["question"].implode())
        table = pl.concat([read_answers(path).filter(others), table])
    with atomic_path(path) as temporary:
        table.write_parquet(temporary)


def text(name: str, question: Question, answers: Sequence[Answer]) -> str:
    """A question's answers to read: its systems in the first scopes, then its comparisons."""
    own = [answer for answer in answers if answer.question == name]
    shown = [scope for scope in ("headline", "all", *ava.CATEGORIES) if any(a.scope == scope for a in own)]
    value = {(a.system, a.scope): a.estimate for a in own if a.than is None}
    width = max(map(len, question.systems))
    lines = [question.title, "", f"{question.measure:{width}s}" + "".join(f"{scope:>21s}" for scope in shown)]
    for row in question.systems:
        lines.append(f"{row:{width}s}" + "".join(f"{_told(value[row, scope]):>21s}" for scope in shown))
    lines.append("")
    for a in own:
        if a.than is not None and a.clips is None:
            paper = "" if a.paper is None else f"; the paper: {a.paper:+.1f}"
            lines.append(f"{a.claim}: {a.system} - {a.than}, {a.scope}")
            lines.append(f"    {_told(a.estimate, '+')}, {a.verdict}{paper}")
    return "\n".join(lines)


def data_digest(kept: Iterable[Kept]) -> str:
    """Of the data sets that runs were made of: each one's name carries a digest of all that it depends on."""
    return hashlib.sha256("\n".join(sorted({one.data for one in kept})).encode()).hexdigest()[:12]


def _told(one: Estimate, sign: str = "") -> str:
    return f"{100 * one.value:{sign}.1f} ({100 * one.low:{sign}.1f} to {100 * one.high:{sign}.1f})"


def ask(
    names: list[str],
    size: str = "laptop",
    folds: int = 4,
    seeds: int = 3,
    steps: int | None = None,
    out: Path | None = None,
    jobs: int = -1,
    backend: str | None = None,
) -> Iterator[str]:
    """Run what the questions of these names need, write `answers.parquet`, and give each one's text.

    Raises BadInput, before anything runs, for what is no question, size or number of folds, seeds or steps,
    and for other answers in `out` that cannot be read.
    """
    questions = chosen(names)
    if size not in STEPS:
        raise BadInput("ablate", "size", " | ".join(STEPS), size)
    whole_number("ablate", "seeds", seeds, 1, MOST_SEEDS)
    steps = whole_number("ablate", "steps", STEPS[size] if steps is None else steps, 1)
    assign(load_library(), folds)
    base = Experiment(size=size, folds=folds, steps=steps)
    wanted = dict.fromkeys(
        one for question in questions.values() for one in question.experiments(base, seeds)
    )
    out = out or Path("runs") / f"claims-{size}"
    path = out / "answers.parquet"
    if path.exists():
        read_answers(path)  # raises BadInput
    kept = run_all(list(wanted), out, jobs, backend)
    judges: dict[tuple[str, bool], Judge] = {}
    tables = []
    for name, question in questions.items():
        kind = question.measure, question.rendered
        if kind not in judges:
            judged = replace(base, looks="unseen") if question.rendered else base
            judges[kind] = JUDGES[question.measure](judged, kept, seeds)
        answers = list(judges[kind].answers(name, question))
        options = f"--size {size} --folds {folds} --seeds {seeds} --steps {base.steps}"
        own = [kept[one] for one in question.experiments(base, seeds)]
        command = f"lart-mini ablate {name} {options}"
        tables.append(table_of(answers, command, ", ".join(commits(own)), data_digest(own)))
        yield text(name, question, answers) + "\n"
        for row, system in question.systems.items():
            if system.best_of:
                yield f"{row}: {'; '.join(judges[kind].best(system))}"
    write(pl.concat(tables), path)
    yield f"{len(wanted)} runs of commits {', '.join(commits(kept.values()))}: {path}"
