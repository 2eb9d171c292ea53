"""Blanks of 01_tracklets."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lart_mini import ava
from lart_mini.boxes import corners_from_xywh
from lart_mini.course.check import Blank, Slip, gives
from lart_mini.evaluation.key_boxes import key_boxes
from lart_mini.scenes.camera import Camera, project

HERE = "01_tracklets"
Floats = NDArray[np.floating[Any]]
Gaps = list[tuple[int, int]]


def _find_gaps(detected: NDArray[np.bool_]) -> Gaps:
    """(T,) bool -> (first row, length) of each stretch without a detection."""
    stretches, _ = ndimage.label(~detected)
    return [(part.start, part.stop - part.start) for (part,) in ndimage.find_objects(stretches)]


def _detections() -> list[tuple[NDArray[np.bool_]]]:
    """Gaps inside; at both ends; none, and nothing but one."""
    inside, ends = [1, 1, 0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 1, 0]
    return [(np.array(rows, bool),) for rows in (inside, ends, [1, 1, 1], [0, 0])]


def _into_picture(points: Floats, focal: float, frame_size: tuple[int, int]) -> Floats:
    """`project` of a camera that stands in its own frame: (…, 3) metres -> (…, 2) pixels."""
    return project(
        points, Camera(np.eye(3, dtype=np.float32)[None], np.zeros(3, np.float32), focal, frame_size)
    )


def _points() -> list[tuple[Floats, float, tuple[int, int]]]:
    """One point; then people of different depths, in a picture that is not square."""
    draw = np.random.default_rng(0)
    people = draw.uniform([-2, -1, 3], [2, 1, 9], (2, 4, 3))
    return [(np.array([0.5, -0.25, 2.0]), 1000.0, (400, 400)), (people, 1500.0, (720, 1280))]


def _boxes_to_score(
    frame: NDArray[np.int64], detected: NDArray[np.bool_], box: Floats, frame_size: NDArray[np.int64]
) -> Floats:
    """`key_boxes` of one tracklet: (n, 5) second and corners as fractions of the picture."""
    tracklet: Any = SimpleNamespace(frame=frame, detected=detected, box=box, frame_size=frame_size)
    tracklet.confidence, tracklet.video = np.ones(len(frame)), "one"
    return key_boxes([tracklet]).table.select("second", "x1", "y1", "x2", "y2").to_numpy()


def _tracks() -> list[tuple[NDArray[np.int64], NDArray[np.bool_], Floats, NDArray[np.int64]]]:
    """Three key frames; then from the film's start, lost at a key frame, half outside the picture."""
    size, frame = np.array([720, 1280]), np.arange(75, 165)
    box = np.stack([np.full(90, v) for v in (200.0, 100.0, 80.0, 240.0)], axis=1) + frame[:, None] / 10
    early, lost = np.arange(130), np.ones(130, bool)
    lost[85:95] = False
    outside = np.tile([-40.0, 600.0, 90.0, 200.0], (130, 1)) + early[:, None] / 10
    return [(frame, np.ones(90, bool), box, size), (early, lost, outside, size)]


def _scaled(frame_size: NDArray[np.int64]) -> Floats:
    height, width = frame_size
    return np.array([width, height, width, height], float)


def _unscored(rows: NDArray[np.bool_], frame: Any, box: Any, size: Any) -> Floats:
    """What is given where the boxes of other `rows` (T,) are taken."""
    corners = (corners_from_xywh(box) / _scaled(size)).clip(0, 1)
    return np.column_stack([frame[rows] // 30 + 900, corners[rows]])


def _spread_labels(frame: NDArray[np.int64], key_labels: Mapping[int, Floats], classes: int) -> Floats:
    """The labels of each frame's `nearest_keyframe`, zeros where that has none: (T, classes)."""
    nothing = np.zeros(classes)
    return np.stack([key_labels.get(key, nothing) for key in ava.nearest_keyframe(frame).tolist()])


def _labelled() -> list[tuple[NDArray[np.int64], dict[int, Floats], int]]:
    """Two key frames that differ; then one in the middle that nobody labelled."""
    a, b = np.eye(4)[0], np.array([0, 1.0, 1, 0])
    return [(np.arange(60, 120), {60: a, 90: b}, 4), (np.arange(50, 140), {60: a, 120: b}, 4)]


def _by_key(frame: NDArray[np.int64], key: Any, key_labels: Mapping[int, Floats], classes: int) -> Floats:
    return np.stack([key_labels.get(k, np.zeros(classes)) for k in np.asarray(key).tolist()])


BLANKS = (
    Blank(
        "find_gaps",
        HERE,
        _find_gaps,
        _detections,
        (
            Slip(
                "these are the stretches with a detection: a gap is where `detected` is False",
                gives(lambda detected: _find_gaps(~detected)),
            ),
            Slip(
                "the second number is a length, not the row where the gap ends",
                gives(lambda detected: [(a, a + n) for a, n in _find_gaps(detected)]),
            ),
            Slip(
                "the lengths are one too short: rows a to b are b - a + 1 rows",
                gives(lambda detected: [(a, n - 1) for a, n in _find_gaps(detected)]),
            ),
            Slip(
                "a gap that lasts until the end is lost: nothing comes after it that would close it",
                gives(lambda detected: [(a, n) for a, n in _find_gaps(detected) if a + n < len(detected)]),
            ),
            Slip(
                "a gap from the first row on is lost: nothing comes before it that would open it",
                gives(lambda detected: [(a, n) for a, n in _find_gaps(detected) if a > 0]),
            ),
        ),
    ),
    Blank(
        "into_picture",
        HERE,
        _into_picture,
        _points,
        (
            Slip(
                "y points down in both frames, so v grows with y: no minus sign",
                gives(lambda points, focal, size: _into_picture(points * [1, -1, 1], focal, size)),
            ),
            Slip(
                "pixels are counted from the upper left corner: half of the picture has to be added",
                gives(lambda points, focal, size: _into_picture(points, focal, (0, 0))),
            ),
            Slip(
                "height and width have changed places: frame_size has the height first",
                gives(lambda points, focal, size: _into_picture(points, focal, size[::-1])),
            ),
            Slip(
                "nothing is divided by the depth z: who is farther away has to become smaller",
                gives(lambda points, focal, size: focal * points[..., :2] + np.array(size[::-1]) / 2),
            ),
        ),
        tolerance=1e-4,
    ),
    Blank(
        "boxes_to_score",
        HERE,
        _boxes_to_score,
        _tracks,
        (
            Slip(
                "seconds count from 900: second s has the key frame 30 (s - 900)",
                lambda got, wanted, *_: bool(
                    np.allclose(got[:, 1:], wanted[:, 1:]) and (got[:, 0] + 900 == wanted[:, 0]).all()
                ),
            ),
            Slip(
                "x, y, width and height are no corners: x2 = x + w, y2 = y + h",
                gives(
                    lambda frame, detected, box, size: _boxes_to_score(
                        frame, detected, np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1), size
                    )
                ),
            ),
            Slip(
                "x is divided by the width and y by the height; frame_size has the height first",
                gives(lambda frame, detected, box, size: _boxes_to_score(frame, detected, box, size[::-1])),
            ),
            Slip(
                "a box that sticks out of the picture has to be cut at 0 and 1",
                lambda got, wanted, *_: bool((np.clip(got[:, 1:], 0, 1) == wanted[:, 1:]).all()),
            ),
            Slip(
                "frames without a detection are among them: what stands in their box means nothing",
                gives(
                    lambda frame, detected, box, size: _unscored(
                        (frame % 30 == 0) & (frame >= 60), frame, box, size
                    )
                ),
            ),
            Slip(
                "second 902 is the first that AVA asks about: frames before 60 are not scored",
                gives(
                    lambda frame, detected, box, size: _unscored(
                        (frame % 30 == 0) & detected, frame, box, size
                    )
                ),
            ),
        ),
    ),
    Blank(
        "spread_labels",
        HERE,
        _spread_labels,
        _labelled,
        (
            Slip(
                "these are the labels of the last key frame, not of the nearest, to either side",
                gives(lambda frame, labels, n: _by_key(frame, frame // 30 * 30, labels, n)),
            ),
            Slip(
                "these are the labels of the next key frame, not of the nearest",
                gives(lambda frame, labels, n: _by_key(frame, -(-frame // 30) * 30, labels, n)),
            ),
            Slip(
                "a frame half-way between two key frames belongs to the later one",
                gives(lambda frame, labels, n: _by_key(frame, (frame + 14) // 30 * 30, labels, n)),
            ),
            Slip(
                "the nearest key frame has no labels, so the frame has none: another's do not count",
                lambda got, wanted, *_: bool((got != wanted)[~wanted.any(axis=1)].any()),
            ),
        ),
    ),
)
