"""What a question is made of: systems, which are changes of one experiment, compared two by two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lart_mini.claims.experiment import Experiment
from lart_mini.data.mini_ava import SIZES

STEPS = {"smoke": 60, "laptop": 300, "gpu": 3000}  # of training on ground truth, by mini_ava's size
SEEDLESS = ("linear", "prior", "true labels")
MORE_SCENES = {"laptop": "many"}  # size → one that validates the same and has more to learn from


@dataclass(frozen=True)
class System:
    """A row: what of the experiment is changed, and which variant is meant (frames pooled or hidden)."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    variant: int | None = None  # None: the first
    averaged: bool = False  # the seeds' scores are averaged, and judged as one system
    fused: System | None = None  # late fusion: another system's scores are added, seed by seed
    weights: tuple[float, float] = (1.0, 1.0)  # of its own scores and the other's
    best_of: Mapping[str, System] = field(default_factory=dict)  # in each fold the best one of all others

    def experiment(self, base: Experiment) -> Experiment:
        """The base with the changes; steps are given as shares of the base's, scenes as a share of all."""
        changes = dict(self.changes)
        if "scenes" in changes:
            changes["size"] = MORE_SCENES.get(base.size, base.size)
            changes["scenes"] = max(1, round(changes["scenes"] * SIZES[changes["size"]].train))
        for name in ("steps", "pretrain_steps"):
            if name in changes:
                changes[name] = round(changes[name] * base.steps)
        if changes.get("model") in SEEDLESS:
            changes["seed"] = 0
        return replace(base, **changes)


@dataclass(frozen=True)
class Comparison:
    """One row of the claims: `system` against `than`."""

    system: str
    than: str
    claim: str  # in words
    scope: str = "headline"  # classes: headline, all, PM, OM or PI
    paper: float | None = None  # the paper's difference, mAP points


@dataclass(frozen=True)
class Question:
    """A ladder or a claim: its systems by name, and comparisons between them."""

    title: str
    source: str  # in the paper
    systems: dict[str, System]
    comparisons: tuple[Comparison, ...]
    measure: Literal["mAP", "accuracy"] = "mAP"  # accuracy: share of pieces told right, once for each class

    @property
    def rendered(self) -> bool:
        """Is it asked on rendered scenes, whose ground truth is what pictures show?"""
        return any(system.changes.get("looks") for system in self.systems.values())

    def experiments(self, base: Experiment, seeds: int) -> Iterator[Experiment]:
        """Every run that the question needs, each once: all folds, all seeds."""
        wanted: dict[Experiment, None] = {}
        rows = [part for row in self.systems.values() for part in (row.best_of.values() or (row, row.fused))]
        for system in filter(None, rows):
            for fold in range(base.folds):
                for seed in range(seeds):
                    wanted[system.experiment(replace(base, fold=fold, seed=seed))] = None
        yield from wanted
