"""Trackers judged as trackers are: HOTA, IDF1, MOTA and identity switches on composed scenes.

The figures are trackeval's (Luiten et al. 2021 for HOTA). The truth is every actor that the scene says is
annotated, as in mini_ava's AVA-style ground truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lart_mini.boxes import overlap, xywh_from_corners
from lart_mini.files import optional
from lart_mini.scenes.scene import Scene
from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import detect
from lart_mini.tracking.faults import Faults
from lart_mini.tracking.tracker import TrackerConfig, track

TRUTH = "ground-truth identity"


@dataclass(frozen=True, eq=False)
class Observed:
    """A scene, and what a detector said of it."""

    scene: Scene
    detections: Detections

    @classmethod
    def of(cls, scene: Scene, faults: Faults = Faults()) -> Observed:  # noqa: B008  (frozen)
        """The scene with its detections, none of them given."""
        return cls(scene, detect(scene, faults))


def judge(videos: Sequence[Observed], trackers: dict[str, TrackerConfig | None]) -> pl.DataFrame:
    """One row a tracker over all videos: tracker, HOTA, IDF1, MOTA (of 1), switches (a count).

    None in the place of a configuration stands for an oracle that knows whom each detection shows.
    """
    rows = []
    for name, config in trackers.items():
        results = [
            sequence(video, video.detections.actor if config is None else track(video.detections, config))
            for video in videos
        ]
        rows.append({"tracker": name} | score(results))
    return pl.DataFrame(rows)


def sequence(video: Observed, ids: np.ndarray) -> dict[str, Any]:
    """One video as trackeval wants it: ids (N,) of its detections, −1 for those in no track."""
    tracked = video.detections[ids >= 0]
    numbers = np.unique(ids[ids >= 0], return_inverse=True)[1]  # from 0 on
    truth_ids, track_ids, similarity = [], [], []
    boxes = np.stack([xywh_from_corners(person.box) for person in video.scene.filmed])
    annotated = video.scene.annotated
    for t in range(video.scene.frames):
        rows = slice(*np.searchsorted(tracked.frame, [t, t + 1]))
        truth_ids.append(np.flatnonzero(annotated[:, t]))
        track_ids.append(numbers[rows])
        shared = overlap(boxes[annotated[:, t], t][:, None], tracked.box[rows][None])
        similarity.append(shared.astype(float))
    return {
        "num_timesteps": video.scene.frames,
        "num_gt_ids": len(annotated),
        "num_tracker_ids": int(numbers.max(initial=-1)) + 1,
        "num_gt_dets": int(annotated.sum()),
        "num_tracker_dets": len(tracked),
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
