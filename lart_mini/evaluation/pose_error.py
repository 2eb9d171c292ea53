"""How far poses are from the truth: MPJPE, P-MPJPE, and which way they face; one number a pose.

As Human3.6M is scored (Ionescu et al. 2014): protocol 1 after both hips are put at the origin, protocol 2
after the best similarity. Pavllo et al. 2019 and whoever follows them count all 17 joints, the hip too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput

Floats = NDArray[np.float64]
MILLIMETRES = 1000.0


def mpjpe(found: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Mean distance (B,) in mm over the joints of poses (B, J, 3) in metres, joint 0 of both at the origin.

    Raises BadInput for poses of unequal shape or with coordinates that are no numbers.
    """
    a, b = _pair(found, truth)
    return MILLIMETRES * np.linalg.norm((a - a[:, :1]) - (b - b[:, :1]), axis=-1).mean(axis=1)


def p_mpjpe(found: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Mean distance (B,) in mm after turning, moving and scaling each pose (B, J, 3) onto its truth."""
    a, b = _pair(found, truth)
    return MILLIMETRES * np.linalg.norm(align(a, b) - b, axis=-1).mean(axis=1)


def align(found: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Poses (B, J, 3) under the similarity that brings each nearest to its truth in squares (Umeyama 1991).

    A mirror image is not forgiven: turns only. Raises BadInput as `mpjpe` does.
    """
    a, b = _pair(found, truth)
    middle = b.mean(axis=1, keepdims=True)
    a, b = a - a.mean(axis=1, keepdims=True), b - middle
    left, stretch, right = np.linalg.svd(b.transpose(0, 2, 1) @ a)  # (B,3,3), (B,3)
    sign = np.ones_like(stretch)
    sign[:, 2] = np.sign(np.linalg.det(left @ right))
    turn = (left * sign[:, None]) @ right
    scale = (stretch * sign).sum(axis=1) / np.square(a).sum(axis=(1, 2)).clip(1e-12)
    return scale[:, None, None] * a @ turn.transpose(0, 2, 1) + middle


def heading_error(
    found: NDArray[np.floating], truth: NDArray[np.floating], sides: tuple[int, int], up: int = 1
) -> Floats:
    """Angle (B,) in degrees, 0 to 180, between the ways that poses (B, J, 3) and their truth face.

    `sides`: two joints, of the left and the right hip, say; what counts is the direction from one to the
    other in the plane across axis `up`.
    """
    flat = [axis for axis in range(3) if axis != up]
    across = [pose[:, sides[0]] - pose[:, sides[1]] for pose in _pair(found, truth)]
    angle = [np.arctan2(line[:, flat[1]], line[:, flat[0]]) for line in across]
    return np.degrees(np.abs((angle[0] - angle[1] + np.pi) % (2 * np.pi) - np.pi))


def _pair(found: NDArray[np.floating], truth: NDArray[np.floating]) -> tuple[Floats, Floats]:
    a, b = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or a.shape[1] < 1:
        raise BadInput("poses", "shape", "(B, J, 3), the same for both", f"{a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("poses", "coordinates", "finite numbers", "nan or infinity")
    return a, b
