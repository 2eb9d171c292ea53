"""What a model is given instead of the whole person-vector: parts of it, 2D keypoints, or the body.

Each input changes the tracklets, never the model: what is taken away is the same everywhere, and is
normalised to 0. So all models of a comparison have one size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from lart_mini.people.body import FREE_BODY, forward_kinematics, load_body
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


def body_vector(tracklet: Tracklet) -> Tracklet:
    """The tracklet with its person-vector written about the body instead of the camera.

    The pose's 216 numbers are 6 for the pelvis' tilt, 138 for the 23 local rotations (of each matrix the
    first two columns, which give the third) and 72 for the 24 joints, metres about the pelvis. The heading is
    taken out of all: whichever way a person faces, the same movement gives the same numbers. The joints are
    those of the free body's mean shape, and betas are 0. The place stays as it is.
    """
    turned = np.concatenate([without_heading(tracklet.pose[:, 0])[:, None], tracklet.pose[:, 1:]], axis=1)
    joints = forward_kinematics(turned, _mean_body(), np.zeros_like(tracklet.translation))  # (T, 24, 3)
    rotations = turned[..., :2].reshape(len(tracklet), 144)
    numbers = np.concatenate([rotations, joints.reshape(-1, 72)], axis=1, dtype=np.float32)
    return replace(tracklet, pose=numbers.reshape(-1, 24, 3, 3), betas=np.zeros_like(tracklet.betas))


def without_heading(orientation: np.ndarray) -> np.ndarray:
    """Orientations (T,3,3) in the camera frame, turned about the camera's vertical until all face the camera.

    A rotation is one about the vertical after one about a level axis; the first is the heading. It is well
    defined for who lies down as well, unlike the direction that the pelvis' front points to. The camera's
    vertical is the world's but for the angle at which it looks down.
    """
    # Upright and facing the camera is diag(1, -1, -1), since y runs down and z away from it.
    sine = -orientation[:, 0, 2] - orientation[:, 2, 0]
    angle = np.arctan2(sine, orientation[:, 0, 0] - orientation[:, 2, 2])
    turn = np.zeros_like(orientation)
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 2, 0] = np.sin(angle)
    turn[:, 0, 2] = -turn[:, 2, 0]
    turn[:, 1, 1] = 1
    return turn @ orientation


@lru_cache(maxsize=1)
def _mean_body() -> np.ndarray:
    return load_body(FREE_BODY).rest_joints()


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
    "body": body_vector,
    "2D keypoints": keypoints_2d,
    "no pose": lambda tracklet: without(tracklet, "pose"),
    "no orientation": lambda tracklet: without(tracklet, "orientation"),
    "no shape": lambda tracklet: without(tracklet, "shape"),
    "no place": lambda tracklet: without(tracklet, "place"),
    "pose alone": lambda tracklet: without(tracklet, "orientation", "shape", "place"),
    "place alone": lambda tracklet: without(tracklet, "pose", "orientation", "shape"),
    "nothing": lambda tracklet: without(tracklet, "pose", "orientation", "shape", "place"),
}
