"""Trackers judged as trackers are: HOTA, IDF1, MOTA and identity switches on composed scenes.

The figures are trackeval's (Luiten et al. 2021 for HOTA). The truth is every actor of whom a quarter is
visible, the condition under which mini_ava writes AVA-style ground truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lart_mini.boxes import overlap
from lart_mini.files import optional
from lart_mini.people.body import Body
from lart_mini.scenes.camera import Filmed, film, shoot
from lart_mini.scenes.staging import cast
from lart_mini.scenes.takes import Segment, scored_actions
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import Faults, detect
from lart_mini.tracking.tracker import TrackerConfig, track

SEEN = 0.25  # visible share from which on an actor is ground truth
TRUTH = "ground-truth identity"


@dataclass(frozen=True)
class Scene:
    """One composed video: who was where, and what a detector would have said."""

    filmed: list[Filmed]
    detections: Detections

    @property
    def crossing(self) -> bool:
        """Do two actors change sides while their boxes overlap by a fifth or more?"""
        for i, a in enumerate(self.filmed):
            for b in self.filmed[:i]:
                both = (a.visible > 0) & (b.visible > 0)
                meets = overlap(_xywh(a.box[both]), _xywh(b.box[both])) > 0.2
                side = np.sign((a.box - b.box)[both][meets][:, ::2].sum(axis=1))
                if {-1, 1} <= set(side.tolist()):
                    return True
        return False


def compose(
    pool: list[Segment],
    seed: tuple[int, ...],
    model: Body,
    people: tuple[int, int] = (3, 5),
    frames: int = 300,
    faults: Faults = Faults(),  # noqa: B008  (frozen)
) -> Scene:
    """A scene of `people` (from, to) actors from the takes of `pool`, filmed and detected.

    All chance comes from `seed`.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(people[0], people[1] + 1))
    actors, _ = cast(rng, pool, frames, count, int(rng.choice(scored_actions(pool))), model)
    camera = shoot(rng, actors, frames)
    filmed = film(actors, camera, model)
    return Scene(filmed, detect(rng, filmed, camera, faults, np.zeros(0, np.int64)))


def judge(members: Sequence[Scene], trackers: dict[str, TrackerConfig | None]) -> pl.DataFrame:
    """One row a tracker over all scenes: tracker, HOTA, IDF1, MOTA (of 1), switches (a count).

    None in the place of a configuration stands for an oracle that knows whom each detection shows.
    """
    rows = []
    for name, config in trackers.items():
        results = [
            sequence(scene, scene.detections.actor if config is None else track(scene.detections, config))
            for scene in members
        ]
        rows.append({"tracker": name} | score(results))
    return pl.DataFrame(rows)


def sequence(scene: Scene, ids: np.ndarray) -> dict[str, Any]:
    """One video as trackeval wants it: ids (N,) of the scene's detections, −1 for those in no track."""
    kept = scene.detections[ids >= 0]
    tracked = np.unique(ids[ids >= 0], return_inverse=True)[1]
    truth_ids, track_ids, similarity = [], [], []
    boxes = np.stack([_xywh(person.box) for person in scene.filmed])
    visible = np.stack([person.visible for person in scene.filmed]) > SEEN
    for t in range(visible.shape[1]):
        rows = slice(*np.searchsorted(kept.frame, [t, t + 1]))
        truth_ids.append(np.flatnonzero(visible[:, t]))
        track_ids.append(tracked[rows])
        shared = overlap(boxes[visible[:, t], t][:, None], kept.box[rows][None])
        similarity.append(shared.astype(float))
    return {
        "num_timesteps": visible.shape[1],
        "num_gt_ids": len(visible),
        "num_tracker_ids": int(tracked.max(initial=-1)) + 1,
        "num_gt_dets": int(visible.sum()),
        "num_tracker_dets": len(kept),
        "gt_ids": truth_ids,
        "tracker_ids": track_ids,
        "similarity_scores": similarity,
    }


def score(sequences: list[dict[str, Any]]) -> dict[str, float]:
    """HOTA (mean over its thresholds), IDF1, MOTA and identity switches of several videos together.

    Raises BadInput where trackeval is not installed.
    """
    metrics = optional("trackeval.metrics", "lart_mini[tracking]", "judging trackers")
    quiet = {"PRINT_CONFIG": False}
    combined: dict[str, Any] = {}
    for metric in (metrics.HOTA(), metrics.CLEAR(quiet), metrics.Identity(quiet)):
        combined |= metric.combine_sequences(
            {number: metric.eval_sequence(one) for number, one in enumerate(sequences)}
        )
    return {
        "HOTA": float(np.mean(combined["HOTA"])),
        "IDF1": float(combined["IDF1"]),
        "MOTA": float(combined["MOTA"]),
        "switches": int(combined["IDSW"]),
    }


def _xywh(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
