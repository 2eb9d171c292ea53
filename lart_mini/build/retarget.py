"""From a captured skeleton to SMPL's: rotations carried over, places scaled, 30 frames a second."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from lart_mini.build.formats import Motion
from lart_mini.people.body import PARENTS, local_rotations
from lart_mini.people.clips import FRAMES_PER_SECOND

# Joints whose bone must point where the source's does, and the joint at the bone's end.
_LIMBS = {1: 4, 2: 5, 4: 7, 5: 8, 16: 18, 17: 19, 18: 20, 19: 21}


def rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation (3,3) that takes the direction `start` (3,) to the direction `end` (3,)."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis, cosine = np.cross(start, end), float(start @ end)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def retarget(motion: Motion, joints: dict[str, int], rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move a motion onto the SMPL skeleton: pose (T,24,3,3) and pelvis (T,3) in metres.

    `joints` names the source joint of each SMPL joint (the others follow their parents); `rest` (24,3) are
    the rest joints of the body. A joint turns in the world as its source does from the source's rest pose.
    The two rest poses differ (a bone of ours stands at another angle than theirs), so each limb is first
    turned onto the source's rest direction. Places are scaled by the ratio of leg lengths, and the middle of
    the hips is kept.
    """
    source = {smpl: motion.names.index(name) for name, smpl in joints.items()}
    rotations = np.tile(np.eye(3), (len(motion.times), 24, 1, 1))
    onto = np.tile(np.eye(3), (24, 1, 1))
    places = motion.rest_positions
    for joint in range(24):
        if joint not in source:
            rotations[:, joint] = rotations[:, PARENTS[joint]]
            continue
        child = _LIMBS.get(joint)
        if child in source:
            onto[joint] = rotation_between(
                rest[child] - rest[joint], places[source[child]] - places[source[joint]]
            )
        elif joint in (20, 21):
            onto[joint] = onto[PARENTS[joint]]  # hands in line with the forearms
        turned = motion.rotations[:, source[joint]] @ motion.rest_rotations[source[joint]].T
        rotations[:, joint] = turned @ onto[joint]
    scale = _leg(rest, 1, 4, 7) / _leg(places, source[1], source[4], source[7])
    hips = scale * (motion.positions[:, source[1]] + motion.positions[:, source[2]]) / 2
    pelvis = hips - rotations[:, 0] @ ((rest[1] + rest[2]) / 2 - rest[0])
    return local_rotations(rotations), pelvis


def _leg(joints: np.ndarray, hip: int, knee: int, ankle: int) -> float:
    return float(np.linalg.norm(joints[hip] - joints[knee]) + np.linalg.norm(joints[knee] - joints[ankle]))


def resample(pose: np.ndarray, translation: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames at `times` (T,) seconds -> frames 1/30 s apart: pose by slerp, translation linearly."""
    wanted = np.arange(int(np.floor(times[-1] * FRAMES_PER_SECOND + 1e-3)) + 1) / FRAMES_PER_SECOND
    wanted = np.minimum(wanted, times[-1])
    turned = [Slerp(times, Rotation.from_matrix(pose[:, joint]))(wanted).as_matrix() for joint in range(24)]
    moved = [np.interp(wanted, times, translation[:, axis]) for axis in range(3)]
    return np.stack(turned, 1), np.stack(moved, 1)
