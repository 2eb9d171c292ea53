"""Trackers judged: a perfect one scores 1, one swap costs what the measures' definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from lart_mini.people.body import Body
from lart_mini.people.clips import Clip
from lart_mini.scenes.scene import compose
from lart_mini.scenes.takes import segments
from lart_mini.tracking.faults import Faults
from lart_mini.tracking.metrics import TRUTH, Observed, judge, score, sequence
from lart_mini.tracking.tracker import TrackerConfig

pytest.importorskip("trackeval")


@pytest.fixture(scope="module")
def clean(library: dict[str, Clip], free_body: Body) -> list[Observed]:
    """Three short scenes of training takes, detected without faults."""
    pool = segments(library, "train")
    scenes = [compose(pool, (5, i), free_body, frames=120, people=3) for i in range(3)]
    return [Observed.of(scene, Faults.none()) for scene in scenes]


def shown(video: Observed) -> np.ndarray:
    """Is each detection of somebody who is ground truth in its frame?"""
    return video.scene.annotated[video.detections.actor, video.detections.frame]


def test_true_identities_score_one(clean: list[Observed]) -> None:
    found = score([sequence(s, np.where(shown(s), s.detections.actor, -1)) for s in clean])
    assert found == pytest.approx({"HOTA": 1, "IDF1": 1, "MOTA": 1, "switches": 0})


def test_a_swap_counts_as_defined(clean: list[Observed]) -> None:
    video = clean[0]
    d = video.detections
    ids = np.where(shown(video), d.actor, -1)
    swapped = ids.copy()
    late = (d.frame >= 60) & (ids >= 0)
    swapped[late] = np.array([1, 0, 2])[ids[late]]
    found = score([sequence(video, swapped)])
    both = [((ids == i) & (d.frame < 60)).any() and ((ids == i) & (d.frame >= 60)).any() for i in (0, 1)]
    assert found["switches"] == sum(both) > 0
    assert found["MOTA"] == pytest.approx(1 - found["switches"] / (ids >= 0).sum())
    # Of the swapped pair each truth matches one track best.
    parts = np.array([[((ids == i) & (swapped == j)).sum() for j in (0, 1)] for i in (0, 1)])
    kept = (ids == 2).sum() + max(np.trace(parts), np.trace(parts[::-1]))
    assert found["IDF1"] == pytest.approx(kept / (ids >= 0).sum())
    assert found["HOTA"] < 1


def test_missing_and_false_boxes_lower_mota(clean: list[Observed]) -> None:
    video = clean[1]
    ids = np.where(shown(video), video.detections.actor, -1)
    kept = np.where(video.detections.frame % 4 == 0, -1, ids)
    found = score([sequence(video, kept)])
    assert found["MOTA"] == pytest.approx((kept >= 0).sum() / (ids >= 0).sum())
    assert found["switches"] == 0


def test_no_tracks_at_all_score_zero(clean: list[Observed]) -> None:
    found = score([sequence(s, np.full(len(s.detections), -1)) for s in clean])
    assert found == {"HOTA": 0, "IDF1": 0, "MOTA": 0, "switches": 0}


def test_the_table_has_a_row_a_tracker_and_no_tracker_beats_the_oracle(
    library: dict[str, Clip], free_body: Body
) -> None:
    pool = segments(library, "train")
    noisy = [Observed.of(compose(pool, (6, i), free_body, frames=150, people=4)) for i in range(4)]
    trackers = {"3D": TrackerConfig.lart(), "overlap": TrackerConfig.iou(), TRUTH: None}
    table = judge(noisy, trackers)
    assert table.columns == ["tracker", "HOTA", "IDF1", "MOTA", "switches"]
    assert table["tracker"].to_list() == list(trackers)
    # Who leaves out brief tracks may be ahead of the oracle by a hair: some are of nobody annotated.
    assert (table["IDF1"] <= table["IDF1"][2] + 0.002).all() and (table["IDF1"] > 0.8).all()
