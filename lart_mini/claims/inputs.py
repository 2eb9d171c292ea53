"""What a model is given instead of the whole person-vector: parts of it, or 2D keypoints; bursts of masks.

Each input changes the tracklets, never the model: what is taken away is the same everywhere, and is
normalised to 0. So all models of a comparison have one size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.rows import Draw
from lart_mini.tracklets.tracklet import Tracklet

PELVIS, POINTS = 8, 44  # of a tracklet's 45 joints: the middle of the hips; all but the row of zeros
NEAREST = 0.1  # metres from the camera


def keypoints_2d(tracklet: Tracklet) -> Tracklet:
    """The tracklet with 2D keypoints in place of its 3D body.

    Its 44 joints as the camera projects them, about the pelvis and in units of the figure's height (88 of the
    pose's 216 numbers, the others 0); the pelvis' place in the picture, in focal lengths, and the ln of the
    figure's height stand for the place. What the third dimension adds is all that is missing.
    """
    joints = tracklet.joints[:, :POINTS] - tracklet.joints[:, PELVIS : PELVIS + 1]
    points = joints + tracklet.translation[:, None]  # (T, 44, 3) metres, camera frame
    flat = points[..., :2] / np.maximum(points[..., 2:], NEAREST)  # (T, 44, 2)
    height = np.maximum(np.ptp(flat[..., 1], axis=1), 1e-3)  # (T,)
    pose = np.zeros((len(tracklet), 216), np.float32)
    pose[:, : 2 * POINTS] = ((flat - flat[:, PELVIS : PELVIS + 1]) / height[:, None, None]).reshape(
        -1, 2 * POINTS
    )
    place = np.concatenate([flat[:, PELVIS], np.log(height)[:, None]], axis=1).astype(np.float32)
    numbers = pose.reshape(-1, 24, 3, 3)
    return replace(tracklet, pose=numbers, betas=np.zeros_like(tracklet.betas), translation=place)


def without(tracklet: Tracklet, *parts: str) -> Tracklet:
    """The tracklet without some of: pose (the 23 joints), orientation, shape, place."""
    pose, changes = tracklet.pose.copy(), dict[str, Any]()
    if "pose" in parts:
        pose[:, 1:] = np.eye(3, dtype=np.float32)
    if "orientation" in parts:
        pose[:, 0] = np.eye(3, dtype=np.float32)
    for part, field in (("shape", "betas"), ("place", "translation")):
        if part in parts:
            changes[field] = np.zeros_like(getattr(tracklet, field))
    return replace(tracklet, pose=pose, **changes)


INPUTS: dict[str, Callable[[Tracklet], Tracklet]] = {
    "person-vector": lambda tracklet: tracklet,
    "2D keypoints": keypoints_2d,
    "no pose": lambda tracklet: without(tracklet, "pose"),
    "no orientation": lambda tracklet: without(tracklet, "orientation"),
    "no shape": lambda tracklet: without(tracklet, "shape"),
    "no place": lambda tracklet: without(tracklet, "place"),
    "pose alone": lambda tracklet: without(tracklet, "orientation", "shape", "place"),
    "place alone": lambda tracklet: without(tracklet, "pose", "orientation", "shape"),
}


class BurstDataset(TrackletDataset):
    """A TrackletDataset that masks bursts of `burst` frames of a person instead of single tokens."""

    def __init__(self, *given: Any, burst: int, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.burst = burst

    def draw(self, index: int) -> Draw:
        """As TrackletDataset's, but for the lots."""
        drawn = super().draw(index)
        return drawn if drawn.lots is None else replace(drawn, lots=in_bursts(drawn.lots, self.burst))


def in_bursts(lots: NDArray[np.float64], burst: int) -> NDArray[np.float64]:
    """Lots (P, T) in [0, 1) that are alike in pieces of `burst` frames, so that `tokens.lowest` masks pieces.

    Each person's frames are cut from a frame drawn on; of the last piece masked it is the first tokens.
    """
    frames = np.arange(lots.shape[1])
    piece = (frames + (lots[:, :1] * burst).astype(np.int64)) // burst  # (P, T)
    first = np.take_along_axis(lots, np.minimum(piece * burst, frames[-1]), axis=1)  # its own
    return first * (1 - 1e-6) + 1e-6 * frames / len(frames)
