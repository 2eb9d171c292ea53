"""pyskl's input, one annotation after the other, as its configurations read: normalise, stream, sample.

Angles and turning matrices, loops over frames and people, all frames prepared before any is chosen; slow.
"""

# ruff: noqa: NPY002

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

COCO = (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 0, 0, 11, 12, 13, 14)
NTU = (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11)
COCO_BONES, NTU_BONES = dict(enumerate(COCO)), dict(enumerate(NTU))
LENGTH, SEED = 100, 255


def sample(annotation: dict[str, Any], stream: str = "joint", count: int | None = None) -> np.ndarray:
    """Clips (K,2,100,V,3) of one annotation: `count` of a test, or one of training with numpy's own state."""
    own = copy.deepcopy(annotation)
    planar = "keypoint_score" in own
    x = pixels(own) if planar else bodies(own["keypoint"])
    bones = COCO_BONES if planar else NTU_BONES
    if stream.startswith("bone"):
        x = bone(x, bones, planar)
    if stream.endswith("motion"):
        x = motion(x, planar)
    frames = indices(x.shape[1], count)
    return formatted(x, follow_people(x, frames), count or 1)


def pixels(own: dict[str, Any]) -> np.ndarray:
    """(M,T,V,3): −1 to 1, and the score."""
    score = own["keypoint_score"].astype(np.float32)
    x = np.concatenate([own["keypoint"].astype(np.float32), score[..., None]], axis=-1)
    height, width = own["img_shape"]
    x[..., 0] = (x[..., 0] - width / 2) / (width / 2)
    x[..., 1] = (x[..., 1] - height / 2) / (height / 2)
    lost = x[..., 2] <= 0.01
    x[..., 0][lost] = 0
    x[..., 1][lost] = 0
    return x


def bodies(x: np.ndarray) -> np.ndarray:
    """(M,T,25,3), centred and upright, in the frames in which the main person is."""
    if x.sum() == 0:
        return x
    kept = [[t for t in range(x.shape[1]) if not np.all(np.isclose(person[t], 0))] for person in x]
    if len(kept) == 2 and len(kept[0]) < len(kept[1]):
        x = x[:, kept[1]][[1, 0]]
    else:
        x = x[:, kept[0]]
    origin = x[0, 0, 1].copy()
    there = ((x != 0).sum(-1) > 0)[..., None]
    x = (x - origin) * there
    x = np.einsum("mtvc,kc->mtvk", x, turn(x[0, 0, 1] - x[0, 0, 0], [0, 0, 1]))
    return np.einsum("mtvc,kc->mtvk", x, turn(x[0, 0, 8] - x[0, 0, 4], [1, 0, 0]))


def turn(start: np.ndarray, end: list[int]) -> np.ndarray:
    """The matrix of the turn about the normal of both, by a quaternion."""
    axis = np.cross(start, end)
    if np.abs(axis).sum() < 1e-6 or np.abs(start).sum() < 1e-6:
        return np.eye(3)
    angle = math.acos(np.clip(np.dot(start / np.linalg.norm(start), end), -1, 1))
    x, y, z = axis / math.sqrt(np.dot(axis, axis)) * math.sin(angle / 2)
    w = math.cos(angle / 2)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def bone(x: np.ndarray, bones: dict[int, int], planar: bool) -> np.ndarray:
    made = np.zeros(x.shape, np.float32)
    for joint, start in bones.items():
        made[..., joint, :] = x[..., joint, :] - x[..., start, :]
        if planar:
            made[..., joint, 2] = (x[..., joint, 2] + x[..., start, 2]) / 2
    return made


def motion(x: np.ndarray, planar: bool) -> np.ndarray:
    made = np.zeros_like(x)
    made[:, :-1] = x[:, 1:] - x[:, :-1]
    if planar:
        made[:, :-1, :, 2] = (x[:, 1:, :, 2] + x[:, :-1, :, 2]) / 2
    return made


def indices(length: int, count: int | None) -> np.ndarray:
    """Frames of `count` clips of a test, one behind the other, or of one clip of training."""
    if count is not None:
        np.random.seed(SEED)
    found = []
    for clip in range(count or 1):
        np.random.rand()
        if length < LENGTH:
            first = np.random.randint(0, length)
            if count is not None:
                first = clip if length < count else clip * length // count
            found.append(np.arange(first, first + LENGTH))
        elif length < 2 * LENGTH:
            jump = np.zeros(LENGTH + 1, np.int64)
            jump[np.random.choice(LENGTH + 1, length - LENGTH, replace=False)] = 1
            found.append(np.arange(LENGTH) + np.cumsum(jump)[:-1])
        else:
            edge = np.array([i * length // LENGTH for i in range(LENGTH + 1)])
            found.append(edge[:-1] + np.random.randint(np.diff(edge)))
    return np.mod(np.concatenate(found), length)


def follow_people(x: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Whole frames where people come or go; all are whole already, but pyskl looks at each."""
    people = []
    for t in range(x.shape[1]):
        last = len(x) - 1
        while last >= 0 and np.all(np.abs(x[last, t]) < 1e-5):
            last -= 1
        people.append(last + 1)
    changes = [False] * len(people)
    for t in range(1, len(people) - 1):
        if people[t] != people[t - 1]:
            changes[t] = changes[t - 1] = True
        if people[t] != people[t + 1]:
            changes[t] = changes[t + 1] = True
    whole = np.array([changes[t] for t in frames])
    return (whole * frames + (1 - whole) * frames).astype(np.float32).astype(int)


def formatted(x: np.ndarray, frames: np.ndarray, clips: int) -> np.ndarray:
    """(K,2,100,V,3) float32."""
    x = x[:, frames].astype(np.float32)
    if len(x) < 2:
        x = np.concatenate([x, np.zeros((2 - len(x), *x.shape[1:]), x.dtype)])
    x = x[:2].reshape(2, clips, LENGTH, *x.shape[2:])
    return np.ascontiguousarray(x.transpose(1, 0, 2, 3, 4))
